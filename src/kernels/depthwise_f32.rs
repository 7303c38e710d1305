//! Depthwise convolution, 3x3 and 5x5, at stride 1 or 2 and any dilation:
//! c[y, x, ch] = activation(bias[ch] + sum of a[y * stride + ky * d, x * stride + kx * d, ch] * weight[ky, kx, ch]).
//!
//! Four output pixels of a row and eight channels are computed together: at 5x5 and stride 1 that is 80 loads for 100
//! multiplies where one pixel at a time takes 50 for 25, and eight sums that do not wait for each other. A kernel of five columns is done
//! three and then two at a time: five weights, five inputs and eight sums would be spilled, and a sum waits for its spill. With dilation d the pixels lie
//! d apart, so that they share inputs too. In a map of [`BLOCK`] channels, as [`super::expand_depthwise_f32`] makes them, a
//! neighbour's distance is known when the loop is compiled and costs no register. In Chromium on Zen 3 (November 2026, peak 24.6), 40 x 80 x 16:
//! 16 GMAC/s at 3x3 and eight sums, 12 with four sums or with a distance of run time; 18 with eight pixels of four channels.
//!
//! A row of a wider map is done a block of channels at a time, so that neighbouring runs find their shared pixels in the first-level
//! cache: with all of 960 channels at once each run would stream 150 KB.
//!
//! The sums of the outputs over a row feed squeeze-excite's pool without another pass; they are kept a row, and
//! added up in the order of rows, so that the result does not depend on threads.

use super::activation::activate;
use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;
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
pub fn pack_weight(kernel: usize, weight: &[f32]) -> Vec<f32> {
    let channels = weight.len() / (kernel * kernel);
    let mut packed = vec![0.0; weight_len(kernel, channels)];
    for (i, w) in weight.iter().enumerate() {
        packed[weight_at(kernel, i / channels, i % channels)] = *w;
    }
    packed
}

/// How many runs of three `count` pixels have, so that only fours are left: seven as four and three, ten as four and twice three.
fn threes(count: usize) -> usize {
    let threes = (4 - count % 4) % 4;
    if 3 * threes <= count { threes } else { 0 }
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
    parallel::for_each(h, cost, |y| {
        let job = Job { filter, width: w, a: (a.get(), at_a), c: (c, at_c), sums };
        // SAFETY: the asserts above cover every tap, output and sum of every row; each task writes a row of its own.
        unsafe { job.row::<S>(y, 0..channels) };
    });
}

impl Job<'_> {
    /// Some channels of output row `y`, from a multiple of [`BLOCK`] on.
    ///
    /// # Safety
    /// Every tap of the row must lie in a, and the row in c and the sums, which no other task may write.
    #[inline(always)]
    pub(super) unsafe fn row<S: Simd>(&self, y: usize, channels: Range<usize>) {
        let step = self.a.1.pixel * self.filter.dilation;
        let known = if channels.len().is_multiple_of(8) { step } else { 0 };
        let row = match (self.filter.kernel, self.filter.stride, known) {
            (3, 1, BLOCK) => Job::blocks::<S, 3, 1, 2, BLOCK>,
            (3, 1, _) => Job::blocks::<S, 3, 1, 1, 0>,
            (3, 2, BLOCK) => Job::blocks::<S, 3, 2, 2, BLOCK>,
            (3, 2, _) => Job::blocks::<S, 3, 2, 1, 0>,
            (5, 1, BLOCK) => Job::blocks::<S, 5, 1, 2, BLOCK>,
            (5, 1, DILATED) => Job::blocks::<S, 5, 1, 2, DILATED>,
            (5, 1, _) => Job::blocks::<S, 5, 1, 1, 0>,
            (5, 2, BLOCK) => Job::blocks::<S, 5, 2, 2, BLOCK>,
            (5, 2, _) => Job::blocks::<S, 5, 2, 1, 0>,
            other => unreachable!("asserted: {other:?}"),
        };
        // SAFETY: the caller's.
        unsafe { row(self, y, channels) };
    }

    /// Output row `y`, in runs of 8 (small kernels), 3, 4, and where that does not do 2 and 1 pixels that lie a dilation apart; V vectors
    /// of channels at a time, `STEP` floats between neighbouring taps (0: as the map says).
    ///
    /// # Safety
    /// As for [`Job::row`].
    unsafe fn blocks<S: Simd, const K: usize, const STRIDE: usize, const V: usize, const STEP: usize>(
        &self,
        y: usize,
        channels: Range<usize>,
    ) {
        let (width, step) = (self.width, self.filter.dilation);
        let columns = (width - 1) * STRIDE + (K - 1) * step + 1;
        let block = (BLOCK_BYTES / (4 * K * columns) / BLOCK * BLOCK).max(MIN_BLOCK);
        for first in channels.clone().step_by(block) {
            let channels = first..channels.end.min(first + block);
            for phase in 0..step.min(width) {
                let count = (width - phase).div_ceil(step);
                let at = |done: usize| (y, phase + done * step);
                let eights = if K == 3 && STRIDE == 1 && STEP > 0 { count / 8 * 8 } else { 0 };
                let threes = if STEP > 0 { threes(count - eights) * 3 } else { 0 };
                let wide = eights + threes;
                let (fours, twos) = (wide + (count - wide) / 4 * 4, count - (count - wide) % 2);
                // SAFETY: the caller's; the calls cover the pixels of this phase and no other.
                unsafe {
                    if eights > 0 {
                        self.runs::<S, K, STRIDE, 8, 1, STEP>(at(0), eights / 8, channels.clone());
                    }
                    if threes > 0 {
                        self.runs::<S, K, STRIDE, 3, V, STEP>(at(eights), threes / 3, channels.clone());
                    }
                    self.runs::<S, K, STRIDE, 4, V, STEP>(at(wide), (fours - wide) / 4, channels.clone());
                    // The few that are left do without code of their own; a single one shares nothing, at any stride.
                    self.runs::<S, K, STRIDE, 2, 1, 0>(at(fours), (twos - fours) / 2, channels.clone());
                    self.runs::<S, K, 1, 1, 1, 0>(at(twos), count - twos, channels.clone());
                }
            }
        }
    }

    /// `count` runs of `T` pixels from (y, x), some channels. Never inlined: V8 spills the accumulators of a loop in a large
    /// function.
    ///
    /// # Safety
    /// As for [`Job::row`], for the pixels x, x + dilation, …
    #[inline(never)]
    unsafe fn runs<S: Simd, const K: usize, const STRIDE: usize, const T: usize, const V: usize, const STEP: usize>(
        &self,
        (y, x): (usize, usize),
        count: usize,
        channels: Range<usize>,
    ) {
        let Filter { stride, dilation, weight, bias, activation, .. } = self.filter;
        let (at_a, at_c) = (self.a.1, self.c.1);
        let step_x = if STEP == 0 { at_a.pixel * dilation } else { STEP };
        let (step_y, step_c) = (at_a.row * dilation, at_c.pixel * dilation);
        let (pitch, weight, bias) = (bias.len(), weight.as_ptr(), bias.as_ptr());
        // Opaque, so that rows stay a loop: unrolled, LLVM would finish one pixel after the other and V8 spill what they share.
        let rows = std::hint::black_box(K);
        let sums = self.sums.map(|sums| sums.0.wrapping_add(y * pitch));
        // SAFETY: the caller's: all of these pixels and their taps exist, with `channels` floats each.
        unsafe {
            let mut a = self.a.0.wrapping_add(at_a.at(y * stride, x * stride));
            let mut c = self.c.0.0.wrapping_add(at_c.at(y, x));
            for _ in 0..count {
                for ch in channels.clone().step_by(4 * V) {
                    let acc: [[S::F32; T]; V] = std::array::from_fn(|v| [S::load(bias.add(ch + 4 * v)); T]);
                    let (a, weight) = (a.wrapping_add(ch), weight.add(weight_at(K, 0, ch)));
                    let acc = columns::<S, K, STRIDE, T, V, 3>(acc, rows, (a, weight), (step_x, step_y));
                    let acc = match K {
                        3 => acc,
                        _ => {
                            let (a, weight) = (a.wrapping_add(3 * step_x), weight.add(3 * BLOCK));
                            columns::<S, K, STRIDE, T, V, 2>(acc, rows, (a, weight), (step_x, step_y))
                        }
                    };
                    for (v, out) in activate::<S, T, V>(activation, acc).into_iter().enumerate() {
                        let ch = ch + 4 * v;
                        for (t, x) in out.iter().enumerate() {
                            S::store(c.add(t * step_c + ch), *x);
                        }
                        if let Some(sums) = sums {
                            let p = sums.add(ch);
                            S::store(p, out.into_iter().fold(S::load(p), |sum, x| S::add(sum, x)));
                        }
                    }
                }
                a = a.add(T * stride * step_x);
                c = c.wrapping_add(T * step_c);
            }
        }
    }
}

/// acc + what `N` columns of a kernel add to the sums of `T` pixels, V vectors of channels.
///
/// # Safety
/// `a` and `weight` must hold the columns of all rows, `steps` floats from a column and from a row to the next.
#[inline(always)]
unsafe fn columns<S: Simd, const K: usize, const STRIDE: usize, const T: usize, const V: usize, const N: usize>(
    mut acc: [[S::F32; T]; V],
    rows: usize,
    (mut a, mut weight): (*const f32, *const f32),
    (step_x, step_y): (usize, usize),
) -> [[S::F32; T]; V] {
    for _ in 0..rows {
        // SAFETY: the caller's.
        unsafe {
            for (v, acc) in acc.iter_mut().enumerate() {
                let w: [S::F32; N] = std::array::from_fn(|kx| S::load(weight.add(kx * BLOCK + 4 * v)));
                for column in 0..(T - 1) * STRIDE + N {
                    let x = S::load(a.add(column * step_x + 4 * v));
                    for (t, acc) in acc.iter_mut().enumerate() {
                        if column >= t * STRIDE && column < t * STRIDE + N {
                            *acc = S::madd(x, w[column - t * STRIDE], *acc);
                        }
                    }
                }
            }
            (a, weight) = (a.wrapping_add(step_y), weight.wrapping_add(K * BLOCK));
        }
    }
    acc
}
