//! A borrowed RGBA picture, as a canvas gives it; nothing is decoded here.

use crate::source::Source;
use crate::{Error, Result};
use std::ops::Range;

/// 8-bit RGBA, [height, width, 4]; alpha is ignored.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    rgba: &'a dyn Source,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl<'a> Image<'a> {
    /// Checks that the bytes are those of `width` x `height` pixels.
    ///
    /// # Errors
    /// [`Error::Image`] when a side is zero or the bytes do not fit.
    pub fn new(rgba: &'a dyn Source, width: usize, height: usize) -> Result<Self> {
        let bytes = width.checked_mul(height).and_then(|n| n.checked_mul(4));
        if width == 0 || height == 0 || bytes != Some(rgba.len()) {
            let message = format!(
                "{} bytes are no picture of {width} x {height} RGBA pixels; pass a decoded, non-empty picture",
                rgba.len()
            );
            return Err(Error::Image(message));
        }
        Ok(Image { rgba, width, height })
    }

    /// Bytes of a row.
    pub fn pitch(&self) -> usize {
        4 * self.width
    }

    /// Copies `rows` to the beginning of `into`.
    pub fn read(&self, rows: Range<usize>, into: &mut [u8]) {
        self.rgba.read(rows.start * self.pitch(), &mut into[..rows.len() * self.pitch()]);
    }
}
