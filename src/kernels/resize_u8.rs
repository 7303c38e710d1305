//! Pictures to a network's input: 8-bit RGBA resized and normalised, [h, w, 3] of f32, in one pass over the output.
//!
//! out = resized(rgba) * scale + shift, a channel a lane. [`bilinear`] is torch.nn.functional.interpolate(mode="bilinear",
//! align_corners=False); [`antialias`] is the same with antialias=True on 8 bits, which TorchVision's presets use: the triangle filter
//! widened by the scale, first along rows, then along columns, each rounded to 8 bits. Its arithmetic is torch's, in whole numbers with
//! weights of 15 bits (UpSampleKernelAVXAntialias.h): in f32 one value in some hundred is off by one, which moves class maps.
//!
//! No multiplication is fused with an addition, so that every build gives a network the same bits.

use super::resize_f32::source;
use super::{Pixels, Shared};
use crate::image::Image;
use crate::parallel;
use crate::simd::Simd;

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

/// What to resize into.
pub struct Target<'a> {
    /// Rows and columns.
    pub size: (usize, usize),
    /// How values become the network's.
    pub normalise: Normalise,
    /// [h, w, 3].
    pub out: (&'a mut [f32], Pixels),
}

impl Target<'_> {
    fn check(&self) {
        let (h, w) = self.size;
        assert!(self.out.1.end(h, w, 3) <= self.out.0.len(), "out is too short");
        assert_eq!(self.out.1.pixel, 3, "three channels a pixel");
    }
}

/// Writes pixels of one row from left to right; a vector's fourth lane falls on the next pixel, but for the last.
struct RowWriter<S: Simd> {
    to: *mut f32,
    left: usize,
    scale: S::F32,
    shift: S::F32,
}

impl<S: Simd> RowWriter<S> {
    /// # Safety
    /// `to` must be valid for 3 * width floats.
    unsafe fn new(to: *mut f32, width: usize, n: &Normalise) -> Self {
        // SAFETY: arrays of four.
        let (scale, shift) = unsafe { (S::load(n.scale.as_ptr()), S::load(n.shift.as_ptr())) };
        RowWriter { to, left: width, scale, shift }
    }

    /// # Safety
    /// At most `width` calls.
    #[inline(always)]
    unsafe fn push(&mut self, v: S::F32) {
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

/// Numbers of room that [`bilinear`] needs for a picture of `width` columns: the places and weights of each.
pub fn bilinear_room(width: usize) -> usize {
    3 * width
}

/// Bilinear, no antialias, half-pixel centres; `room` holds [`bilinear_room`] numbers.
///
/// # Panics
/// When `target.out` or `room` is too short.
pub fn bilinear<S: Simd>(image: Image, mut target: Target, room: &mut [u32]) {
    target.check();
    let (h, w) = target.size;
    if (image.height, image.width) == target.size {
        return same_size::<S>(image, Crop::whole(target.size), target);
    }
    let columns = &mut room.as_chunks_mut::<3>().0[..w];
    for (x, column) in columns.iter_mut().enumerate() {
        let (left, right, fx) = source(x, image.width, w);
        *column = [left as u32, right as u32, fx.to_bits()];
    }
    let columns = &*columns;
    let (out, at) = (Shared(std::mem::take(&mut target.out.0).as_mut_ptr()), target.out.1);
    let lerp = |a, b, f| S::add(S::mul(S::sub(b, a), f), a);
    parallel::for_each(h, 3 * w * parallel::ELEMENT, |y| {
        let (top, bottom, fy) = source(y, image.height, h);
        let (top, bottom, fy) = (image.row(top), image.row(bottom), S::splat(fy));
        // SAFETY: source() gives columns of the picture, 4 bytes each; each task writes one row of out, of w pixels.
        unsafe {
            let mut writer = RowWriter::<S>::new(out.at(at.at(y, 0)), w, &target.normalise);
            for [left, right, fx] in columns {
                let fx = S::splat(f32::from_bits(*fx));
                let pixel = |row: &[u8], x: &u32| S::load_u8(row.as_ptr().add(4 * *x as usize));
                let upper = lerp(pixel(top, left), pixel(top, right), fx);
                let lower = lerp(pixel(bottom, left), pixel(bottom, right), fx);
                writer.push(lerp(upper, lower, fy));
            }
        }
    });
}

/// One axis of an antialiased resize.
struct Axis {
    from: usize,
    scale: f64,
    /// Half the filter's width.
    support: f64,
}

impl Axis {
    fn new(from: usize, to: usize) -> Axis {
        let scale = from as f64 / to as f64;
        Axis { from, scale, support: scale.max(1.0) }
    }

    /// Most source pixels of an output pixel.
    fn taps(&self) -> usize {
        2 * self.support.ceil() as usize + 1
    }

    /// The source pixels of output pixel `i`: the first, and how many.
    fn window(&self, i: usize) -> (usize, usize) {
        let center = (i as f64 + 0.5) * self.scale;
        let first = (center - self.support + 0.5).max(0.0) as usize;
        let end = ((center + self.support + 0.5) as usize).min(self.from);
        (first, end - first)
    }

    /// The triangle round output pixel `i` at its source pixels, and their sum.
    fn triangle(&self, i: usize) -> (impl Iterator<Item = f64>, f64) {
        let (first, count) = self.window(i);
        let (center, support) = ((i as f64 + 0.5) * self.scale, self.support);
        let at = move |j: usize| (1.0 - (((first + j) as f64 - center + 0.5) / support).abs()).max(0.0);
        ((0..count).map(at), (0..count).map(at).sum())
    }

    /// Numbers of an output pixel in a table: its first source pixel, how many there are, and their weights, two in a number.
    fn entry(&self) -> usize {
        2 + self.taps().div_ceil(2)
    }

    /// Writes the entries of the outputs from `corner` on, of `to`, as many as `table` holds, the weights as whole numbers of 2^-bits, and
    /// returns bits: as many as keep the largest weight of all outputs below 2^15.
    fn weigh(&self, to: usize, corner: usize, table: &mut [i32]) -> u32 {
        let largest = (0..to).flat_map(|i| {
            let (values, sum) = self.triangle(i);
            values.map(move |v| v / sum)
        });
        let largest = largest.fold(0.0, f64::max);
        let fits = |bits: u32| largest * f64::from(1 << bits) + 0.5 < f64::from(1 << 15);
        let bits = (0..22).find(|bits| !fits(bits + 1)).unwrap_or(22);
        for (i, entry) in (corner..).zip(table.chunks_exact_mut(self.entry())) {
            let ((first, count), (values, sum)) = (self.window(i), self.triangle(i));
            (entry[0], entry[1]) = (first as i32, count as i32);
            let weights: &mut [i16] = bytemuck::cast_slice_mut(&mut entry[2..]);
            for (weight, v) in weights.iter_mut().zip(values) {
                *weight = (v / sum * f64::from(1 << bits) + 0.5) as i16;
            }
        }
        bits
    }
}

/// Output rows that one task reduces.
const BAND_ROWS: usize = 32;

/// An entry of [`Axis::weigh`]'s table.
fn window(entry: &[i32]) -> (usize, &[i16]) {
    (entry[0] as usize, &bytemuck::cast_slice(&entry[2..])[..entry[1] as usize])
}

/// Numbers of room that [`antialias`] needs for `size` pixels of a picture of `from` made `to`, all [h, w].
pub fn antialias_room(from: (usize, usize), to: (usize, usize), size: (usize, usize)) -> usize {
    let (rows, columns) = (Axis::new(from.0, to.0), Axis::new(from.1, to.1));
    // A band's source rows, and the sums of an output row.
    let band = (rows.taps() + 1) * 4 * size.1;
    rows.entry() * size.0 + columns.entry() * size.1 + band * size.0.div_ceil(BAND_ROWS)
}

/// What `crop` keeps of a picture that has its size already, normalised.
fn same_size<S: Simd>(image: Image, crop: Crop, mut target: Target) {
    let (h, w) = target.size;
    let (out, at) = (Shared(std::mem::take(&mut target.out.0).as_mut_ptr()), target.out.1);
    parallel::for_each(h, 3 * w * parallel::ELEMENT, |y| {
        let row = &image.row(crop.corner.0 + y)[4 * crop.corner.1..];
        // SAFETY: each task writes one row of out, of w pixels, as check() asserts, and reads as many of 4 bytes.
        unsafe {
            let mut writer = RowWriter::<S>::new(out.at(at.at(y, 0)), w, &target.normalise);
            row.chunks_exact(4).take(w).for_each(|pixel| writer.push(S::load_u8(pixel.as_ptr())));
        }
    });
}

/// Bilinear with antialias, as torch reduces 8-bit pictures, of which `crop` is made; `room` holds [`antialias_room`] numbers.
///
/// # Panics
/// When `target.out` or `room` is too short, or the crop too small.
pub fn antialias<S: Simd>(image: Image, crop: Crop, mut target: Target, room: &mut [i32]) {
    target.check();
    let ((h, w), (top, left)) = (target.size, crop.corner);
    assert!(top + h <= crop.of.0 && left + w <= crop.of.1, "the crop is of the picture");
    assert!(room.len() >= antialias_room((image.height, image.width), crop.of, target.size), "room is too small");
    if (image.height, image.width) == crop.of {
        return same_size::<S>(image, crop, target);
    }
    let (rows, columns) = (Axis::new(image.height, crop.of.0), Axis::new(image.width, crop.of.1));
    let (row_table, room) = room.split_at_mut(rows.entry() * h);
    let (column_table, bands) = room.split_at_mut(columns.entry() * w);
    let (row_bits, column_bits) = (rows.weigh(crop.of.0, top, row_table), columns.weigh(crop.of.1, left, column_table));
    let (out, at) = (Shared(std::mem::take(&mut target.out.0).as_mut_ptr()), target.out.1);
    let (row_table, column_table, slots, pitch) = (&*row_table, &*column_table, rows.taps(), 4 * w);
    let band = (slots + 1) * pitch;
    let bands = &mut bands[..band * h.div_ceil(BAND_ROWS)];
    // A band keeps the source rows that its window spans, reduced, each in the slot of its number.
    let cost = 4 * image.width * image.height / crop.of.0.div_ceil(BAND_ROWS) * parallel::ELEMENT;
    parallel::for_each_chunk(bands, band, cost, |band, room| {
        let (ring, sums) = room.split_at_mut(slots * pitch);
        let mut done = 0;
        for y in band * BAND_ROWS..h.min((band + 1) * BAND_ROWS) {
            let (first, weights) = window(&row_table[y * rows.entry()..][..rows.entry()]);
            let end = first + weights.len();
            for source in done.max(first)..end {
                let slot = &mut ring[source % slots * pitch..][..pitch];
                shrink_row::<S>(image.row(source), columns.entry(), column_table, column_bits, slot);
            }
            done = end;
            sums.fill(1 << (row_bits - 1));
            for (source, weight) in (first..end).zip(weights) {
                let weight = i32::from(*weight);
                let row = &ring[source % slots * pitch..][..pitch];
                sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v * weight);
            }
            // SAFETY: out has w pixels of 3 floats at row y, which is this task's, as check() asserts; the array has four.
            unsafe {
                let mut writer = RowWriter::<S>::new(out.at(at.at(y, 0)), w, &target.normalise);
                for sum in sums.as_chunks::<4>().0 {
                    let pixel = to_byte(*sum, row_bits).map(|v| v as f32);
                    writer.push(S::load(pixel.as_ptr()));
                }
            }
        }
    });
}

/// A row of RGBA reduced along itself, [w, 4], 0 to 255, by a table of entries of `len` numbers.
fn shrink_row<S: Simd>(row: &[u8], len: usize, table: &[i32], bits: u32, out: &mut [i32]) {
    for (out, entry) in out.as_chunks_mut::<4>().0.iter_mut().zip(table.chunks_exact(len)) {
        let (first, weights) = window(entry);
        let pixels = &row.as_chunks::<4>().0[first..][..weights.len()];
        // Two at once where a third follows, which is read with the second.
        let pairs = weights.len().saturating_sub(1) / 2;
        let (mut acc, mut sum) = (S::splat_i32(1 << (bits - 1)), [0; 4]);
        for pair in 0..pairs {
            // SAFETY: pixels 2 pair to 2 pair + 2 are there, of four bytes each, and as many weights.
            unsafe {
                let p = pixels.as_ptr().add(2 * pair).cast::<u8>();
                let channels = S::interleave(S::load_u8x8(p), S::load_u8x8(p.add(4)))[0];
                let weights = S::load_pair_splat(weights.as_ptr().add(2 * pair).cast());
                acc = S::dot_add(channels, weights, acc);
            }
        }
        // SAFETY: an array of four.
        unsafe { S::store_i32(sum.as_mut_ptr(), acc) };
        for (pixel, weight) in pixels[2 * pairs..].iter().zip(&weights[2 * pairs..]) {
            sum = std::array::from_fn(|c| sum[c] + i32::from(pixel[c]) * i32::from(*weight));
        }
        *out = to_byte(sum, bits);
    }
}

/// Sums in 2^-bits, half of one added, to whole numbers of 0 to 255; four lanes, which the compiler makes a vector.
#[inline(always)]
fn to_byte(sum: [i32; 4], bits: u32) -> [i32; 4] {
    sum.map(|v| (v >> bits).clamp(0, 255))
}
