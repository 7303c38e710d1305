//! [`super::expand_depthwise_f32`] in int8: the same bands and blocks of channels, the same integers as [`super::conv_i8`] and
//! then [`super::depthwise_i8`].
//!
//! ```text
//! the input once in the form that the dot takes
//! for block of 16 channels, for band of output rows      (a task)
//!     scratch = q - zp of the expansion's rows that the band sees, as floats; zeros round the picture
//!     for row of the band: depthwise in f32, then its epilogue
//! ```
//! The depthwise sums are exact in floats, in any order and fused or not: at most 25 * 127 * 255 = 809 625 < 2^24. So a multiplication
//! and an addition are one instruction where integers need a widening, a dot and an addition, and [`super::depthwise_f32`]
//! is the kernel.

use super::conv_i8::{MR, Pairs, Quads, Step, tile};
use super::depthwise_f32::{Filter, Job};
use super::epilogue_i8::{Finish, Output, Place, Sums, ValuesMut, holds};
use super::expand_depthwise_f32::{BLOCK, Bands};
use super::pack_i8::{HEADER, NR, PackedB, PackedDepthwise};
use super::pool_i8::sum_row;
use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::quant::Epilogue;
use crate::simd::{ByteDot, DotKind, Simd};
use std::ops::Range;

/// Pixels whose sums are made bytes in one go.
const FINISH_PIXELS: usize = 64;

/// The expansion: no halo in its input.
#[derive(Clone, Copy)]
pub struct Expand<'a> {
    /// Rows and columns.
    pub size: (usize, usize),
    /// The input and its pixels.
    pub a: (&'a [u8], Pixels),
    /// The weights, packed for the dot that is to run.
    pub b: &'a PackedB,
    /// From sums to the bytes that the depthwise layer would read.
    pub epilogue: &'a Epilogue,
}

/// What to compute; the channel count is a multiple of 8.
pub struct ExpandDepthwise<'a> {
    /// The map that is not made.
    pub expand: Expand<'a>,
    /// 1 or 2; more than 1 only without dilation.
    pub stride: usize,
    /// Pixels between taps.
    pub dilation: usize,
    /// The depthwise weights.
    pub weights: &'a PackedDepthwise,
    /// From the depthwise sums to outputs.
    pub epilogue: &'a Epilogue,
    /// The output: bytes with the epilogue's parameters, or floats.
    pub c: (ValuesMut<'a>, Pixels),
    /// Receives the sums of each output row's bytes, [h, channels]. Only for bytes.
    pub row_sums: Option<&'a mut [u32]>,
}

impl ExpandDepthwise<'_> {
    /// How the work is cut.
    pub fn bands(&self) -> Bands {
        Bands::new(self.expand.size, &self.filter())
    }

    /// Floats of scratch, for all threads.
    pub fn scratch(&self) -> usize {
        let bands = self.bands();
        bands.scratch() + bands.size().1 * BLOCK * parallel::threads()
    }

    /// Bytes of the packed input.
    pub fn packed(&self) -> usize {
        let (h, w) = self.expand.size;
        h * w * row_bytes(self.expand.b)
    }

    /// The depthwise layer without its epilogue.
    fn filter(&self) -> Filter<'_> {
        let PackedDepthwise { kernel, floats, zeros, .. } = self.weights;
        let (stride, dilation) = (self.stride, self.dilation);
        Filter { kernel: *kernel, stride, dilation, weight: floats, bias: zeros, activation: Activation::Identity }
    }
}

/// Bytes of a packed pixel.
fn row_bytes(b: &PackedB) -> usize {
    4 * b.k.div_ceil(b.kind.step())
}

/// Runs `x` with the words of `S` and its own dot of bytes, in room of as many elements as [`ExpandDepthwise::packed`] and
/// [`ExpandDepthwise::scratch`] say.
///
/// # Panics
/// When a slice is too short, or channels, kernel and stride are not of the list.
pub fn expand_depthwise_i8<S: Simd>(x: ExpandDepthwise, packed: &mut [u8], scratch: &mut [f32]) {
    expand_depthwise_i8_with::<S, S::Dot>(x, packed, scratch);
}

/// [`expand_depthwise_i8`] with another dot of bytes, which must be what the weights are packed for.
///
/// # Panics
/// As for [`expand_depthwise_i8`].
pub fn expand_depthwise_i8_with<S: Simd, D: ByteDot<S>>(x: ExpandDepthwise, packed: &mut [u8], scratch: &mut [f32]) {
    match x.expand.b.kind {
        DotKind::I16 => run::<S, Pairs>(x, packed, scratch),
        DotKind::I8Unsigned => run::<S, Quads<D, false>>(x, packed, scratch),
        DotKind::I8Signed => run::<S, Quads<D, true>>(x, packed, scratch),
    }
}

fn run<S: Simd, P: Step<S>>(mut x: ExpandDepthwise, packed: &mut [u8], scratch: &mut [f32]) {
    let (expand, channels, bands) = (x.expand, x.filter().check(), x.bands());
    let ((h, w), (hin, win)) = (bands.size(), expand.size);
    if h == 0 || w == 0 {
        return;
    }
    assert!(channels.is_multiple_of(NR) && expand.b.n == channels, "channels come in eights");
    assert!(holds(expand.a.0.len(), expand.a.1, expand.size, expand.b.k), "a is too short");
    assert!(holds(x.c.0.len(), x.c.1, (h, w), channels), "c is too short");
    assert!([expand.epilogue, x.epilogue].iter().all(|e| e.bias.len() == channels), "epilogues of the channels");
    assert!(x.row_sums.as_ref().is_none_or(|s| s.len() == h * channels), "row sums are [h, channels]");
    assert_eq!((packed.len(), scratch.len()), (x.packed(), x.scratch()), "room as asked for");

    let pitch = win * row_bytes(expand.b);
    // SAFETY: row y is within a, as asserted.
    parallel::for_each_chunk(packed, pitch, win * expand.b.k * parallel::ELEMENT, |y, row| unsafe {
        pack_row::<S, P>(&expand, y, row)
    });
    let (output, sums) = (x.c.0.shared(), x.row_sums.take().map(|s| Shared(s.as_mut_ptr())));
    assert!(sums.is_none() || matches!(output, Output::U8(_)), "row sums are of bytes");
    let finish = |epilogue, output| Finish { epilogue, channels, residual: None, output };
    let both = Both {
        x: &x,
        bands,
        packed,
        // The expansion's output is nowhere but in the scratch.
        expansion: finish(expand.epilogue, output),
        finish: finish(x.epilogue, output),
        sums,
    };
    let blocks = channels.div_ceil(BLOCK);
    let cost = bands.cost(expand.b.k, &x.filter());
    parallel::for_each_with(blocks * h.div_ceil(bands.rows()), cost, scratch, |task, scratch| {
        let (first, y) = (task % blocks * BLOCK, task / blocks * bands.rows());
        // SAFETY: the asserts above cover every pixel, tap, output and sum; tasks differ in rows or in channels.
        unsafe { both.block::<S, P>(y..h.min(y + bands.rows()), first..channels.min(first + BLOCK), hin, scratch) };
    });
}

/// Row `y` of the input, as the dot takes it.
///
/// # Safety
/// The row must lie in a.
unsafe fn pack_row<S: Simd, P: Step<S>>(expand: &Expand, y: usize, row: &mut [u8]) {
    let (k, used) = (expand.b.k, expand.b.k * 4 / P::K);
    for (x, to) in row.chunks_exact_mut(row_bytes(expand.b)).enumerate() {
        to[used..].fill(0);
        // SAFETY: the caller's; a packed pixel has room for k activations.
        unsafe { P::pack(expand.a.0.as_ptr().add(expand.a.1.at(y, x)), to.as_mut_ptr(), k) };
    }
}

/// Both layers on their way over a picture.
struct Both<'a> {
    x: &'a ExpandDepthwise<'a>,
    bands: Bands,
    packed: &'a [u8],
    expansion: Finish<'a>,
    finish: Finish<'a>,
    sums: Option<Shared<u32>>,
}

impl Both<'_> {
    /// The output's `rows` of `channels`, of an expansion of `height` rows.
    ///
    /// # Safety
    /// All of them must lie in the output and in the sums, and no other task may write them.
    unsafe fn block<S: Simd, P: Step<S>>(
        &self,
        rows: Range<usize>,
        channels: Range<usize>,
        height: usize,
        scratch: &mut [f32],
    ) {
        let (first, width, pad, columns) = (channels.start, channels.len(), self.bands.pad(), self.bands.columns());
        let ((_, w), row_pitch, top) = (self.bands.size(), columns * width, rows.start * self.x.stride);
        let (out, scratch) = scratch.split_at_mut(w * BLOCK);
        let seen = (rows.len() - 1) * self.x.stride + 2 * pad + 1;
        for (i, row) in scratch.chunks_exact_mut(row_pitch).take(seen).enumerate() {
            match (top + i).checked_sub(pad).filter(|y| *y < height) {
                // SAFETY: the packed input has row y, b every panel.
                Some(y) => unsafe { self.fill_row::<S, P>(row, y, channels.clone()) },
                None => row.fill(0.0),
            }
        }
        // Row 0 of the picture, channel 0: before the scratch, which begins at row `top` less the padding.
        let a = scratch.as_ptr().wrapping_sub(top * row_pitch + first);
        let c = Shared(out.as_mut_ptr().wrapping_sub(first));
        let job = Job {
            filter: self.x.filter(),
            width: w,
            a: (a, Pixels { start: 0, row: row_pitch, pixel: width }),
            c: (c, Pixels { start: 0, row: 0, pixel: width }),
            sums: None,
        };
        for y in rows {
            // SAFETY: the scratch holds all rows that the band sees, and a row of sums.
            unsafe {
                job.row::<S>(y, channels.clone());
                self.finish_row::<S>(y, channels.clone(), out);
            }
        }
    }

    /// Row `y` of the expansion.
    ///
    /// # Safety
    /// Row y must exist in the packed input, and the panels of the channels in b.
    unsafe fn fill_row<S: Simd, P: Step<S>>(&self, row: &mut [f32], y: usize, channels: Range<usize>) {
        let (b, inner) = (self.x.expand.b, self.x.expand.size.1);
        let (width, edge) = (channels.len(), self.bands.pad() * channels.len());
        row[..edge].fill(0.0);
        row[edge + inner * width..].fill(0.0);
        let (data, len) = b.panels();
        for (j, ch) in channels.step_by(NR).enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let a = self.packed.as_ptr().add(y * inner * row_bytes(b));
                let sums = Sums { data: row.as_mut_ptr().add(edge + j * NR).cast(), pitch: width };
                pixels::<S, P>(a, data.as_ptr().add(ch / NR * len), (b.k.div_ceil(P::K), inner), sums);
                self.expansion.run_above_zero::<S>(ch, sums, inner);
            }
        }
    }

    /// Row `y` of the output from its sums in `out`.
    ///
    /// # Safety
    /// As for [`Both::block`].
    unsafe fn finish_row<S: Simd>(&self, y: usize, channels: Range<usize>, out: &mut [f32]) {
        let ((_, w), at, width) = (self.bands.size(), self.x.c.1, channels.len());
        for x in (0..w).step_by(FINISH_PIXELS) {
            let places: [Place; FINISH_PIXELS] =
                std::array::from_fn(|i| Place { output: at.at(y, x + i), residual: 0 });
            for (j, ch) in channels.clone().step_by(NR).enumerate() {
                // SAFETY: the caller's.
                unsafe {
                    let sums = Sums { data: out.as_mut_ptr().add(x * width + j * NR).cast(), pitch: width };
                    self.finish.run_floats::<S>(ch, sums, &places[..FINISH_PIXELS.min(w - x)]);
                }
            }
        }
        let (Some(sums), Output::U8(c)) = (self.sums, self.finish.output) else { return };
        for ch in channels.step_by(NR) {
            // SAFETY: the caller's; the row is written.
            unsafe { sum_row::<S>(c.at(at.at(y, 0) + ch), at.pixel, w, sums.at(y * self.finish.channels + ch)) };
        }
    }
}

/// Sums of `count` pixels side by side in a panel's eight channels, `steps` long. Never inlined, as conv_i8's.
///
/// # Safety
/// `a` must hold the packed pixels, `b` a panel, and `sums` room for eight sums of each.
#[inline(never)]
unsafe fn pixels<S: Simd, P: Step<S>>(a: *const u8, b: *const u8, (steps, count): (usize, usize), sums: Sums) {
    let (tiles, mut x) = (count.div_ceil(MR), 0);
    for i in 0..tiles {
        let rows = count / tiles + usize::from(i < count % tiles);
        // SAFETY: the caller's.
        unsafe {
            let (a, to) = (a.add(x * 4 * steps), (sums.data.add(x * sums.pitch), sums.pitch));
            tile::<S, P>(rows, a, b.add(HEADER), steps, (b.cast(), 0), to);
        }
        x += rows;
    }
}
