//! [`super::expand_depthwise_f32`] in int8: the same bands and blocks of channels, the same integers as [`super::conv_i8`] and
//! then [`super::depthwise_i8`].
//!
//! ```text
//! the input once in the form that the dot takes, where it is not there as such
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
use super::epilogue_i8::{Finish, FloatMap, Sums, above_zero};
use super::expand_depthwise_f32::Bands;
use super::pack_i8::{HEADER, NR, PackedB};
use super::step_i8::{Pairs, Quads, Step, are_packed, pack_pixels};
use super::values_i8::{Output, Place, ValuesMut, fill_places, holds};
use super::{Pixels, Shared};
use crate::parallel;
use crate::quant::Epilogue;
use crate::simd::{ByteDot, DotKind, Simd};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Pixels whose sums are made values in one go.
const PIXELS: usize = 160;

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
    /// Bytes of the packed input; none where the dot takes it as it is.
    pub fn packed(&self) -> usize {
        if self.is_packed() { 0 } else { self.size.0 * self.size.1 * self.pixel() }
    }

    fn is_packed(&self) -> bool {
        are_packed(self.b.kind, self.b.k, self.a.1, self.size.1)
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
    let packed = if expand.is_packed() { &expand.a.0[expand.a.1.start..] } else { packed };
    let (output, sums) = (x.c.0.shared(), x.row_sums.take().map(|s| Shared(s.as_mut_ptr())));
    assert!(sums.is_none() || matches!(output, Output::U8(_)), "row sums are of bytes");
    let finish = Finish { epilogue: x.epilogue, channels, residual: None, output };
    let both = Both { expand: &expand, packed, finish, at: x.c.1, width: w, sums };
    parallel::for_each_with(bands.tasks(channels), bands.cost(expand.b.k, &filter), room, |task, room| {
        let (rows, channels) = bands.task(task, channels);
        let (out, scratch) = room.split_at_mut(bands.rows() * w * BLOCK);
        for band in bands.of(rows.clone()) {
            let seen = bands.frame(&band, band.start > rows.start, scratch);
            let row = &mut scratch[bands.row(&band, seen.start)..];
            // SAFETY: the packed input has every row of the picture, b every panel, and scratch the rows that the band sees.
            unsafe { both.fill::<S, P>(seen, channels.clone(), (row.as_mut_ptr(), bands.pitch())) };
            let a = bands.block(&band, channels.start, scratch);
            // Channel 0 of row 0: before the sums, which begin with the band's rows and the block's channels.
            let at = Pixels { start: 0, row: w * BLOCK, pixel: BLOCK };
            let c = Shared(out.as_mut_ptr().wrapping_sub(at.at(band.start, 0) + channels.start));
            let job = Job { filter, width: w, a, c: (c, at), sums: None };
            // SAFETY: the scratch holds all rows that the band sees, and their sums; tasks differ in rows or in channels.
            unsafe { job.rows::<S>(band.clone(), channels.clone()) };
            // SAFETY: as above.
            unsafe { both.write::<S>(band, channels.clone(), out.as_mut_ptr()) };
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
    /// Some channels of the rows `seen` of the expansion, to a pointer and a pitch. Pixels go on from row to row: seven columns would be tiles of
    /// four and three.
    ///
    /// # Safety
    /// The rows must exist in the packed input, the panels of the channels in b, and room for the rows at `to`.
    unsafe fn fill<S: Simd, P: Step<S>>(&self, seen: Range<usize>, channels: Range<usize>, to: (*mut f32, usize)) {
        let Expand { size: (_, width), b, epilogue, .. } = *self.expand;
        let ((data, len), count) = (b.panels(), seen.len() * width);
        let parts = count.div_ceil(PIXELS);
        let mut sums = [const { MaybeUninit::<i32>::uninit() }; PIXELS * NR];
        let sums = sums.as_mut_ptr().cast::<i32>();
        for (j, ch) in channels.step_by(NR).enumerate() {
            let map = FloatMap { to: to.0.wrapping_add(j * NR), pitch: to.1, width };
            for part in 0..parts {
                // Of equal size: a short last part would have short tiles.
                let pixels = parallel::part(count, parts, part);
                // SAFETY: the caller's; a part is no more than the sums have room for.
                unsafe {
                    let a = self.packed.as_ptr().add((seen.start * width + pixels.start) * self.expand.pixel());
                    let panel = data.as_ptr().add(ch / NR * len);
                    let (b, steps) = (panel.add(HEADER), b.k.div_ceil(P::K));
                    rows::<S, P>(pixels.len(), a, b, steps, (panel.cast(), 0), (sums, NR));
                    above_zero::<S>(epilogue, ch, sums, pixels, map);
                }
            }
        }
    }

    /// Some channels of the output's `rows` from their sums in `out`, [`BLOCK`] a pixel.
    ///
    /// # Safety
    /// The rows must lie in the output and in the sums, and no other task may write these channels of them.
    unsafe fn write<S: Simd>(&self, rows: Range<usize>, channels: Range<usize>, out: *mut f32) {
        let (at, width, count) = (self.at, self.width, rows.len() * self.width);
        let mut places = [Place::default(); PIXELS];
        for first in (0..count).step_by(PIXELS) {
            let pixels = first..count.min(first + PIXELS);
            let places = &mut places[..pixels.len()];
            fill_places(places, width, pixels, at.below(rows.start), Pixels::NOWHERE);
            for (j, ch) in channels.clone().step_by(NR).enumerate() {
                // SAFETY: the caller's.
                unsafe {
                    let sums = Sums { data: out.add(first * BLOCK + j * NR).cast(), pitch: BLOCK };
                    self.finish.run_floats::<S>(ch, sums, places);
                }
            }
        }
        for y in rows {
            // SAFETY: the caller's; the row is written.
            unsafe { self.finish.sum_row::<S>((y, at, width), channels.clone(), self.sums) };
        }
    }
}
