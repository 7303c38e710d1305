//! Depthwise convolution in int8, 3x3 and 5x5, at stride 1 or 2 and any dilation:
//! acc[y, x, ch] = sum of wq[ky, kx, ch] * (q[y * stride + ky * d, x * stride + kx * d, ch] - zp[ch]); [`Epilogue`] follows.
//!
//! A product of two bytes fills i16, so sums need i32, and the dot of i16 pairs makes one of two products. The pair is two
//! kernel rows: a column of both, interleaved once, serves every output that sees it.
//!
//! ```text
//! for band of output rows, for group of 64 channels      (a task)
//!     for eight channels
//!         for row of the band, for column of input, left to right
//!             for output that sees it: acc[age of the output] += pairs of rows . weights
//!             the oldest output has met all columns: its sums wait on the stack; all others grow older
//!         the epilogue of the band
//! ```
//! A tile of four pixels by eight channels, which LLVM orders so that V8 spills, was 0.7 to 0.9 of this in Chromium on Zen 3 (2026).

use super::epilogue_i8::{Finish, Sums};
use super::pack_i8::PackedDepthwise;
use super::values_i8::{Output, Place, ValuesMut, holds};
use super::{Pixels, Shared};
use crate::parallel;
use crate::quant::Epilogue;
use crate::simd::Simd;
use std::mem::MaybeUninit;

/// Pixels whose sums wait for the epilogue: what a task holds of rows that are shorter, and a part of one that is longer.
const BAND_PIXELS: usize = 64;
/// Channels of a task: a cache line of bytes.
const GROUP: usize = 64;

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
    finish: Finish<'a>,
    sums: Option<Shared<u32>>,
}

/// Output pixels whose sums are computed together.
struct Part {
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
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
    let part = match (kernel, d.stride) {
        (3, 1) => Job::part::<S, 3, 1>,
        (3, 2) => Job::part::<S, 3, 2>,
        (5, 1) => Job::part::<S, 5, 1>,
        (5, 2) => Job::part::<S, 5, 2>,
        other => panic!("no depthwise kernel for size and stride {other:?}"),
    };
    let output = d.c.0.shared();
    assert!(d.row_sums.is_none() || matches!(output, Output::U8(_)), "row sums are of bytes");
    let sums = d.row_sums.take().map(|s| Shared(s.as_mut_ptr()));
    let job = Job { d: &d, finish: Finish { epilogue: d.epilogue, channels, residual: None, output }, sums };
    // Bands and parts of rows of equal size: a short last one would cost as much as the others before its first pixel.
    let bands = h.div_ceil((BAND_PIXELS / w).max(1));
    let parts = w.div_ceil(BAND_PIXELS);
    let tasks = bands * channels.div_ceil(GROUP);
    parallel::for_each(tasks, h * w * channels / tasks * kernel * kernel * parallel::DEPTHWISE, |task| {
        let (band, group) = (task % bands, task / bands * GROUP);
        let (rows, group) = (parallel::part(h, bands, band), group..channels.min(group + GROUP));
        for i in 0..parts {
            let columns = parallel::part(w, parts, i);
            // SAFETY: the asserts above cover every tap and output; tasks differ in rows or in channels.
            unsafe { part(&job, &Part { rows: rows.clone(), columns }, group.clone()) };
        }
        for y in rows {
            // SAFETY: as above, and all outputs of the row and the channels are written.
            unsafe { job.finish.sum_row::<S>((y, job.d.c.1, w), group.clone(), job.sums) };
        }
    });
}

impl Job<'_> {
    /// The outputs of `part`, eight of the channels after the other, in each row pixels that lie a dilation apart.
    ///
    /// # Safety
    /// Every tap of the part must lie in a, and the part in c.
    #[inline(never)]
    unsafe fn part<S: Simd, const K: usize, const STRIDE: usize>(&self, part: &Part, group: std::ops::Range<usize>) {
        let (d, width) = (self.d, part.columns.len());
        let (mut scratch, mut places) = ([MaybeUninit::uninit(); BAND_PIXELS * 8], [Place::default(); BAND_PIXELS]);
        let pixels = part.rows.clone().flat_map(|y| part.columns.clone().map(move |x| (y, x)));
        for (place, (y, x)) in places.iter_mut().zip(pixels) {
            place.output = d.c.1.at(y, x);
        }
        for ch in group.step_by(8) {
            // SAFETY: the caller's; the scratch has room for eight sums of each pixel of the part.
            unsafe {
                for (row, y) in part.rows.clone().enumerate() {
                    for phase in 0..d.dilation.min(width) {
                        let first = &mut scratch[(row * width + phase) * 8..];
                        self.line::<S, K, STRIDE>(
                            (y, part.columns.start + phase),
                            (width - phase).div_ceil(d.dilation),
                            ch,
                            first,
                        );
                    }
                }
                let sums = Sums { data: scratch.as_mut_ptr().cast(), pitch: 8 };
                self.finish.run::<S>(ch, sums, &places[..part.rows.len() * width]);
            }
        }
    }

    /// The sums of eight channels from `ch` of `count` pixels from (y, x) on, a dilation apart, into `out` at as many pixels'
    /// distance.
    ///
    /// acc[i] holds the output that column 0 of the kernel met i turns ago; after its last column it is done.
    ///
    /// # Safety
    /// As for [`Job::part`].
    #[inline(always)]
    unsafe fn line<S: Simd, const K: usize, const STRIDE: usize>(
        &self,
        (y, x): (usize, usize),
        count: usize,
        ch: usize,
        out: &mut [MaybeUninit<i32>],
    ) {
        let d = self.d;
        let (step_x, step_y, step_out) = (d.a.1.pixel * d.dilation, d.a.1.row * d.dilation, 8 * d.dilation);
        let ages = K.div_ceil(STRIDE);
        let turns = count + ages - 1;
        let mut out = out.as_mut_ptr().cast::<i32>();
        // SAFETY: the caller's: all of these pixels and their taps exist, with `channels` bytes each.
        unsafe {
            let mut a = d.a.0.as_ptr().add(d.a.1.at(y * STRIDE, x * STRIDE) + ch);
            let start = d.weights.start.as_ptr().add(ch);
            let start = [S::load_i32(start), S::load_i32(start.add(4))];
            let weights = d.weights.taps.as_ptr().add(ch * K.div_ceil(2) * K * 2);
            let mut acc = [start; K];
            for turn in 0..turns {
                for column in 0..STRIDE {
                    // At stride 2 an odd kernel has no use for the last turn's second column, and it may not exist.
                    let a = if column > 0 && turn + 1 < turns { a.add(column * step_x) } else { a };
                    for pair in 0..K.div_ceil(2) {
                        // The last row of an odd kernel is paired with itself; the weights there are zero.
                        let (upper, lower) = (2 * pair, (2 * pair + 1).min(K - 1));
                        let rows = (S::load_u8x8(a.add(upper * step_y)), S::load_u8x8(a.add(lower * step_y)));
                        let v = S::interleave(rows.0, rows.1);
                        for (age, acc) in acc.iter_mut().enumerate() {
                            let kx = age * STRIDE + column;
                            if kx < K {
                                let w = weights.add((pair * K + kx) * 16);
                                acc[0] = S::dot_add(v[0], S::load_i16(w), acc[0]);
                                acc[1] = S::dot_add(v[1], S::load_i16(w.add(8)), acc[1]);
                            }
                        }
                    }
                }
                a = a.wrapping_add(STRIDE * step_x);
                if turn + 1 >= ages {
                    S::store_i32(out, acc[ages - 1][0]);
                    S::store_i32(out.add(4), acc[ages - 1][1]);
                    out = out.wrapping_add(step_out);
                }
                for age in (1..ages).rev() {
                    acc[age] = acc[age - 1];
                }
                acc[0] = start;
            }
        }
    }
}
