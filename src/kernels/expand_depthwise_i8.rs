//! [`super::expand_depthwise_f32`] in int8: the same bands and blocks of channels, the same integers as [`super::conv_i8`] and
//! then [`super::depthwise_i8`].
//!
//! ```text
//! the input once in the form that the dot takes
//! for block of 16 channels, for some bands of output rows      (a task)
//!     for band of them
//!         scratch = q - zp of the expansion's rows that the band sees and the one before did not, as floats; zeros round the picture
//!         sums = depthwise in f32 of the band; for row of it: the epilogue
//! ```
//! The depthwise sums are exact in floats, in any order and fused or not: at most 25 * 127 * 255 = 809 625 < 2^24. So a multiplication
//! and an addition are one instruction where integers need a widening, a dot and an addition, and [`super::depthwise_f32`]
//! is the kernel.

use super::conv_i8::rows;
use super::depthwise_f32::{BLOCK, Filter, Job};
use super::epilogue_i8::{Finish, Sums, above_zero};
use super::expand_depthwise_f32::Bands;
use super::pack_i8::{HEADER, NR, PackedB};
use super::step_i8::{Pairs, Quads, Step, pack_pixels};
use super::values_i8::{Output, Place, ValuesMut, holds};
use super::{Pixels, Shared};
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

impl Expand<'_> {
    /// Bytes of the packed input.
    pub fn packed(&self) -> usize {
        self.size.0 * self.size.1 * self.pixel()
    }

    /// Bytes of a packed pixel.
    fn pixel(&self) -> usize {
        4 * self.b.k.div_ceil(self.b.kind.step())
    }
}

/// What to compute; the channel count is a multiple of 8.
pub struct ExpandDepthwise<'a> {
    /// The map that is not made.
    pub expand: Expand<'a>,
    /// What is done at each of its pixels: [`super::pack_i8::PackedDepthwise::filter`].
    pub filter: Filter<'a>,
    /// From the depthwise sums to outputs.
    pub epilogue: &'a Epilogue,
    /// The output: bytes with the epilogue's parameters, or floats.
    pub c: (ValuesMut<'a>, Pixels),
    /// Receives the sums of each output row's bytes, [h, channels]. Only for bytes.
    pub row_sums: Option<&'a mut [u32]>,
}

/// Floats of scratch, for all threads: the bands', and the sums of a band for each.
pub fn scratch(bands: &Bands) -> usize {
    bands.scratch() + bands.rows() * bands.size().1 * BLOCK * parallel::threads()
}

/// Runs `x` with the words of `S` and its own dot of bytes, in room of as many elements as [`Expand::packed`] and
/// [`scratch`] say.
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

fn run<S: Simd, P: Step<S>>(mut x: ExpandDepthwise, packed: &mut [u8], room: &mut [f32]) {
    let (expand, filter, channels) = (x.expand, x.filter, x.filter.check());
    let bands = Bands::new(expand.size, &filter);
    let (h, w) = bands.size();
    if h == 0 || w == 0 {
        return;
    }
    assert!(channels.is_multiple_of(NR) && expand.b.n == channels, "channels come in eights");
    assert!(holds(expand.a.0.len(), expand.a.1, expand.size, expand.b.k), "a is too short");
    assert!(holds(x.c.0.len(), x.c.1, (h, w), channels), "c is too short");
    assert!([expand.epilogue, x.epilogue].iter().all(|e| e.bias.len() == channels), "epilogues of the channels");
    assert!(x.row_sums.as_ref().is_none_or(|s| s.len() == h * channels), "row sums are [h, channels]");
    assert_eq!((packed.len(), room.len()), (expand.packed(), scratch(&bands)), "room as asked for");

    let pitch = expand.size.1 * expand.pixel();
    // SAFETY: row y is within a, as asserted.
    parallel::for_each_chunk(packed, pitch, expand.size.1 * expand.b.k * parallel::ELEMENT, |y, row| unsafe {
        pack_row::<S, P>(&expand, y, row)
    });
    let (output, sums) = (x.c.0.shared(), x.row_sums.take().map(|s| Shared(s.as_mut_ptr())));
    assert!(sums.is_none() || matches!(output, Output::U8(_)), "row sums are of bytes");
    let finish = Finish { epilogue: x.epilogue, channels, residual: None, output };
    let both = Both { expand: &expand, packed, finish, at: x.c.1, width: w, sums };
    parallel::for_each_with(bands.tasks(channels), bands.cost(expand.b.k, &filter), room, |task, room| {
        let (rows, channels) = bands.task(task, channels);
        let (out, scratch) = room.split_at_mut(bands.rows() * w * BLOCK);
        for band in bands.of(rows.clone()) {
            for y in bands.frame(&band, band.start > rows.start, scratch) {
                let row = &mut scratch[bands.row(&band, y)..];
                // SAFETY: the packed input has every row of the picture, b every panel, and scratch the rows that the band sees.
                unsafe { both.fill_row::<S, P>(row, y, channels.clone()) };
            }
            let a = bands.block(&band, channels.start, scratch);
            // Channel 0 of row 0: before the sums, which begin with the band's rows and the block's channels.
            let at = Pixels { start: 0, row: w * BLOCK, pixel: BLOCK };
            let c = Shared(out.as_mut_ptr().wrapping_sub(at.at(band.start, 0) + channels.start));
            let job = Job { filter, width: w, a, c: (c, at), sums: None };
            // SAFETY: the scratch holds all rows that the band sees, and their sums; tasks differ in rows or in channels.
            unsafe { job.rows::<S>(band.clone(), channels.clone()) };
            for (y, out) in band.zip(out.chunks_exact_mut(at.row)) {
                // SAFETY: as above.
                unsafe { both.finish_row::<S>(y, channels.clone(), out) };
            }
        }
    });
}

/// Row `y` of the input, as the dot takes it.
///
/// # Safety
/// The row must lie in a.
unsafe fn pack_row<S: Simd, P: Step<S>>(expand: &Expand, y: usize, row: &mut [u8]) {
    let (k, pitch) = (expand.b.k, expand.pixel());
    if !k.is_multiple_of(P::K) {
        row.chunks_exact_mut(pitch).for_each(|to| to[pitch - 4..].copy_from_slice(&[0; 4]));
    }
    // SAFETY: the caller's; a packed pixel has room for k activations.
    unsafe {
        let from = expand.a.0.as_ptr().add(expand.a.1.at(y, 0));
        pack_pixels::<S, P>((from, expand.a.1.pixel), (row.as_mut_ptr(), pitch), k, expand.size.1);
    }
}

/// Both layers on their way over a picture.
struct Both<'a> {
    expand: &'a Expand<'a>,
    packed: &'a [u8],
    finish: Finish<'a>,
    /// The output's pixels, and its columns.
    at: Pixels,
    width: usize,
    sums: Option<Shared<u32>>,
}

impl Both<'_> {
    /// Row `y` of the expansion.
    ///
    /// # Safety
    /// Row y must exist in the packed input, and the panels of the channels in b.
    unsafe fn fill_row<S: Simd, P: Step<S>>(&self, row: &mut [f32], y: usize, channels: Range<usize>) {
        let Expand { size: (_, count), b, epilogue, .. } = *self.expand;
        let (data, len) = b.panels();
        for (j, ch) in channels.step_by(NR).enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let a = self.packed.as_ptr().add(y * count * self.expand.pixel());
                let panel = data.as_ptr().add(ch / NR * len);
                let sums = Sums { data: row.as_mut_ptr().add(j * NR).cast(), pitch: BLOCK };
                let (from, to) = ((panel.cast(), 0), (sums.data, BLOCK));
                rows::<S, P>(count, a, panel.add(HEADER), b.k.div_ceil(P::K), from, to);
                above_zero::<S>(epilogue, ch, sums, count);
            }
        }
    }

    /// Row `y` of the output from its sums in `out`.
    ///
    /// # Safety
    /// The row must lie in the output and in the sums, and no other task may write these channels of it.
    unsafe fn finish_row<S: Simd>(&self, y: usize, channels: Range<usize>, out: &mut [f32]) {
        let (at, w) = (self.at, self.width);
        for x in (0..w).step_by(FINISH_PIXELS) {
            let places: [Place; FINISH_PIXELS] =
                std::array::from_fn(|i| Place { output: at.at(y, x + i), residual: 0 });
            for (j, ch) in channels.clone().step_by(NR).enumerate() {
                // SAFETY: the caller's.
                unsafe {
                    let sums = Sums { data: out.as_mut_ptr().add(x * BLOCK + j * NR).cast(), pitch: BLOCK };
                    self.finish.run_floats::<S>(ch, sums, &places[..FINISH_PIXELS.min(w - x)]);
                }
            }
        }
        // SAFETY: the caller's; the row is written.
        unsafe { self.finish.sum_row::<S>((y, at, w), channels, self.sums) };
    }
}
