//! A 1x1 expansion and the depthwise convolution that reads it, without the wide map between them in memory:
//! e[y, x, ch] = act(bias[ch] + sum over k of a[y, x, k] * b[k, ch]), then [`super::depthwise_f32`] of e.
//!
//! ```text
//! for block of 16 channels, for band of output rows      (a task)
//!     scratch = the rows of e that the band sees, zeros round the picture
//!     for row of the band: depthwise
//! ```
//! The wide map is the largest of the model (6.5 MB in the segmenter at 320), written once and read K times. A channel is 4 bytes of a
//! pixel of up to 4 KB there, so its neighbours' taps fall on few cache sets and each on a page of its own: in Chromium on Zen 3 (2026)
//! the dilated 5x5 of 960 channels ran at 4.0 GMAC/s on the map, the 3x3 of stride 2 of 160 x 160 x 64 at 1.9. Scratch stays in the
//! second-level cache; a cache line, 16 channels, is the least that writes the output well.
//! Rows that two bands see are computed twice.

use super::activation::activate;
use super::conv_f32::{NR, steps};
use super::depthwise_f32::{BLOCK, Filter, Job, cleared};
use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;
use std::ops::Range;

/// Floats of scratch that a band should take.
const BAND: usize = 40 << 10;

/// The expansion: no halo in its input.
#[derive(Clone, Copy)]
pub struct Expand<'a> {
    /// Rows and columns.
    pub size: (usize, usize),
    /// The input and its pixels.
    pub a: (&'a [f32], Pixels),
    /// Panels, as [`super::conv_f32::PackedB`] lays them out.
    pub b: &'a [f32],
    /// Input channels.
    pub k: usize,
    /// Applied to the sum.
    pub activation: Activation,
}

/// What to compute; the channel count is a multiple of 8.
pub struct ExpandDepthwise<'a> {
    /// The map that is not made.
    pub expand: Expand<'a>,
    /// What is done at each of its pixels.
    pub filter: Filter<'a>,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
    /// Receives the sums of each output row, [h, channels].
    pub row_sums: Option<&'a mut [f32]>,
}

/// How the work is cut.
#[derive(Clone, Copy, Debug)]
pub struct Bands {
    /// Rows and columns of the expansion.
    input: (usize, usize),
    /// Output rows and columns.
    size: (usize, usize),
    stride: usize,
    /// Output rows of a band.
    rows: usize,
    /// Pixels of zeros on each side.
    pad: usize,
    /// Columns of scratch, and its rows for a band.
    scratch: (usize, usize),
}

impl Bands {
    /// For an expansion of `size` under `filter`.
    pub fn new((h, w): (usize, usize), filter: &Filter) -> Bands {
        let (reach, stride) = (filter.reach(), filter.stride);
        let (columns, size) = (w + reach, (h.div_ceil(stride), w.div_ceil(stride)));
        let most = (BAND / (columns * BLOCK)).saturating_sub(reach + 1) / stride + 1;
        let rows = size.0.div_ceil(size.0.div_ceil(most).max(1)).max(1);
        let scratch = (columns, (rows - 1) * stride + reach + 1);
        Bands { input: (h, w), size, stride, rows, pad: reach / 2, scratch }
    }

    /// Output rows and columns.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Floats of scratch, for all threads.
    pub fn scratch(&self) -> usize {
        self.scratch.0 * self.scratch.1 * BLOCK * parallel::threads()
    }

    /// Tasks for `channels`.
    pub(super) fn tasks(&self, channels: usize) -> usize {
        channels.div_ceil(BLOCK) * self.size.0.div_ceil(self.rows)
    }

    /// Output rows and channels of a task.
    pub(super) fn task(&self, task: usize, channels: usize) -> (Range<usize>, Range<usize>) {
        let blocks = channels.div_ceil(BLOCK);
        let (first, y) = (task % blocks * BLOCK, task / blocks * self.rows);
        (y..self.size.0.min(y + self.rows), first..channels.min(first + BLOCK))
    }

    /// What a task costs, with `k` input channels, as [`parallel`] counts.
    pub(super) fn cost(&self, k: usize, filter: &Filter) -> usize {
        let filtered = self.rows * self.size.1 * BLOCK * filter.kernel * filter.kernel;
        self.scratch.0 * self.scratch.1 * BLOCK * k + filtered * parallel::DEPTHWISE
    }

    /// What the output `rows` see of the block of the expansion's channels from `first` on, in `scratch`, [`BLOCK`] floats a pixel:
    /// `fill` writes row y of the picture, which has zeros round it. Gives where [`Job`] finds it.
    pub(super) fn fill(
        &self,
        rows: &Range<usize>,
        first: usize,
        scratch: &mut [f32],
        fill: impl Fn(usize, &mut [f32]),
    ) -> (*const f32, Pixels) {
        let (top, pitch, edge) = (rows.start * self.stride, self.scratch.0 * BLOCK, self.pad * BLOCK);
        let seen = (rows.len() - 1) * self.stride + 2 * self.pad + 1;
        for (i, row) in scratch.chunks_exact_mut(pitch).take(seen).enumerate() {
            match (top + i).checked_sub(self.pad).filter(|y| *y < self.input.0) {
                Some(y) => {
                    row[..edge].fill(0.0);
                    row[pitch - edge..].fill(0.0);
                    fill(y, &mut row[edge..pitch - edge]);
                }
                None => row.fill(0.0),
            }
        }
        // Row 0 of the picture, channel 0: before the scratch, which begins at row `top` less the padding.
        let a = scratch.as_ptr().wrapping_sub(top * pitch + first);
        (a, Pixels { start: 0, row: pitch, pixel: BLOCK })
    }
}

/// Runs `x` with the words of `S`, in `scratch` of as many floats as its [`Bands`] say.
///
/// # Panics
/// When a slice is too short, or channels, kernel and stride are not of the list.
pub fn expand_depthwise_f32<S: Simd>(mut x: ExpandDepthwise, scratch: &mut [f32]) {
    let (expand, filter, channels) = (x.expand, x.filter, x.filter.check());
    let bands = Bands::new(expand.size, &filter);
    let ((h, w), (hin, win)) = (bands.size, expand.size);
    if h == 0 || w == 0 {
        return;
    }
    assert!(channels.is_multiple_of(NR), "channels come in eights");
    assert_eq!(expand.b.len(), channels * (expand.k + 1), "b holds all panels");
    assert!(expand.a.1.end(hin, win, expand.k) <= expand.a.0.len(), "a is too short");
    assert!(x.c.1.end(h, w, channels) <= x.c.0.len(), "c is too short");
    assert_eq!(scratch.len(), bands.scratch(), "scratch for each thread");

    let c = (Shared(std::mem::take(&mut x.c.0).as_mut_ptr()), x.c.1);
    let sums = cleared(x.row_sums.take(), h, channels);
    parallel::for_each_with(bands.tasks(channels), bands.cost(expand.k, &filter), scratch, |task, scratch| {
        let (rows, channels) = bands.task(task, channels);
        // SAFETY: a holds every row of the picture, b every panel.
        let fill = |y, row: &mut [f32]| unsafe { expand.fill_row::<S>(row, y, &channels) };
        let a = bands.fill(&rows, channels.start, scratch, fill);
        let job = Job { filter, width: w, a, c, sums };
        for y in rows {
            // SAFETY: the scratch holds all rows that the band sees; tasks differ in rows or in channels.
            unsafe { job.row::<S>(y, channels.clone()) };
        }
    });
}

impl Expand<'_> {
    /// Row `y` of some channels of the expansion, [`BLOCK`] floats a pixel.
    ///
    /// # Safety
    /// Row y must exist in a, and the panels of the block in b.
    unsafe fn fill_row<S: Simd>(&self, row: &mut [f32], y: usize, channels: &Range<usize>) {
        let inner = self.size.1;
        let (a, at) = self.a;
        let mr = S::GEMM_ROWS;
        let tiles = inner.div_ceil(mr);
        let (rows, larger) = (inner / tiles, inner % tiles);
        for (panel, ch) in channels.clone().step_by(NR).enumerate() {
            // SAFETY: the caller's; the tiles are the row's pixels.
            unsafe {
                let a = a.as_ptr().add(at.at(y, 0));
                let b = self.b.as_ptr().add(ch * (self.k + 1));
                let c = row.as_mut_ptr().add(panel * NR);
                let skip = larger * (rows + 1);
                self.tiles_of::<S>(rows + 1, larger, a, b, c);
                self.tiles_of::<S>(rows, tiles - larger, a.add(skip * at.pixel), b, c.add(skip * BLOCK));
            }
        }
    }

    /// `count` tiles of `rows` pixels.
    ///
    /// # Safety
    /// As for [`Expand::tiles`].
    unsafe fn tiles_of<S: Simd>(&self, rows: usize, count: usize, a: *const f32, b: *const f32, c: *mut f32) {
        if count == 0 {
            return;
        }
        // SAFETY: the caller's.
        unsafe {
            match rows {
                6 => self.tiles::<S, 6>(count, a, b, c),
                5 => self.tiles::<S, 5>(count, a, b, c),
                4 => self.tiles::<S, 4>(count, a, b, c),
                3 => self.tiles::<S, 3>(count, a, b, c),
                2 => self.tiles::<S, 2>(count, a, b, c),
                _ => self.tiles::<S, 1>(count, a, b, c),
            }
        }
    }

    /// `count` tiles of R pixels side by side. Never inlined, as conv_f32's.
    ///
    /// # Safety
    /// `a` must hold the pixels, `b` a panel, and `c` room for eight floats every [`BLOCK`].
    #[inline(never)]
    unsafe fn tiles<S: Simd, const R: usize>(&self, count: usize, mut a: *const f32, b: *const f32, mut c: *mut f32) {
        let (k, pixel, activation) = (self.k, self.a.1.pixel, self.activation);
        // SAFETY: the caller's.
        unsafe {
            for _ in 0..count {
                let acc = [[S::load(b), S::load(b.add(4))]; R];
                let start: [*const f32; R] = std::array::from_fn(|i| a.wrapping_add(i * pixel));
                let acc = steps::<S, R>(acc, std::hint::black_box(start), b.add(NR), k);
                for (i, row) in activate::<S, _, R>(activation, acc).into_iter().enumerate() {
                    S::store(c.add(i * BLOCK), row[0]);
                    S::store(c.add(i * BLOCK + 4), row[1]);
                }
                (a, c) = (a.wrapping_add(R * pixel), c.wrapping_add(R * BLOCK));
            }
        }
    }
}
