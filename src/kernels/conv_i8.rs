//! Dense convolution and linear layers in int8, as one GEMM over taps like [`super::conv_f32`]:
//! acc[m, n] = sum over taps t and k of wq[n, t, k] * (q[pixel(m) + taps[t] + k] - zp); [`Epilogue`] makes the output of it.
//!
//! ```text
//! for block of up to 80 pixels, and group of up to 16 panels        (a task)
//!     for chunk of up to 512 steps of k, more where the block has fewer pixels
//!         a = the pixels' taps, one after the other, in the form that the dot takes, where they are not there as such
//!         for panel of 8 columns
//!             for tile of 5 pixels: acc = start or acc; for step: acc += a[., step] . b[step, .]
//!             after the last chunk the epilogue of the panel
//! ```
//! A step is four bytes of a packed row, either way: two activations widened to i16 with two weights a column
//! (`i32x4.dot_i16x8_s`, exact on every CPU), or four bytes with four weights a column (the relaxed dot, where it is exact).
//! Sums wait in i32 on the stack between chunks and for the epilogue.
//!
//! Weights come from memory once a block, and wait for it anew at each panel of each chunk: half the blocks and chunks (40 pixels, 256
//! steps before) make fc6 and fc7 of Faster R-CNN 6 % faster by quads and 4 % by pairs, in Chromium on Zen 5 (November 2026).
//!
//! In Chromium on Zen 3 (2026), 1x1 layers of LR-ASPP: 31 to 36 GMAC/s, 81 % to 93 % of the tile alone (38.6), from k = 160 on;
//! at k = 24 the epilogue takes more than half. Weights stay i8 in memory, since widening them in the loop costs nothing there.

use super::Pixels;
use super::epilogue_i8::{Finish, Sums};
use super::pack_i8::{HEADER, NR, PackedB};
use super::step_i8::{Pairs, Quads, Step, are_packed, pack_pixels};
use super::values_i8::{Place, Values, ValuesMut, fill_places, holds, row_runs};
use crate::parallel;
use crate::quant::Epilogue;
use crate::simd::{ByteDot, DotKind, Simd};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Pixels of a tile: ten accumulators, two vectors of b, one splat of a and the product are 14 of V8's 15 registers.
const MR: usize = 5;
const BLOCK_ROWS: usize = 16 * MR;
const GROUP_PANELS: usize = 16;
const CHUNK_STEPS: usize = 512;
/// Tasks a thread from which on it does not matter that one has a task more than another.
const FEW_TASKS: usize = 8;

/// What to compute; see the file's page.
pub struct Conv<'a> {
    /// Output rows and columns.
    pub size: (usize, usize),
    /// The input, and where the first tap of output pixel (y, x) lies.
    pub a: (&'a [u8], Pixels),
    /// Offsets of the taps.
    pub taps: &'a [usize],
    /// Bytes of a tap.
    pub segment: usize,
    /// The weights, packed for the dot that is to run.
    pub b: &'a PackedB,
    /// From sums to outputs.
    pub epilogue: &'a Epilogue,
    /// Added after the activation.
    pub residual: Option<(Values<'a>, Pixels)>,
    /// The output: bytes with the epilogue's parameters, or floats.
    pub c: (ValuesMut<'a>, Pixels),
}

/// Some of the weights' taps, for pixels that see no others: a tap is a whole number of steps.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// The number of each of [`Conv::taps`] among all.
    pub taps: &'a [usize],
    /// What sums start at, [n] in eights.
    pub starts: &'a [i32],
}

/// A task's packed rows and sums. Not cleared: clearing would take as long as a small layer's multiplications.
struct Scratch {
    a: [MaybeUninit<u8>; BLOCK_ROWS * CHUNK_STEPS * 4],
    acc: [MaybeUninit<i32>; BLOCK_ROWS * GROUP_PANELS * NR],
}

struct Job<'a> {
    conv: &'a Conv<'a>,
    part: Option<Part<'a>>,
    finish: Finish<'a>,
}

/// A task's share, and the chunk that it is at.
#[derive(Clone, Copy)]
struct Block {
    first: usize,
    rows: usize,
    first_panel: usize,
    panels: usize,
    first_step: usize,
    steps: usize,
    /// The step of the weights that `first_step` multiplies.
    weight_step: usize,
}

impl Block {
    fn pixels(&self) -> Range<usize> {
        self.first..self.first + self.rows
    }
}

/// Runs `conv` with the words of `S` and its own dot of bytes.
///
/// # Panics
/// When a slice is too short for the pixels that it is said to hold.
pub fn conv_i8<S: Simd>(conv: Conv) {
    conv_i8_with::<S, S::Dot>(conv);
}

/// [`conv_i8`] with another dot of bytes, which must be what the weights are packed for.
///
/// # Panics
/// As for [`conv_i8`].
pub fn conv_i8_with<S: Simd, D: ByteDot<S>>(conv: Conv) {
    conv_i8_part::<S, D>(conv, None);
}

/// [`conv_i8_with`] of some of the taps.
pub(super) fn conv_i8_part<S: Simd, D: ByteDot<S>>(conv: Conv, part: Option<Part>) {
    match conv.b.kind {
        DotKind::I16 => run::<S, Pairs>(conv, part),
        DotKind::I8Unsigned => run::<S, Quads<D, false>>(conv, part),
        DotKind::I8Signed => run::<S, Quads<D, true>>(conv, part),
    }
}

fn run<S: Simd, P: Step<S>>(mut conv: Conv, part: Option<Part>) {
    let (h, w) = conv.size;
    let (m, n, k) = (h * w, conv.b.n, conv.taps.len() * conv.segment);
    if m == 0 {
        return;
    }
    let last = conv.taps.iter().max().map_or(0, |t| t + conv.segment);
    assert!(part.map_or(k == conv.b.k, |part| part.is_of(&conv, P::K)), "the taps are the weights' k");
    assert!(conv.a.1.end(h, w, last) <= conv.a.0.len(), "a is too short");
    assert!(holds(conv.c.0.len(), conv.c.1, conv.size, n), "c is too short");
    assert!(conv.residual.is_none_or(|(r, at)| holds(r.len(), at, conv.size, n)), "residual is too short");
    assert!(conv.epilogue.bias.len() == n.next_multiple_of(NR), "an epilogue of n channels");

    let output = conv.c.0.shared();
    let residual = conv.residual.map(|(r, _)| r);
    let job = Job { conv: &conv, part, finish: Finish { epilogue: conv.epilogue, channels: n, residual, output } };
    let panels = n.div_ceil(NR);
    let groups = panels.div_ceil(GROUP_PANELS);
    // Of equal size, as groups are: a short last block would have short tiles.
    let mut blocks = m.div_ceil(BLOCK_ROWS);
    if blocks * groups < FEW_TASKS * parallel::threads() {
        blocks = blocks.next_multiple_of(parallel::threads()).min(m);
    }
    parallel::for_each(blocks * groups, m.max(MR) * n / (blocks * groups) * k, |task| {
        let (block, group) = (task / groups, task % groups);
        let pixels = parallel::part(m, blocks, block);
        let Range { start: first_panel, end } = parallel::part(panels, groups, group);
        let (first, rows, panels) = (pixels.start, pixels.len(), end - first_panel);
        let mut share = Block { first, rows, first_panel, panels, first_step: 0, steps: 0, weight_step: 0 };
        let (mut scratch, steps) = (MaybeUninit::<Scratch>::uninit(), k.div_ceil(P::K));
        let places = job.places(&share);
        let packed = job.packed();
        // Steps whose weights lie one after the other.
        let run = if part.is_some() { conv.segment / P::K } else { steps };
        let (mut tap, mut done) = (0, 0);
        while share.first_step < steps {
            share.weight_step = part.map_or(0, |part| part.taps[tap] * run) + done;
            share.steps = (BLOCK_ROWS * CHUNK_STEPS / share.rows).min(run - done);
            // SAFETY: the asserts above cover every pixel; a block's rows, panels and steps fit the scratch; tasks differ in
            // pixels or in panels, and after the last step all sums are written.
            unsafe {
                let a = match packed {
                    Some(a) => a.add(share.first * k),
                    None => job.pack::<S, P>(&share, scratch.as_mut_ptr()),
                };
                for panel in 0..panels {
                    let sums = job.panel::<S, P>(&share, panel, a, scratch.as_mut_ptr());
                    if share.first_step + share.steps == steps {
                        job.finish.run::<S>((first_panel + panel) * NR, sums, &places[..share.rows]);
                    }
                }
            }
            (share.first_step, done) = (share.first_step + share.steps, done + share.steps);
            if done == run {
                (tap, done) = (tap + 1, 0);
            }
        }
    });
}

impl Part<'_> {
    /// Whether it is of the weights of `conv`, whose dot takes `step` values of k at once. One body for all dots.
    #[inline(never)]
    fn is_of(&self, conv: &Conv, step: usize) -> bool {
        let is_within = |tap: &usize| (tap + 1) * conv.segment <= conv.b.k;
        self.taps.len() == conv.taps.len()
            && self.taps.iter().all(is_within)
            && conv.segment.is_multiple_of(step)
            && self.starts.len() == conv.b.n.next_multiple_of(NR)
    }
}

impl Job<'_> {
    fn places(&self, block: &Block) -> [Place; BLOCK_ROWS] {
        let mut places = [Place::default(); BLOCK_ROWS];
        let residual = self.conv.residual.map_or(Pixels::NOWHERE, |(_, at)| at);
        fill_places(&mut places, self.conv.size.1, block.pixels(), self.conv.c.1, residual);
        places
    }

    /// The first pixel, where all are as packed rows of one chunk would be.
    fn packed(&self) -> Option<*const u8> {
        let (Conv { size, a: (a, at), segment: k, b, .. }, None) = (self.conv, self.part) else { return None };
        let [tap] = *self.conv.taps else { return None };
        let is_one_chunk = *k <= CHUNK_STEPS * b.kind.step();
        (is_one_chunk && are_packed(b.kind, *k, *at, size.1)).then(|| a.as_ptr().wrapping_add(at.start + tap))
    }

    /// Packs the chunk's steps of the block's pixels, and zeros up to a whole step; gives where they begin.
    ///
    /// # Safety
    /// The pixels and their taps must be within a.
    #[inline(never)]
    unsafe fn pack<S: Simd, P: Step<S>>(&self, block: &Block, scratch: *mut Scratch) -> *const u8 {
        let (conv, width, pitch) = (self.conv, 4 / P::K, 4 * block.steps);
        let k = conv.taps.len() * conv.segment;
        let (low, high) = (block.first_step * P::K, k.min((block.first_step + block.steps) * P::K));
        let whole = high - low == block.steps * P::K;
        row_runs(self.conv.size.1, block.pixels(), |first, (y, x), count| {
            // SAFETY: the caller's; a row has room for `pitch` bytes, and the chunk's part of the taps is at most that.
            unsafe {
                let a = conv.a.0.as_ptr().add(conv.a.1.at(y, x));
                let to = (&raw mut (*scratch).a).cast::<u8>().add(first * pitch);
                if !whole {
                    // Not filled by length: V8 calls a function for that, for each pixel.
                    (1..=count).for_each(|i| to.add(i * pitch - 4).cast::<u32>().write_unaligned(0));
                }
                for (t, tap) in conv.taps.iter().enumerate() {
                    let (start, end) = (low.max(t * conv.segment), high.min((t + 1) * conv.segment));
                    if start < end {
                        let from = a.add(tap + start - t * conv.segment);
                        let to = to.add((start - low) * width);
                        pack_pixels::<S, P>((from, conv.a.1.pixel), (to, pitch), end - start, count);
                    }
                }
            }
        });
        // SAFETY: the caller's.
        unsafe { (&raw const (*scratch).a).cast() }
    }

    /// One panel of the block, whose packed chunk is at `a` and whose sums it gives.
    ///
    /// # Safety
    /// The chunk must be there, and from the second one on the scratch hold the sums.
    unsafe fn panel<S: Simd, P: Step<S>>(
        &self,
        block: &Block,
        panel: usize,
        a: *const u8,
        scratch: *mut Scratch,
    ) -> Sums {
        let ((data, len), pitch) = (self.conv.b.panels(), block.panels * NR);
        // SAFETY: the caller's; the panel is within the weights, the rows within the scratch.
        unsafe {
            let acc = (&raw mut (*scratch).acc).cast::<i32>().add(panel * NR);
            let b = data.as_ptr().add((block.first_panel + panel) * len);
            let from = match self.part {
                _ if block.first_step > 0 => (acc.cast_const(), pitch),
                Some(part) => (part.starts.as_ptr().add((block.first_panel + panel) * NR), 0),
                None => (b.cast(), 0),
            };
            let b = b.add(HEADER + block.weight_step * NR * P::K);
            rows::<S, P>(block.rows, a, b, block.steps, from, (acc, pitch));
            Sums { data: acc, pitch }
        }
    }
}

/// `count` rows of a panel over `steps` steps, from and to sums at a pointer and a pitch: in tiles of 5 rows and near the end
/// 4, so that no short tile is left. Never inlined, so that V8, which does not replace a running loop, soon calls its fast
/// form.
///
/// # Safety
/// `a` must hold the rows of `steps` steps, `b` as many steps, `from` and `to` eight sums of each row.
#[inline(never)]
pub(super) unsafe fn rows<S: Simd, P: Step<S>>(
    count: usize,
    a: *const u8,
    b: *const u8,
    steps: usize,
    from: (*const i32, usize),
    to: (*mut i32, usize),
) {
    let (tiles, mut row) = (count.div_ceil(MR), 0);
    for i in 0..tiles {
        let rows = count / tiles + usize::from(i < count % tiles);
        // SAFETY: the caller's.
        unsafe {
            let a = a.add(row * 4 * steps);
            let (from, to) = ((from.0.add(row * from.1), from.1), (to.0.add(row * to.1), to.1));
            match rows {
                5 => tile::<S, P, 5>(a, b, steps, from, to),
                4 => tile::<S, P, 4>(a, b, steps, from, to),
                3 => tile::<S, P, 3>(a, b, steps, from, to),
                2 => tile::<S, P, 2>(a, b, steps, from, to),
                _ => tile::<S, P, 1>(a, b, steps, from, to),
            }
        }
        row += rows;
    }
}

/// R of the rows.
///
/// # Safety
/// As for [`rows`].
#[inline(always)]
unsafe fn tile<S: Simd, P: Step<S>, const R: usize>(
    a: *const u8,
    mut b: *const u8,
    steps: usize,
    from: (*const i32, usize),
    to: (*mut i32, usize),
) {
    // SAFETY: the caller's.
    unsafe {
        let mut acc: [[S::I32; 2]; R] = std::array::from_fn(|i| {
            let p = from.0.add(i * from.1);
            [S::load_i32(p), S::load_i32(p.add(4))]
        });
        let mut a: [*const u8; R] = std::array::from_fn(|i| a.add(i * 4 * steps));
        for _ in 0..steps {
            let [b0, b1] = P::load_b(b);
            for i in 0..R {
                let s = P::load_a(a[i]);
                acc[i][0] = P::dot_add(b0, s, acc[i][0]);
                acc[i][1] = P::dot_add(b1, s, acc[i][1]);
                a[i] = a[i].add(4);
            }
            b = b.add(NR * P::K);
        }
        for (i, row) in acc.into_iter().enumerate() {
            let p = to.0.add(i * to.1);
            S::store_i32(p, row[0]);
            S::store_i32(p.add(4), row[1]);
        }
    }
}
