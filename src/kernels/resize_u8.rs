//! Pictures to a network's input: 8-bit RGBA resized and normalised, [h, w, 3] of f32 or of bytes quantised, in one pass over the output.
//!
//! out = resized(rgba) * scale + shift, a channel a lane. [`bilinear`] is torch.nn.functional.interpolate(mode="bilinear",
//! align_corners=False); [`super::antialias_u8`] has the same with antialias=True. A picture may lie outside the engine's memory, and may be
//! large: the rows that the output needs are read in strips, by the caller's thread, which alone may see it.
//!
//! No multiplication is fused with an addition, so that every build gives a network the same bits.

use super::elementwise_i8::Affine;
use super::resize_f32::source;
use super::strips::{Strips, strip_rows};
use super::{Pixels, Shared};
use crate::image::Image;
use crate::parallel;
use crate::simd::Simd;
use std::mem::MaybeUninit;
use std::ops::Range;

/// value * scale + shift of each channel; the fourth is of no use.
#[derive(Clone, Copy, Debug)]
pub struct Normalise {
    /// 1 / (255 * std).
    pub scale: [f32; 4],
    /// -mean / std.
    pub shift: [f32; 4],
}

impl Normalise {
    /// (value / 255 - mean) / std.
    pub fn new(mean: [f32; 3], std: [f32; 3]) -> Self {
        let lane = |f: &dyn Fn(usize) -> f32| std::array::from_fn(|c| if c < 3 { f(c) } else { 0.0 });
        Normalise { scale: lane(&|c| 1.0 / (255.0 * std[c])), shift: lane(&|c| -mean[c] / std[c]) }
    }
}

/// What is kept of a resized picture.
#[derive(Clone, Copy, Debug)]
pub struct Crop {
    /// Rows and columns of the whole.
    pub of: (usize, usize),
    /// The row and the column of it that come first.
    pub corner: (usize, usize),
}

impl Crop {
    /// All of a picture of `size`.
    pub fn whole(size: (usize, usize)) -> Crop {
        Crop { of: size, corner: (0, 0) }
    }
}

/// Where a network's input goes, [h, w, 3].
pub enum Out<'a> {
    /// Values.
    F32(&'a mut [f32]),
    /// Values quantised.
    U8(&'a mut [u8], &'a Affine),
}

/// What to resize into.
pub struct Target<'a> {
    /// Rows and columns.
    pub size: (usize, usize),
    /// How values become the network's.
    pub normalise: Normalise,
    /// [h, w, 3].
    pub out: (Out<'a>, Pixels),
}

impl<'a> Target<'a> {
    /// Its rows, for tasks that each write some.
    ///
    /// # Panics
    /// When it is too short.
    pub(super) fn rows(self) -> Rows<'a> {
        let Target { size: (h, width), normalise, out: (out, at) } = self;
        let (len, to) = match out {
            Out::F32(out) => (out.len(), To::F32(Shared(out.as_mut_ptr()))),
            Out::U8(out, affine) => {
                affine.check(3);
                (out.len(), To::U8(Shared(out.as_mut_ptr()), affine))
            }
        };
        assert!(at.end(h, width, 3) <= len, "out is too short");
        assert_eq!(at.pixel, 3, "three channels a pixel");
        Rows { to, at, width, normalise }
    }
}

#[derive(Clone, Copy)]
enum To<'a> {
    F32(Shared<f32>),
    U8(Shared<u8>, &'a Affine),
}

/// The rows of a [`Target`].
pub(super) struct Rows<'a> {
    to: To<'a>,
    at: Pixels,
    width: usize,
    normalise: Normalise,
}

impl Rows<'_> {
    /// Has `write` write the pixels of row `y`, a run after the other.
    ///
    /// # Safety
    /// The row must exist, and be nobody else's to write; `write` pushes as many pixels as the run has.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd>(&self, y: usize, write: impl Fn(Range<usize>, &mut RowWriter<S>)) {
        let (start, mut floats) = (self.at.at(y, 0), MaybeUninit::<[f32; 3 * RUN]>::uninit());
        let most = if matches!(self.to, To::F32(_)) { self.width } else { RUN };
        for first in (0..self.width).step_by(most.max(1)) {
            let run = first..self.width.min(first + most);
            let (values, at) = (3 * run.len(), start + 3 * first);
            // SAFETY: the run is of the row, or as long as there are floats for, all of which are written.
            unsafe {
                let to = match self.to {
                    To::F32(out) => out.at(at),
                    To::U8(..) => floats.as_mut_ptr().cast(),
                };
                write(run.clone(), &mut RowWriter::new(to, run.len(), &self.normalise));
                if let To::U8(out, affine) = self.to {
                    affine.quantise_row::<S>(std::slice::from_raw_parts(to, values), out.at(at));
                }
            }
        }
    }
}

/// Pixels that are floats before they are quantised: few enough for the first-level cache, and whole vectors.
const RUN: usize = 64;

/// Writes pixels of one row from left to right; a vector's fourth lane falls on the next pixel, but for the last.
pub(super) struct RowWriter<S: Simd> {
    to: *mut f32,
    left: usize,
    scale: S::F32,
    shift: S::F32,
}

impl<S: Simd> RowWriter<S> {
    /// # Safety
    /// `to` must be valid for 3 * width floats.
    #[inline(always)]
    unsafe fn new(to: *mut f32, width: usize, n: &Normalise) -> Self {
        // SAFETY: arrays of four.
        let (scale, shift) = unsafe { (S::load(n.scale.as_ptr()), S::load(n.shift.as_ptr())) };
        RowWriter { to, left: width, scale, shift }
    }

    /// # Safety
    /// At most `width` calls.
    #[inline(always)]
    pub(super) unsafe fn push(&mut self, v: S::F32) {
        let v = S::add(S::mul(v, self.scale), self.shift);
        self.left -= 1;
        // SAFETY: the caller's; the last pixel writes its three floats only.
        unsafe {
            if self.left > 0 {
                S::store(self.to, v);
            } else {
                let mut copy = [0.0; 4];
                S::store(copy.as_mut_ptr(), v);
                std::ptr::copy_nonoverlapping(copy.as_ptr(), self.to, 3);
            }
            self.to = self.to.add(3);
        }
    }
}

/// Numbers of room that [`bilinear`] needs for `to` of a picture of `from`, both [h, w]: the places and weights of each column, and a strip, with a
/// row before it.
pub fn bilinear_room(from: (usize, usize), to: (usize, usize)) -> usize {
    3 * to.1 + Strips::room((strip_rows(from.1, 2 * to.0) + 1) * from.1)
}

/// Bilinear, no antialias, half-pixel centres; `room` holds [`bilinear_room`] numbers.
///
/// # Panics
/// When `target.out` or `room` is too short.
pub fn bilinear<S: Simd>(image: Image, target: Target, room: &mut [u32]) {
    let (h, w) = target.size;
    let (columns, room) = room.split_at_mut(3 * w);
    let mut strips = Strips::new(room);
    if (image.height, image.width) == target.size {
        return same_size::<S>(image, Crop::whole(target.size), target, strips);
    }
    let (columns, width) = (columns.as_chunks_mut::<3>().0, image.width);
    let axis = Axis { from: width, to: w };
    for (x, column) in columns.iter_mut().enumerate() {
        let (left, right, fx) = axis.source(x);
        *column = [left as u32, right as u32, fx.to_bits()];
    }
    let columns = &*columns;
    let out = &target.rows();
    let lerp = |a, b, f| S::add(S::mul(S::sub(b, a), f), a);
    let rows = Axis { from: image.height, to: h };
    let outputs = strip_rows(width, 2 * h) / 2;
    let part = |start: usize| start.min(h)..h.min(start + outputs);
    strips.read(|strip| rows.read(&image, part(0), strip));
    for start in (0..h).step_by(outputs) {
        let read = |strip: &mut [u8]| rows.read(&image, part(start + outputs), strip);
        strips.for_each(part(start).len(), 3 * w * parallel::ELEMENT, read, |strip, i| {
            let ([top, bottom], fy) = rows.places(start, start + i);
            let [top, bottom] = [top, bottom].map(|row| &strip[row * 4 * width..][..4 * width]);
            let (y, fy) = (start + i, S::splat(fy));
            // SAFETY: source() gives columns of the picture, 4 bytes each; each task writes one row of out, of w pixels.
            unsafe {
                out.write::<S>(y, |run, writer| {
                    for [left, right, fx] in &columns[run] {
                        let fx = S::splat(f32::from_bits(*fx));
                        let pixel = |row: &[u8], x: &u32| S::load_u8(row.as_ptr().add(4 * *x as usize));
                        let upper = lerp(pixel(top, left), pixel(top, right), fx);
                        let lower = lerp(pixel(bottom, left), pixel(bottom, right), fx);
                        writer.push(lerp(upper, lower, fy));
                    }
                });
            }
        });
    }
}

/// One axis of a resize. Of rows, a strip has at most two for each of the output's.
#[derive(Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
}

impl Axis {
    /// What output `i` lies between, and the weight of the second.
    #[inline(never)]
    fn source(&self, i: usize) -> (usize, usize, f32) {
        source(i, self.from, self.to)
    }

    /// Whether all rows are read; where many lie between those that are needed, the two of each output are.
    fn dense(&self) -> bool {
        self.from <= 2 * self.to
    }

    /// The first row of a dense strip whose outputs begin at `start`.
    fn first(&self, start: usize) -> usize {
        self.source(start).0 / 2 * 2
    }

    /// Reads what the `outputs` need into `strip`.
    fn read(&self, image: &Image, outputs: Range<usize>, strip: &mut [u8]) {
        if outputs.is_empty() {
            return;
        }
        if self.dense() {
            return image.read(self.first(outputs.start)..self.source(outputs.end - 1).1 + 1, strip);
        }
        for (y, two) in outputs.zip(strip.chunks_exact_mut(2 * image.pitch())) {
            let (top, bottom, _) = self.source(y);
            image.read(top..bottom + 1, two);
        }
    }

    /// The rows of the strip whose outputs begin at `start` for output `y`, and the weight of the second.
    fn places(&self, start: usize, y: usize) -> ([usize; 2], f32) {
        let (top, bottom, fy) = self.source(y);
        let first = if self.dense() { top - self.first(start) } else { 2 * (y - start) };
        ([first, first + bottom - top], fy)
    }
}

/// What `crop` keeps of a picture that has its size already, normalised; each of the `strips` holds [`strip_rows`] of it.
pub(super) fn same_size<S: Simd>(image: Image, crop: Crop, target: Target, mut strips: Strips) {
    let (h, w) = target.size;
    let out = &target.rows();
    let (pitch, rows) = (image.pitch(), strip_rows(image.width, h));
    let part = |start: usize| crop.corner.0 + start.min(h)..crop.corner.0 + h.min(start + rows);
    strips.read(|strip| image.read(part(0), strip));
    for start in (0..h).step_by(rows) {
        let read = |strip: &mut [u8]| image.read(part(start + rows), strip);
        strips.for_each(part(start).len(), 3 * w * parallel::ELEMENT, read, |strip, i| {
            let row = &strip[i * pitch + 4 * crop.corner.1..][..4 * w];
            // SAFETY: each task writes one row of out, of w pixels, and reads as many of 4 bytes.
            unsafe {
                out.write::<S>(start + i, |run, writer| {
                    let pixels = row[4 * run.start..4 * run.end].chunks_exact(4);
                    pixels.for_each(|pixel| writer.push(S::load_u8(pixel.as_ptr())));
                });
            }
        });
    }
}
