//! What int8 kernels read and write: bytes or floats, eight channels of a pixel at a time, or those that there are.

use super::{Pixels, Shared};
use std::ops::Range;

/// Values to read.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Quantised.
    U8(&'a [u8]),
    /// Real.
    F32(&'a [f32]),
}

impl Values<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Values::U8(v) => v.len(),
            Values::F32(v) => v.len(),
        }
    }
}

/// Values to write.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// Quantised.
    U8(&'a mut [u8]),
    /// Real.
    F32(&'a mut [f32]),
}

impl ValuesMut<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            ValuesMut::U8(v) => v.len(),
            ValuesMut::F32(v) => v.len(),
        }
    }

    /// The same for a while.
    pub(super) fn reborrow(&mut self) -> ValuesMut<'_> {
        match self {
            ValuesMut::U8(v) => ValuesMut::U8(v),
            ValuesMut::F32(v) => ValuesMut::F32(v),
        }
    }

    /// For tasks that each write elements of their own.
    pub(super) fn shared(&mut self) -> Output {
        match self {
            ValuesMut::U8(v) => Output::U8(Shared(v.as_mut_ptr())),
            ValuesMut::F32(v) => Output::F32(Shared(v.as_mut_ptr())),
        }
    }
}

/// [`ValuesMut`] that tasks share.
#[derive(Clone, Copy)]
pub(super) enum Output {
    U8(Shared<u8>),
    F32(Shared<f32>),
}

/// A pixel's place: index of its first channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// In the output.
    pub output: usize,
    /// In the residual, where there is one.
    pub residual: usize,
}

/// Calls `f` for each run of the `pixels` of a picture of `width` columns, counted row by row, that lies in one row: its first pixel, counted from
/// the first of all, the row and column of that, and how many.
#[inline]
pub(super) fn row_runs(width: usize, pixels: Range<usize>, mut f: impl FnMut(usize, (usize, usize), usize)) {
    let (mut y, mut x, mut done, all) = (pixels.start / width, pixels.start % width, 0, pixels.end - pixels.start);
    while done < all {
        let count = (width - x).min(all - done);
        f(done, (y, x), count);
        (y, x, done) = (y + 1, 0, done + count);
    }
}

/// Sets `places` to those of the `pixels` of a picture of `width` columns.
#[inline(never)]
pub(super) fn fill_places(places: &mut [Place], width: usize, pixels: Range<usize>, output: Pixels, residual: Pixels) {
    row_runs(width, pixels, |first, (y, x), count| {
        let (mut output_at, mut residual_at) = (output.at(y, x), residual.at(y, x));
        for place in &mut places[first..first + count] {
            *place = Place { output: output_at, residual: residual_at };
            (output_at, residual_at) = (output_at + output.pixel, residual_at + residual.pixel);
        }
    });
}

/// Runs `f` on the eight elements at `p`, or on a copy of them where only `width` are there to read.
///
/// # Safety
/// `p` must be valid for reads of `width` elements, at most eight.
#[inline(always)]
pub(super) unsafe fn reading<T: Copy + Default, R>(p: *const T, width: usize, f: impl FnOnce(*const T) -> R) -> R {
    if width == 8 {
        return f(p);
    }
    let mut copy = [T::default(); 8];
    // SAFETY: the caller's: `width` < 8 elements can be read.
    unsafe { copy.as_mut_ptr().copy_from_nonoverlapping(p, width) };
    f(copy.as_ptr())
}

/// As [`reading`], to write.
///
/// # Safety
/// `p` must be valid for writes of `width` elements, at most eight.
#[inline(always)]
pub(super) unsafe fn writing<T: Copy + Default>(p: *mut T, width: usize, f: impl FnOnce(*mut T)) {
    if width == 8 {
        return f(p);
    }
    let mut copy = [T::default(); 8];
    f(copy.as_mut_ptr());
    // SAFETY: the caller's: `width` < 8 elements can be written.
    unsafe { p.copy_from_nonoverlapping(copy.as_ptr(), width) };
}

/// Whether `values` hold `len` values at each of `size` pixels.
pub(super) fn holds(values: usize, at: Pixels, (h, w): (usize, usize), len: usize) -> bool {
    at.end(h, w, len) <= values
}
