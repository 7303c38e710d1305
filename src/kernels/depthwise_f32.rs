//! Depthwise convolution, 3x3 and 5x5, at stride 1 or 2 and any dilation:
//! c[y, x, ch] = activation(bias[ch] + sum of a[y * stride + ky * d, x * stride + kx * d, ch] * weight[ky, kx, ch]).
//!
//! A run of up to ten output pixels of a row and four channels is computed together: sums that do not wait for each other (a multiplication
//! and addition takes four cycles, two begin in each), and inputs that neighbours share. With dilation d the pixels lie d apart, so that they share inputs
//! too. The columns of a kernel are done two or three at a time: their weights, as many inputs and the sums fit V8's 15 registers. A row is
//! cut into runs of about the same length, and one run of several rows is done after the other, since a call costs as much as a run.
//!
//! In a map of [`BLOCK`] channels, as [`super::expand_depthwise_f32`] makes them, a neighbour's distance is known when the loop is compiled
//! and costs no register. Share of the f32 limit in Chromium on Zen 5 (November 2026): the dilated 5x5 of 20 x 20 x 960 57 %,
//! where runs of three and four pixels of eight channels had 39 %.
//!
//! A row of a wider map is done a block of channels at a time, so that neighbouring runs find their shared pixels in the first-level
//! cache: with all of 960 channels at once each run would stream 150 KB.
//!
//! The sums of the outputs over a row feed squeeze-excite's pool without another pass; they are kept a row, and
//! added up in the order of rows, so that the result does not depend on threads.

use super::activation::activate;
use super::{Activation, Pixels, Shared};
use crate::aligned::Aligned;
use crate::parallel;
use crate::simd::{Best, Simd};
use std::ops::Range;

/// Channels whose weights lie together.
pub(super) const BLOCK: usize = 16;
/// Floats between neighbouring taps in a map of [`BLOCK`] channels at dilation 2.
const DILATED: usize = 2 * BLOCK;

/// Floats of [`Filter::weight`].
fn weight_len(kernel: usize, channels: usize) -> usize {
    kernel * kernel * channels.next_multiple_of(BLOCK)
}

/// Where [`Filter::weight`] has a channel's tap ky * kernel + kx.
fn weight_at(kernel: usize, tap: usize, channel: usize) -> usize {
    (channel / BLOCK * kernel * kernel + tap) * BLOCK + channel % BLOCK
}

/// [`Filter::weight`] of `weight` [kernel, kernel, channels].
pub fn pack_weight(kernel: usize, weight: &[f32]) -> Aligned<f32> {
    let channels = weight.len() / (kernel * kernel);
    let mut packed = Aligned::zeros(weight_len(kernel, channels));
    for (i, w) in weight.iter().enumerate() {
        packed[weight_at(kernel, i / channels, i % channels)] = *w;
    }
    packed
}

/// The convolution that all outputs share; the channel count must be a multiple of 4.
#[derive(Clone, Copy)]
pub struct Filter<'a> {
    /// 3 or 5.
    pub kernel: usize,
    /// 1 or 2; more than 1 only without dilation.
    pub stride: usize,
    /// Pixels between taps.
    pub dilation: usize,
    /// [channels / [`BLOCK`], kernel, kernel, [`BLOCK`]]: [`pack_weight`]. What is past the channels is not read.
    pub weight: &'a [f32],
    /// [channels].
    pub bias: &'a [f32],
    /// Applied to the sum.
    pub activation: Activation,
}

impl Filter<'_> {
    /// Pixels between the first and the last tap of a row.
    pub(super) fn reach(&self) -> usize {
        (self.kernel - 1) * self.dilation
    }

    /// The channels.
    ///
    /// # Panics
    /// When there is no kernel for it, or a slice is of another length.
    pub(super) fn check(&self) -> usize {
        let channels = self.bias.len();
        assert!(matches!((self.kernel, self.stride), (3 | 5, 1 | 2)), "no depthwise kernel of this size and stride");
        assert!(channels.is_multiple_of(4), "channels come in fours");
        assert!(self.stride == 1 || self.dilation == 1, "stride and dilation do not meet");
        assert_eq!(self.weight.len(), weight_len(self.kernel, channels), "weight is in blocks of channels");
        channels
    }
}

/// `sums` [h, channels] filled with zeros, for tasks that each add to rows or channels of their own.
pub(super) fn cleared(sums: Option<&mut [f32]>, h: usize, channels: usize) -> Option<Shared> {
    sums.map(|s| {
        assert_eq!(s.len(), h * channels, "row sums are [h, channels]");
        s.fill(0.0);
        Shared(s.as_mut_ptr())
    })
}

/// What to compute.
pub struct Depthwise<'a> {
    /// Output rows and columns.
    pub size: (usize, usize),
    /// The input and where the first tap of input pixel (y, x) lies.
    pub a: (&'a [f32], Pixels),
    /// What is done at each pixel.
    pub filter: Filter<'a>,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
    /// Receives the sums of each output row, [h, channels].
    pub row_sums: Option<&'a mut [f32]>,
}

/// Bytes of input that a row of a block of channels may take of a first-level cache of 32 KB.
const BLOCK_BYTES: usize = 24 << 10;
/// Least channels of a block: two cache lines of a pixel.
const MIN_BLOCK: usize = 32;
/// Output rows of a task.
const ROWS: usize = 4;

/// A filter on its way over a picture: `width` output columns, and where pixels lie.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub filter: Filter<'a>,
    pub width: usize,
    pub a: (*const f32, Pixels),
    pub c: (Shared, Pixels),
    /// [h, channels], filled with zeros.
    pub sums: Option<Shared>,
}

/// Runs `d` with the words of `S`.
///
/// # Panics
/// When a slice is too short, the channels are no multiple of 4, or the kernel and stride are not of the list.
pub fn depthwise_f32<S: Simd>(mut d: Depthwise) {
    let (h, w) = d.size;
    if h == 0 || w == 0 {
        return;
    }
    let (filter, channels) = (d.filter, d.filter.check());
    let (rows, cols) = ((h - 1) * filter.stride + filter.reach() + 1, (w - 1) * filter.stride + filter.reach() + 1);
    assert!(d.a.1.end(rows, cols, channels) <= d.a.0.len(), "a is too short");
    assert!(d.c.1.end(h, w, channels) <= d.c.0.len(), "c is too short");
    let c = Shared(std::mem::take(&mut d.c.0).as_mut_ptr());
    let sums = cleared(d.row_sums.take(), h, channels);
    let a = Shared(d.a.0.as_ptr().cast_mut());
    let (at_a, at_c) = (d.a.1, d.c.1);
    let cost = w * filter.kernel * filter.kernel * channels * parallel::DEPTHWISE;
    parallel::for_each(h.div_ceil(ROWS), ROWS * cost, |task| {
        let job = Job { filter, width: w, a: (a.get(), at_a), c: (c, at_c), sums };
        let rows = task * ROWS..h.min((task + 1) * ROWS);
        // SAFETY: the asserts above cover every tap, output and sum of every row; each task writes rows of its own.
        unsafe { job.rows::<S>(rows, 0..channels) };
    });
}

impl Job<'_> {
    /// Some channels of output `rows`, from a multiple of [`BLOCK`] on.
    ///
    /// # Safety
    /// Every tap of the rows must lie in a, and the rows in c and the sums, which no other task may write.
    #[inline(never)]
    pub(super) unsafe fn rows<S: Simd>(&self, rows: Range<usize>, channels: Range<usize>) {
        // Only the best words have code for known steps: the other layers are those of int8 models that stay in f32, and few.
        let known = if S::NAME == Best::NAME { self.a.1.pixel * self.filter.dilation } else { 0 };
        let rows_of = match (self.filter.kernel, self.filter.stride, known) {
            (3, 1, BLOCK) => Job::blocks::<S, 3, 1, BLOCK>,
            (3, 1, _) => Job::blocks::<S, 3, 1, 0>,
            (3, 2, BLOCK) => Job::blocks::<S, 3, 2, BLOCK>,
            (3, 2, _) => Job::blocks::<S, 3, 2, 0>,
            (5, 1, BLOCK) => Job::blocks::<S, 5, 1, BLOCK>,
            (5, 1, DILATED) => Job::blocks::<S, 5, 1, DILATED>,
            (5, 1, _) => Job::blocks::<S, 5, 1, 0>,
            (5, 2, BLOCK) => Job::blocks::<S, 5, 2, BLOCK>,
            (5, 2, _) => Job::blocks::<S, 5, 2, 0>,
            other => unreachable!("asserted: {other:?}"),
        };
        // SAFETY: the caller's.
        unsafe { rows_of(self, rows, channels) };
    }

    /// Output `rows`, in runs of pixels that lie a dilation apart, all about as long; `STEP` floats between neighbouring taps (0: as the map says).
    ///
    /// # Safety
    /// As for [`Job::rows`].
    unsafe fn blocks<S: Simd, const K: usize, const STRIDE: usize, const STEP: usize>(
        &self,
        rows: Range<usize>,
        channels: Range<usize>,
    ) {
        let (width, step) = (self.width, self.filter.dilation);
        let columns = (width - 1) * STRIDE + (K - 1) * step + 1;
        let block = (BLOCK_BYTES / (4 * K * columns) / BLOCK * BLOCK).max(MIN_BLOCK);
        for first in channels.clone().step_by(block) {
            let channels = first..channels.end.min(first + block);
            for phase in 0..step.min(width) {
                let count = (width - phase).div_ceil(step);
                let mut x = phase;
                for (length, runs) in cut(count, longest(K, STEP)) {
                    // SAFETY: the caller's; the calls cover the pixels of this phase and no other.
                    unsafe { self.runs_of::<S, K, STRIDE, STEP>(length, (x, runs), &rows, &channels) };
                    x += length * runs * step;
                }
            }
        }
    }

    /// Runs of `length` pixels.
    ///
    /// # Safety
    /// As for [`Job::runs`].
    unsafe fn runs_of<S: Simd, const K: usize, const STRIDE: usize, const STEP: usize>(
        &self,
        length: usize,
        (x, count): (usize, usize),
        rows: &Range<usize>,
        channels: &Range<usize>,
    ) {
        if count == 0 {
            return;
        }
        let runs = match length {
            10 if K == 5 && STEP > 0 => Job::runs::<S, K, STRIDE, 10, STEP>,
            8 if STEP > 0 => Job::runs::<S, K, STRIDE, 8, STEP>,
            7 if STEP > 0 => Job::runs::<S, K, STRIDE, 7, STEP>,
            6 if STEP > 0 => Job::runs::<S, K, STRIDE, 6, STEP>,
            5 if STEP > 0 => Job::runs::<S, K, STRIDE, 5, STEP>,
            4 => Job::runs::<S, K, STRIDE, 4, 0>,
            _ => Job::runs::<S, K, STRIDE, 1, 0>,
        };
        // SAFETY: the caller's.
        unsafe { runs(self, (x, count), rows, channels) };
    }

    /// `count` runs of `T` pixels of each of `rows`, from column `x` on, some channels: one run of all rows after the other, so that the rows
    /// that two of them share are still in the first-level cache. Never inlined: V8 spills the accumulators of a loop in a large function.
    ///
    /// # Safety
    /// As for [`Job::rows`], for the pixels x, x + dilation, …
    #[inline(never)]
    unsafe fn runs<S: Simd, const K: usize, const STRIDE: usize, const T: usize, const STEP: usize>(
        &self,
        (x, count): (usize, usize),
        rows: &Range<usize>,
        channels: &Range<usize>,
    ) {
        let Filter { stride, dilation, weight, bias, activation, .. } = self.filter;
        let (at_a, at_c) = (self.a.1, self.c.1);
        let step_x = if STEP == 0 { at_a.pixel * dilation } else { STEP };
        let (step_y, step_c) = (at_a.row * dilation, at_c.pixel * dilation);
        let (pitch, weight, bias) = (bias.len(), weight.as_ptr(), bias.as_ptr());
        // Opaque, so that rows stay a loop: unrolled, LLVM would finish one pixel after the other and V8 spill what they share.
        let taps = std::hint::black_box(K);
        for (run, y) in (0..count).flat_map(|run| rows.clone().map(move |y| (run, y))) {
            let x = x + run * T * dilation;
            // SAFETY: the caller's: all of these pixels and their taps exist, with `channels` floats each.
            unsafe {
                let a = self.a.0.wrapping_add(at_a.at(y * stride, x * stride));
                let c = self.c.0.0.wrapping_add(at_c.at(y, x));
                let sums = self.sums.map(|sums| sums.0.wrapping_add(y * pitch));
                for ch in channels.clone().step_by(4) {
                    let mut acc = [S::load(bias.add(ch)); T];
                    let (mut a, mut weight) = (a.wrapping_add(ch), weight.add(weight_at(K, 0, ch)));
                    let mut next = |columns: usize| {
                        let from = (a, weight);
                        (a, weight) = (a.wrapping_add(columns * step_x), weight.wrapping_add(columns * BLOCK));
                        from
                    };
                    if K == 3 {
                        acc = columns::<S, K, STRIDE, T, 3>(acc, taps, next(3), (step_x, step_y));
                    } else if T > 8 {
                        acc = columns::<S, K, STRIDE, T, 2>(acc, taps, next(2), (step_x, step_y));
                        acc = columns::<S, K, STRIDE, T, 2>(acc, taps, next(2), (step_x, step_y));
                        acc = columns::<S, K, STRIDE, T, 1>(acc, taps, next(1), (step_x, step_y));
                    } else {
                        acc = columns::<S, K, STRIDE, T, 3>(acc, taps, next(3), (step_x, step_y));
                        acc = columns::<S, K, STRIDE, T, 2>(acc, taps, next(2), (step_x, step_y));
                    }
                    let [out] = activate::<S, T, 1>(activation, [acc]);
                    for (t, x) in out.iter().enumerate() {
                        S::store(c.wrapping_add(t * step_c + ch), *x);
                    }
                    if let Some(sums) = sums {
                        let p = sums.add(ch);
                        S::store(p, S::add(S::load(p), total::<S, T>(out)));
                    }
                }
            }
        }
    }
}

/// The sum of `x` by halves: one after the other, the additions of ten would wait for each other longer than the CPU finds other work for.
#[inline(always)]
fn total<S: Simd, const T: usize>(mut x: [S::F32; T]) -> S::F32 {
    let mut left = T;
    while left > 1 {
        let half = left / 2;
        for i in 0..half {
            x[i] = S::add(x[i], x[left - half + i]);
        }
        left -= half;
    }
    x[0]
}

/// The lengths of the runs that `count` pixels are cut into, and how many there are of each: tens where they can be, else all about as long up to
/// eight; where fours are the longest, or all that there are, fours and ones.
fn cut(count: usize, longest: usize) -> [(usize, usize); 2] {
    if longest == 4 || count <= 4 {
        return [(4, count / 4), (1, count % 4)];
    }
    if longest == 10 && count.is_multiple_of(10) {
        return [(10, count / 10), (1, 0)];
    }
    let runs = count.div_ceil(8);
    [(count / runs + 1, count % runs), (count / runs, runs - count % runs)]
}

/// Most pixels of a run: their sums, and the weights and inputs of three columns, or two of a kernel of five, fit V8's 15 registers.
const fn longest(kernel: usize, step: usize) -> usize {
    match (kernel, step) {
        (_, 0) => 4,
        (3, _) => 8,
        _ => 10,
    }
}

/// acc + what `N` columns of a kernel add to the sums of `T` pixels.
///
/// # Safety
/// `a` and `weight` must hold the columns of all rows, `steps` floats from a column and from a row to the next.
#[inline(always)]
unsafe fn columns<S: Simd, const K: usize, const STRIDE: usize, const T: usize, const N: usize>(
    mut acc: [S::F32; T],
    rows: usize,
    (mut a, mut weight): (*const f32, *const f32),
    (step_x, step_y): (usize, usize),
) -> [S::F32; T] {
    for _ in 0..rows {
        // SAFETY: the caller's.
        unsafe {
            let w: [S::F32; N] = std::array::from_fn(|kx| S::load(weight.add(kx * BLOCK)));
            for (t, acc) in acc.iter_mut().enumerate() {
                for (kx, w) in w.iter().enumerate() {
                    *acc = S::madd(S::load(a.add((t * STRIDE + kx) * step_x)), *w, *acc);
                }
            }
            (a, weight) = (a.wrapping_add(step_y), weight.wrapping_add(K * BLOCK));
        }
    }
    acc
}
