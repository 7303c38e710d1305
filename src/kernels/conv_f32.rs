//! Dense convolution and linear layers as one GEMM:
//! c[m, n] = activation(bias[n] + sum over taps t and k of a[pixel(m) + t.a + k] * b[t.b + k, n]) (+ residual[m, n]).
//!
//! A tap is a run of `segment` floats at a fixed offset from the pixel: one of all channels for 1x1 and linear, and one
//! for each kernel row otherwise, since the columns of a kernel lie side by side in NHWC. The input's halo makes border
//! pixels like any other, so there is no im2col.
//!
//! ```text
//! for block of tiles of rows, and group of up to 8 panels            (a task)
//!     for pass of at most KC steps of the sum
//!         for panel of 8 columns
//!             for tile of mr rows: acc = bias, or c after the first pass; for tap, k: acc += a[., k] * b[k, .]; store
//! ```
//! Layers of one tap whose pixels follow each other, which are most, have tiles of their own in one pass: [`super::pointwise_f32`]; and
//! so has a model's first layer: [`super::stem_f32`].
//!
//! A pass keeps a panel's part in the first-level cache while all tiles run over it; a long sum (fc6 has 12,544 steps) would
//! stream from the second level otherwise. Partial sums wait in c, so that the order of additions stays the same.

use super::activation::activate;
use super::pack_f32::NR;
use super::pixel_f32::pixel_f32;
use super::pointwise_f32::pointwise;
use super::stem_f32::Stem;
use super::tile_f32::{steps, store, store_part, tile_sizes, with_rows};
use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;
use std::ops::Range;

const MAX_ROWS: usize = 6;
/// Steps of a pass: 8 columns of them are a first-level cache of 32 KB. Its lines come as soon as they are asked for from the second level, too, while a pass more
/// reads and writes c: with 768, Faster R-CNN in f32 takes 1 % longer in Chromium on Zen 4 (November 2026); with 1280 and 1600, as long.
const KC: usize = 1024;
/// Tiles of a block: with half as many, b streams twice as often from the second level or beyond, and Faster R-CNN takes half a percent longer.
const BLOCK_TILES: usize = 32;
const GROUP_PANELS: usize = 8;
/// Blocks a thread from which on it does not matter that one has a block more than another.
const FEW_BLOCKS: usize = 8;
/// What a task of fewer panels should still cost, 20 us: small tasks end together, smaller ones cost more than they save.
const LEAST_TASK: usize = 1 << 19;

/// A run of the sum: floats of the input times as many rows of b.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tap {
    /// Where the floats begin, counted from the pixel.
    pub a: usize,
    /// The first row of b.
    pub b: usize,
}

/// What to compute; see the file's page.
pub struct Conv<'a> {
    /// Output rows and columns.
    pub size: (usize, usize),
    /// The input, and where the first tap of output pixel (y, x) lies.
    pub a: (&'a [f32], Pixels),
    /// What the sum is made of.
    pub taps: &'a [Tap],
    /// Floats of a tap.
    pub segment: usize,
    /// Panels, as [`super::pack_f32::PackedB`] lays them out.
    pub b: &'a [f32],
    /// Rows of b, its biases apart.
    pub k: usize,
    /// Output channels.
    pub n: usize,
    /// Applied to the sum.
    pub activation: Activation,
    /// Added after the activation.
    pub residual: Option<(&'a [f32], Pixels)>,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
}

/// Pixels of a tile, of which the last stands for those that are missing: the indices of each in a, c and the residual.
#[derive(Clone, Copy, Default)]
struct Tile {
    a: [usize; MAX_ROWS],
    c: [usize; MAX_ROWS],
    r: [usize; MAX_ROWS],
}

struct Job<'a> {
    conv: &'a Conv<'a>,
    c: Shared,
}

/// Runs `conv` with the words of `S`.
///
/// # Panics
/// When a slice is too short for the pixels that it is said to hold.
pub fn conv_f32<S: Simd>(mut conv: Conv) {
    let (h, w) = conv.size;
    let m = h * w;
    if m == 0 || conv.n == 0 {
        return;
    }
    let panels = conv.n.div_ceil(NR);
    let last = conv.taps.iter().map(|t| t.a + conv.segment).max().unwrap_or(0);
    assert!(conv.a.1.end(h, w, last) <= conv.a.0.len(), "a is too short");
    assert!(conv.c.1.end(h, w, conv.n) <= conv.c.0.len(), "c is too short");
    assert!(conv.residual.is_none_or(|(r, at)| at.end(h, w, conv.n) <= r.len()), "residual is too short");
    assert!(conv.taps.iter().all(|t| t.b + conv.segment <= conv.k), "b has a row for each float of a tap");
    assert_eq!(conv.b.len(), panels * NR * (conv.k + 1), "b holds all panels");

    let c = Shared(std::mem::take(&mut conv.c.0).as_mut_ptr());
    if m == 1 {
        // SAFETY: the asserts above.
        return unsafe { pixel_f32::<S>(&conv, c) };
    }
    if let Some(stem) = Stem::of::<S>(&conv) {
        // SAFETY: the asserts above.
        return unsafe { stem.run::<S>(c) };
    }
    let job = Job { conv: &conv, c };
    let passes = Passes::new(conv.taps.len(), conv.segment);
    // Blocks of equal size: a short last block would have short tiles.
    let mut blocks = m.div_ceil(BLOCK_TILES * S::GEMM_ROWS);
    // A single one is shared by its panels: two would read all of b twice.
    if (2..FEW_BLOCKS * parallel::threads()).contains(&blocks) {
        blocks = blocks.next_multiple_of(parallel::threads()).min(m);
    }
    // A tile of few rows waits for its sums: it takes as long as a whole one.
    let cost = (m / blocks).max(S::GEMM_ROWS) * conv.n * conv.taps.len() * conv.segment;
    let groups = panels.div_ceil(GROUP_PANELS).max(panels.min(cost / LEAST_TASK));
    parallel::for_each(blocks * groups, cost / groups, |task| {
        let (block, group) = (task / groups, task % groups);
        let (pixels, panels) = (parallel::part(m, blocks, block), parallel::part(panels, groups, group));
        // SAFETY: the asserts above cover every pixel; tasks differ in pixels or in panels.
        unsafe { job.block::<S>(pixels, panels, &passes) };
    });
}

/// [`conv_f32`] to `c`, as one task of another kernel.
///
/// # Safety
/// `conv` must be what `conv_f32` would take, but for its own c.
pub(super) unsafe fn conv_f32_in_task<S: Simd>(conv: &Conv, c: Shared) {
    let (m, job, passes) = (conv.size.0 * conv.size.1, Job { conv, c }, Passes::new(conv.taps.len(), conv.segment));
    for first in (0..m).step_by(BLOCK_TILES * S::GEMM_ROWS) {
        let pixels = first..m.min(first + BLOCK_TILES * S::GEMM_ROWS);
        // SAFETY: the caller's.
        unsafe { job.block::<S>(pixels, 0..conv.n.div_ceil(NR), &passes) };
    }
}

/// How a sum of `taps` segments is cut into passes: several taps each, or a part of one.
struct Passes {
    taps: usize,
    segment: usize,
    taps_of_pass: usize,
    parts_of_tap: usize,
}

/// A pass: taps `first..end`, floats `from..to` of each segment.
#[derive(Clone, Copy)]
struct Pass {
    first: usize,
    end: usize,
    from: usize,
    to: usize,
    is_first: bool,
    is_last: bool,
}

impl Passes {
    fn new(taps: usize, segment: usize) -> Passes {
        let parts_of_tap = segment.div_ceil(KC);
        // As even as they can be: a short pass reads and writes c for little.
        let passes = if parts_of_tap > 1 { taps } else { taps.div_ceil(KC / segment.max(1)) };
        Passes { taps, segment, taps_of_pass: taps.div_ceil(passes), parts_of_tap: parts_of_tap.max(1) }
    }

    fn count(&self) -> usize {
        self.taps.div_ceil(self.taps_of_pass) * self.parts_of_tap
    }

    fn at(&self, index: usize) -> Pass {
        let tap = index / self.parts_of_tap * self.taps_of_pass;
        let part = parallel::part(self.segment, self.parts_of_tap, index % self.parts_of_tap);
        Pass {
            first: tap,
            end: self.taps.min(tap + self.taps_of_pass),
            from: part.start,
            to: part.end,
            is_first: index == 0,
            is_last: index + 1 == self.count(),
        }
    }
}

impl Job<'_> {
    /// Some panels of up to [`BLOCK_TILES`] tiles of `pixels`.
    ///
    /// # Safety
    /// The pixels and the panels must be within the slices, and no other task may write both.
    unsafe fn block<S: Simd>(&self, pixels: Range<usize>, panels: Range<usize>, passes: &Passes) {
        if passes.count() == 1
            && let Some((first, place)) = pointwise(self.conv, self.c.get(), pixels.start)
        {
            for panel in panels {
                let (panel, place) = first.at(place, panel, self.conv.n);
                // SAFETY: the caller's.
                unsafe { panel.run::<S>(pixels.len(), place) };
            }
            return;
        }
        let mut tiles = [Tile::default(); BLOCK_TILES];
        let sizes = tile_sizes(pixels.len(), S::GEMM_ROWS);
        self.fill_tiles(&mut tiles, sizes, pixels.start);
        for pass in 0..passes.count() {
            for panel in panels.clone() {
                // SAFETY: the caller's.
                unsafe { self.panel::<S>(&tiles, sizes, panel, passes.at(pass)) };
            }
        }
    }

    /// Fills tiles of these `sizes` with the pixels from `first` on.
    fn fill_tiles(&self, tiles: &mut [Tile], sizes: [(usize, usize); 2], first: usize) {
        let (width, residual) = (self.conv.size.1, self.conv.residual.map_or(Pixels::NOWHERE, |(_, at)| at));
        let (a, c) = (self.conv.a.1, self.conv.c.1);
        let (mut y, mut x) = (first / width, first % width);
        let mut place = [a.at(y, x), c.at(y, x), residual.at(y, x)];
        let [(larger, most), (rest, fewer)] = sizes;
        for (i, tile) in tiles[..larger + rest].iter_mut().enumerate() {
            let rows = if i < larger { most } else { fewer };
            let mut pixel = place;
            for row in 0..MAX_ROWS {
                if row < rows {
                    pixel = place;
                    x += 1;
                    place = [place[0] + a.pixel, place[1] + c.pixel, place[2] + residual.pixel];
                    if x == width {
                        (y, x) = (y + 1, 0);
                        place = [a.at(y, 0), c.at(y, 0), residual.at(y, 0)];
                    }
                }
                [tile.a[row], tile.c[row], tile.r[row]] = pixel;
            }
        }
    }

    /// One panel of all tiles, of these `sizes`.
    ///
    /// # Safety
    /// The tiles' indices must be within the slices, and no other task may write the same pixels and columns.
    unsafe fn panel<S: Simd>(&self, tiles: &[Tile], sizes: [(usize, usize); 2], panel: usize, pass: Pass) {
        let [(larger, _), (rest, _)] = sizes;
        let tiles = [&tiles[..larger], &tiles[larger..][..rest]];
        for (tiles, (_, rows)) in tiles.into_iter().zip(sizes).filter(|(tiles, _)| !tiles.is_empty()) {
            // SAFETY: the caller's.
            unsafe { with_rows!(S, rows, R => self.tiles::<S, R>(tiles, panel, pass)) };
        }
    }

    /// One panel of tiles of R rows. Never inlined: V8 spills the accumulators of a loop in a large function (10 GMAC/s
    /// instead of 24), and does not replace a running loop, so that short calls soon get its fast form.
    ///
    /// # Safety
    /// As for [`Job::panel`].
    #[inline(never)]
    unsafe fn tiles<S: Simd, const R: usize>(&self, tiles: &[Tile], panel: usize, pass: Pass) {
        let conv = self.conv;
        let taps = &conv.taps[pass.first..pass.end];
        let column = panel * NR;
        let whole = conv.n - column >= NR;
        // SAFETY: conv_f32 asserted that b holds k + 1 rows a panel, and that every tap of every pixel lies in a and b.
        unsafe {
            let bias = conv.b.as_ptr().add(column * (conv.k + 1));
            for tile in tiles {
                let mut acc = [[S::load(bias), S::load(bias.add(4))]; R];
                if !pass.is_first {
                    acc = std::array::from_fn(|i| self.read::<S>(tile.c[i], column));
                }
                for tap in taps {
                    let start: [*const f32; R] =
                        std::array::from_fn(|i| conv.a.0.as_ptr().add(tile.a[i] + tap.a + pass.from));
                    // LLVM would add the tap to each pixel at every step.
                    let start = std::hint::black_box(start);
                    acc = steps::<S, R>(acc, start, bias.add((tap.b + pass.from + 1) * NR), pass.to - pass.from);
                }
                if pass.is_last {
                    acc = activate::<S, _, R>(conv.activation, acc);
                }
                let to = |i: usize| self.c.0.add(tile.c[i] + column);
                let residual = conv.residual.filter(|_| pass.is_last).map(|(r, _)| r.as_ptr().wrapping_add(column));
                // A loop of rows for each case: with all cases in one, LLVM keeps it a loop, which reads the sums from memory.
                match residual {
                    _ if !whole => acc.into_iter().enumerate().for_each(|(i, row)| {
                        store_part::<S>(row, to(i), residual.map(|r| r.wrapping_add(tile.r[i])), conv.n - column);
                    }),
                    None => (0..R).for_each(|i| store::<S>(acc[i], to(i), None)),
                    Some(r) => (0..R).for_each(|i| store::<S>(acc[i], to(i), Some(r.add(tile.r[i])))),
                }
            }
        }
    }

    /// The partial sums of one row of a tile.
    ///
    /// # Safety
    /// `c` must be the index of a pixel with n channels.
    #[inline(always)]
    unsafe fn read<S: Simd>(&self, c: usize, column: usize) -> [S::F32; 2] {
        let width = NR.min(self.conv.n - column);
        // SAFETY: columns column..column + width of pixel c exist.
        unsafe {
            let from = self.c.0.add(c + column);
            if width == NR {
                return [S::load(from), S::load(from.add(4))];
            }
            let mut copy = [0.0f32; NR];
            std::ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), width);
            [S::load(copy.as_ptr()), S::load(copy.as_ptr().add(4))]
        }
    }
}
