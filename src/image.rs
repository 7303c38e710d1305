//! A borrowed RGBA picture, as a canvas gives it; nothing is decoded here.

use crate::{Error, Result};

/// 8-bit RGBA, [height, width, 4]; alpha is ignored.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    rgba: &'a [u8],
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
    pub fn new(rgba: &'a [u8], width: usize, height: usize) -> Result<Self> {
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

    /// The bytes of row `y`, [width, 4].
    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.rgba[y * self.width * 4..][..self.width * 4]
    }
}
