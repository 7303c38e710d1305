//! Pictures resized with antialias, as TorchVision's presets do: torch.nn.functional.interpolate(mode="bilinear", antialias=True) on 8 bits.
//!
//! The triangle filter is widened by the scale, first along rows, then along columns, each rounded to 8 bits. The arithmetic is torch's, in whole
//! numbers with weights of 15 bits (UpSampleKernelAVXAntialias.h): in f32 one value in some hundred is off by one, which moves class maps.
//!
//! A strip of the picture's rows is reduced along itself into a ring, and the rows of output that the ring has all of are made. Both passes
//! multiply by pairs, the first and the third of four pixels or rows, and the second and the fourth: bytes of a row are made so in fewer
//! instructions than neighbours.

use super::Shared;
use super::resize_u8::{Crop, Target, same_size};
use super::strips::{Strips, strip_rows};
use crate::image::Image;
use crate::parallel;
use crate::simd::{Simd, TOPS};
use std::ops::Range;

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

    /// Gives `each` the weight of every source pixel of output pixel `i`, the triangle round it, which sum up to one.
    #[inline(never)]
    fn weigh(&self, i: usize, each: &mut dyn FnMut(f64)) {
        let (first, count) = self.window(i);
        let (center, support) = ((i as f64 + 0.5) * self.scale, self.support);
        let triangle = |j: usize| (1.0 - (((first + j) as f64 - center + 0.5) / support).abs()).max(0.0);
        let sum: f64 = (0..count).map(triangle).sum();
        (0..count).for_each(|j| each(triangle(j) / sum));
    }

    /// Numbers of an output pixel in a table: its first source pixel, how many there are, and their weights, two in a number, four at a time.
    fn entry(&self) -> usize {
        2 + self.taps().next_multiple_of(QUAD) / 2
    }

    /// The most bits of a weight's fraction with which the largest weight of all `to` outputs is below 2^15.
    fn bits(&self, to: usize) -> u32 {
        let mut largest = 0.0;
        (0..to).for_each(|i| self.weigh(i, &mut |weight| largest = weight.max(largest)));
        let fits = |bits: u32| largest * f64::from(1 << bits) + 0.5 < f64::from(1 << 15);
        (0..22).find(|bits| !fits(bits + 1)).unwrap_or(22)
    }

    /// The table of the outputs from `corner` on, of `to`, made of `entries`, which may be of more.
    fn table<'a>(&self, to: usize, corner: usize, entries: &'a mut [i32]) -> Table<'a> {
        let (bits, entry, mut most) = (self.bits(to), self.entry(), 0);
        entries.fill(0);
        for (i, entry) in (corner..to).zip(entries.chunks_exact_mut(entry)) {
            let ((first, count), mut j) = (self.window(i), 0);
            (entry[0], entry[1], most) = (first as i32, count as i32, most.max(count));
            let weights: &mut [i16] = bytemuck::cast_slice_mut(&mut entry[2..]);
            self.weigh(i, &mut |weight| {
                weights[j / QUAD * QUAD + [0, 2, 1, 3][j % QUAD]] = (weight * f64::from(1 << bits) + 0.5) as i16;
                j += 1;
            });
        }
        Table { entries, entry, quads: most.div_ceil(QUAD), bits }
    }
}

/// Source pixels that are multiplied at once.
const QUAD: usize = 4;

/// What makes each output of an axis. An entry past the last output makes nothing.
#[derive(Clone, Copy)]
struct Table<'a> {
    entries: &'a [i32],
    /// Numbers of an entry.
    entry: usize,
    /// Quads of an entry, which are as many for each so that a CPU foresees where they end; the last ones' weights may be zeros.
    quads: usize,
    /// Weights are whole numbers of 2^-bits.
    bits: u32,
}

impl Table<'_> {
    /// The source pixels of output `i`.
    fn window(&self, i: usize) -> Range<usize> {
        let entry = &self.entries[i * self.entry..];
        entry[0] as usize..(entry[0] + entry[1]) as usize
    }

    /// The first source pixel of `entry`, and its quads.
    #[inline(always)]
    fn quads<'a>(&self, entry: &'a [i32]) -> (usize, &'a [[i32; 2]]) {
        (entry[0] as usize, &entry[2..].as_chunks().0[..self.quads])
    }

    /// `value` as a sum has it, and the half that rounds it.
    fn sum(&self, value: i32) -> i32 {
        (value << self.bits) + (1 << (self.bits - 1))
    }
}

/// Numbers of a row in the ring for `w` pixels of output.
fn ring_pitch(w: usize) -> usize {
    w.next_multiple_of(4)
}

/// Numbers of room that [`antialias`] needs for `size` pixels of a picture of `from` made `to`, all [h, w].
pub fn antialias_room(from: (usize, usize), to: (usize, usize), size: (usize, usize)) -> usize {
    let (rows, columns) = (Axis::new(from.0, to.0), Axis::new(from.1, to.1));
    let strip = strip_rows(from.1, from.0);
    let tables = rows.entry() * size.0 + columns.entry() * size.1.next_multiple_of(2);
    // The last quads of a strip's last row end beyond it.
    let strips = Strips::room(strip * from.1 + columns.taps().next_multiple_of(QUAD));
    tables + Ring::slots(&rows, strip) * ring_pitch(size.1) + strips
}

/// Source rows that are reduced along themselves, RGBA, each in the slot of its number.
struct Ring {
    bytes: Shared<u8>,
    slots: usize,
    /// Bytes of a row.
    pitch: usize,
}

impl Ring {
    /// The slots for the windows of an axis: of outputs that are being made, while a `strip` more is written.
    fn slots(axis: &Axis, strip: usize) -> usize {
        2 * strip + axis.taps()
    }

    /// # Panics
    /// When there is no such slot.
    fn slot(&self, slot: usize) -> *mut u8 {
        assert!(slot < self.slots, "a slot of the ring");
        // SAFETY: as asserted.
        unsafe { self.bytes.at(slot * self.pitch) }
    }
}

/// Bilinear with antialias, as torch reduces 8-bit pictures, of which `crop` is made; `room` holds [`antialias_room`] numbers.
///
/// # Panics
/// When `target.out` or `room` is too short, or the crop too small.
pub fn antialias<S: Simd>(image: Image, crop: Crop, target: Target, room: &mut [i32]) {
    let ((h, w), (top, left)) = (target.size, crop.corner);
    assert!(top + h <= crop.of.0 && left + w <= crop.of.1, "the crop is of the picture");
    assert!(room.len() >= antialias_room((image.height, image.width), crop.of, target.size), "room is too small");
    let (rows, columns) = (Axis::new(image.height, crop.of.0), Axis::new(image.width, crop.of.1));
    let (row_entries, room) = room.split_at_mut(rows.entry() * h);
    let (column_entries, room) = room.split_at_mut(columns.entry() * w.next_multiple_of(2));
    let (strip, pitch) = (strip_rows(image.width, image.height), ring_pitch(w));
    let slots = Ring::slots(&rows, strip);
    let (ring, room) = room.split_at_mut(slots * pitch);
    let mut strips = Strips::new(room);
    if (image.height, image.width) == crop.of {
        return same_size::<S>(image, crop, target, strips);
    }
    let (rows, columns) = (rows.table(crop.of.0, top, row_entries), columns.table(crop.of.1, left, column_entries));
    let ring = &Ring { bytes: Shared(ring.as_mut_ptr().cast()), slots, pitch: 4 * pitch };
    let out = &target.rows();
    let (first, last) = (rows.window(0).start / 2 * 2, rows.window(h - 1).end);
    let part = |start: usize| start.min(last)..last.min(start + strip);
    let (row, cost) = (image.pitch(), (2 * image.width).max(w) * parallel::ELEMENT);
    strips.read(|strip| image.read(part(first), strip));
    let mut done = 0;
    for start in (first..last + strip).step_by(strip) {
        let now = part(start);
        let pairs = now.len().div_ceil(2);
        let ready = (done..h).take_while(|y| rows.window(*y).end <= now.start).count();
        let read = |next: &mut [u8]| image.read(part(start + strip), next);
        strips.for_each(pairs + ready, cost, read, |strip, i| {
            if i < pairs {
                let two = [2 * i, (2 * i + 1).min(now.len() - 1)];
                let (from, to) = (two.map(|i| &strip[i * row..]), two.map(|i| ring.slot((now.start + i) % slots)));
                // SAFETY: the strip has these rows and an entry's weights after its last; the slots are this task's, and have whole pairs.
                return unsafe { shrink_rows::<S>(from, &columns, to) };
            }
            let y = done + i - pairs;
            // SAFETY: row y of out, of w pixels, is this task's; the ring has the window's rows still.
            unsafe { out.write::<S>(y, |run, writer| shrink_columns::<S>(ring, &rows, y, run, |v| writer.push(v))) };
        });
        done += ready;
    }
}

/// Two rows of RGBA reduced along themselves into those of `out`: weights are loaded once for both.
///
/// # Safety
/// `rows` must have the pixels of all quads of the table, and `out` be valid for a pixel for each of its entries, which are even.
unsafe fn shrink_rows<S: Simd>(rows: [&[u8]; 2], table: &Table, out: [*mut u8; 2]) {
    let (start, tops) = (S::splat_i32(table.sum(-128)), S::splat_i32(TOPS));
    let add = |sums: [S::I32; 2], from: usize, quad: &[i32; 2]| {
        let weights = quad.each_ref().map(|two| load_weights::<S>(two));
        let sum = |row: usize| {
            // SAFETY: the caller's.
            let pairs = unsafe { S::load_pixel_pairs(rows[row].as_ptr().add(4 * from)) };
            S::dot_add(pairs[1], weights[1], S::dot_add(pairs[0], weights[0], sums[row]))
        };
        [sum(0), sum(1)]
    };
    for (i, entries) in table.entries.chunks_exact(2 * table.entry).enumerate() {
        let (left, right) = entries.split_at(table.entry);
        let (left, right) = (table.quads(left), table.quads(right));
        let mut sums = [[start; 2]; 2];
        for (i, quads) in left.1.iter().zip(right.1).enumerate() {
            sums = [add(sums[0], left.0 + QUAD * i, quads.0), add(sums[1], right.0 + QUAD * i, quads.1)];
        }
        for (row, out) in out.into_iter().enumerate() {
            let pixels = sums.map(|sums| S::shift_right(sums[row], table.bits));
            // SAFETY: the caller's.
            unsafe { S::store_u8x8(out.add(8 * i), pixels, tops) };
        }
    }
}

/// Two weights, in all four pairs of lanes.
fn load_weights<S: Simd>(two: &i32) -> S::I16 {
    // SAFETY: a number's four bytes.
    unsafe { S::load_pair_splat((&raw const *two).cast()) }
}

/// Gives the pixels `run` of output row `y`, 0 to 255 in each lane, to `push`.
///
/// # Safety
/// `ring` must have the rows of the window.
unsafe fn shrink_columns<S: Simd>(
    ring: &Ring,
    table: &Table,
    y: usize,
    run: Range<usize>,
    mut push: impl FnMut(S::F32),
) {
    let (window, (_, quads)) = (table.window(y), table.quads(&table.entries[y * table.entry..]));
    let (first, last) = (window.start % ring.slots, window.len() - 1);
    for x in run.clone().step_by(4) {
        let mut sums = [S::splat_i32(table.sum(0)); 4];
        for (i, quad) in quads.iter().enumerate() {
            // Weights beyond the window are zeros; the rows there may be another's to write.
            let rows: [_; QUAD] = std::array::from_fn(|j| {
                let slot = first + last.min(QUAD * i + j);
                let row = ring.slot(if slot < ring.slots { slot } else { slot - ring.slots });
                // SAFETY: a slot has whole blocks of four pixels.
                unsafe { [row.add(4 * x), row.add(4 * x + 8)].map(|p| S::load_u8x8(p)) }
            });
            for (i, weights) in quad.iter().enumerate() {
                let weights = load_weights::<S>(weights);
                let pairs = [0, 1].map(|half| S::interleave(rows[i][half], rows[i + 2][half]));
                sums = std::array::from_fn(|i| S::dot_add(pairs[i / 2][i % 2], weights, sums[i]));
            }
        }
        for (_, sum) in (x..run.end).zip(sums) {
            let value = S::to_f32(S::shift_right(sum, table.bits));
            push(S::min(S::max(value, S::splat(0.0)), S::splat(255.0)));
        }
    }
}
