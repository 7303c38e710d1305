//! Depthwise convolution in int8, 3x3 and 5x5, at stride 1 or 2 and any dilation:
//! acc[y, x, ch] = sum of wq[ky, kx, ch] * (q[y * stride + ky * d, x * stride + kx * d, ch] - zp[ch]); [`Epilogue`] follows.
//!
//! A product of two bytes fills i16, so sums need i32, and the dot of i16 pairs makes one of two products. The pair is two
//! kernel rows: the same column of both, interleaved, serves every output that sees it. Four output pixels of a row and
//! eight channels are computed together; with dilation d the four lie d apart, so that they share columns too.

use super::epilogue_i8::{Finish, Output, ValuesMut, holds};
use super::pack_i8::PackedDepthwise;
use super::pool_i8::sum_pixels;
use super::{Pixels, Shared};
use crate::parallel;
use crate::quant::Epilogue;
use crate::simd::Simd;
use std::mem::MaybeUninit;

/// Channels whose sums wait on the stack for the epilogue.
const BLOCK: usize = 256;
/// Pixels of a run.
const MAX_RUN: usize = 4;

/// What to compute; the channel count is a multiple of 8.
pub struct Depthwise<'a> {
    /// Output rows and columns.
    pub size: (usize, usize),
    /// 1 or 2; more than 1 only without dilation.
    pub stride: usize,
    /// Pixels between taps.
    pub dilation: usize,
    /// The input and where the first tap of output pixel (0, 0) lies.
    pub a: (&'a [u8], Pixels),
    /// The weights.
    pub weights: &'a PackedDepthwise,
    /// From sums to outputs.
    pub epilogue: &'a Epilogue,
    /// The output: bytes with the epilogue's parameters, or floats.
    pub c: (ValuesMut<'a>, Pixels),
    /// Receives the sums of each output row's bytes, [h, channels]: squeeze-excite's pool. Only for bytes.
    pub row_sums: Option<&'a mut [u32]>,
}

struct Job<'a> {
    d: &'a Depthwise<'a>,
    channels: usize,
    c: Output,
    sums: Option<Shared<u32>>,
}

/// Runs `d` with the words of `S`.
///
/// # Panics
/// When a slice is too short, or the kernel and stride are not of the list.
pub fn depthwise_i8<S: Simd>(mut d: Depthwise) {
    let ((h, w), kernel, channels) = (d.size, d.weights.kernel, d.weights.start.len());
    if h == 0 || w == 0 {
        return;
    }
    let reach = (kernel - 1) * d.dilation;
    let (rows, cols) = ((h - 1) * d.stride + reach + 1, (w - 1) * d.stride + reach + 1);
    assert!(d.stride == 1 || d.dilation == 1, "stride and dilation do not meet");
    assert!(holds(d.a.0.len(), d.a.1, (rows, cols), channels), "a is too short");
    assert!(holds(d.c.0.len(), d.c.1, d.size, channels), "c is too short");
    assert_eq!(d.epilogue.bias.len(), channels, "an epilogue of the channels");
    assert!(d.row_sums.as_ref().is_none_or(|s| s.len() == h * channels), "row sums are [h, channels]");
    let row = match (kernel, d.stride) {
        (3, 1) => Job::row::<S, 3, 1>,
        (3, 2) => Job::row::<S, 3, 2>,
        (5, 1) => Job::row::<S, 5, 1>,
        (5, 2) => Job::row::<S, 5, 2>,
        other => panic!("no depthwise kernel for size and stride {other:?}"),
    };
    let c = d.c.0.shared();
    assert!(d.row_sums.is_none() || matches!(c, Output::U8(_)), "row sums are of bytes");
    let sums = d.row_sums.take().map(|s| Shared(s.as_mut_ptr()));
    let job = Job { d: &d, channels, c, sums };
    // SAFETY: the asserts above cover every tap, output and sum of every row; each task writes a row of its own.
    parallel::for_each(h, |y| unsafe {
        row(&job, y);
        job.sum_row(y);
    });
}

impl Job<'_> {
    /// The sums of row `y`, just written and still near.
    ///
    /// # Safety
    /// Row `y` must be written and lie in c and the sums, and no other task may use it.
    unsafe fn sum_row(&self, y: usize) {
        let (Some(sums), Output::U8(c)) = (self.sums, self.c) else { return };
        let (width, pixel) = (self.d.size.1, self.d.c.1.pixel);
        // SAFETY: the caller's.
        let (row, sums) = unsafe {
            (
                std::slice::from_raw_parts(c.0.add(self.d.c.1.at(y, 0)), (width - 1) * pixel + self.channels),
                std::slice::from_raw_parts_mut(sums.0.add(y * self.channels), self.channels),
            )
        };
        sum_pixels(row, pixel, sums);
    }

    /// Output row `y`, in runs of 4, 2 and 1 pixels that lie a dilation apart.
    ///
    /// # Safety
    /// Every tap of the row must lie in a, and the row in c.
    #[inline(never)]
    unsafe fn row<S: Simd, const K: usize, const STRIDE: usize>(&self, y: usize) {
        let (width, step) = (self.d.size.1, self.d.dilation);
        let finish = Finish::<S>::new(self.d.epilogue);
        for phase in 0..step.min(width) {
            let mut x = phase;
            let left = |x: usize| (width - x).div_ceil(step);
            while x < width {
                // SAFETY: the caller's; each run ends before the row does.
                x += step
                    * unsafe {
                        match left(x) {
                            MAX_RUN.. => self.run::<S, K, STRIDE, MAX_RUN>(finish, y, x),
                            2.. => self.run::<S, K, STRIDE, 2>(finish, y, x),
                            _ => self.run::<S, K, STRIDE, 1>(finish, y, x),
                        }
                    };
            }
        }
    }

    /// `T` pixels from (y, x), all channels; returns `T`.
    ///
    /// # Safety
    /// As for [`Job::row`], for the pixels x, x + dilation, …
    #[inline(always)]
    unsafe fn run<S: Simd, const K: usize, const STRIDE: usize, const T: usize>(
        &self,
        finish: Finish<S>,
        y: usize,
        x: usize,
    ) -> usize {
        let (d, c) = (self.d, self.c);
        let step_c = d.c.1.pixel * d.dilation;
        let at = d.c.1.at(y, x);
        let mut sums = [MaybeUninit::<i32>::uninit(); MAX_RUN * BLOCK];
        for first in (0..self.channels).step_by(BLOCK) {
            let count = BLOCK.min(self.channels - first);
            // SAFETY: the caller's; the sums have room for T runs of a block and are all written before they are read.
            unsafe {
                self.sum::<S, K, STRIDE, T>((y, x), (first, count), sums.as_mut_ptr().cast());
                for t in 0..T {
                    let acc = sums.as_ptr().add(t * count).cast();
                    finish.channels(acc, (first, count), None, (c, at + t * step_c + first));
                }
            }
        }
        T
    }

    /// The sums of `count` channels from `first` of T pixels, [T, count].
    ///
    /// # Safety
    /// As for [`Job::run`]; `sums` must be valid for T * `count` integers.
    #[inline(always)]
    unsafe fn sum<S: Simd, const K: usize, const STRIDE: usize, const T: usize>(
        &self,
        (y, x): (usize, usize),
        (first, count): (usize, usize),
        sums: *mut i32,
    ) {
        let d = self.d;
        let (step_x, step_y) = (d.a.1.pixel * d.dilation, d.a.1.row * d.dilation);
        // SAFETY: the caller's: all of these pixels and their taps exist, with `channels` bytes each.
        unsafe {
            let a = d.a.0.as_ptr().add(d.a.1.at(y * STRIDE, x * STRIDE) + first);
            let start = d.weights.start.as_ptr().add(first);
            let mut weight = d.weights.taps.as_ptr().add(first * K.div_ceil(2) * K * 2);
            for ch in (0..count).step_by(8) {
                let mut acc = [[S::load_i32(start.add(ch)), S::load_i32(start.add(ch + 4))]; T];
                for upper in (0..K).step_by(2) {
                    // The last row of an odd kernel is paired with itself; the weights there are zero.
                    let lower = (upper + 1).min(K - 1);
                    for column in 0..(T - 1) * STRIDE + K {
                        let a = a.add(column * step_x + ch);
                        let rows = (S::load_u8x8(a.add(upper * step_y)), S::load_u8x8(a.add(lower * step_y)));
                        let [v0, v1] = S::interleave(rows.0, rows.1);
                        for (t, acc) in acc.iter_mut().enumerate() {
                            if column >= t * STRIDE && column < t * STRIDE + K {
                                let w = weight.add((column - t * STRIDE) * 16);
                                acc[0] = S::dot_add(v0, S::load_i16(w), acc[0]);
                                acc[1] = S::dot_add(v1, S::load_i16(w.add(8)), acc[1]);
                            }
                        }
                    }
                    weight = weight.add(K * 16);
                }
                for (t, acc) in acc.into_iter().enumerate() {
                    let to = sums.add(t * count + ch);
                    S::store_i32(to, acc[0]);
                    S::store_i32(to.add(4), acc[1]);
                }
            }
        }
    }
}
