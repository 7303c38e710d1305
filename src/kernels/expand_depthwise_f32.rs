//! A 1x1 expansion and the depthwise convolution that reads it, without the wide map between them in memory:
//! e[y, x, ch] = act(bias[ch] + sum over k of a[y, x, k] * b[k, ch]), then [`super::depthwise_f32`] of e.
//!
//! ```text
//! for block of 16 channels, for some bands of output rows      (a task)
//!     for band of them
//!         scratch = the rows of e that the band sees and the one before did not, zeros round the picture
//!         depthwise of the band
//! ```
//! The wide map is the largest of the model (6.5 MB in the segmenter at 320), written once and read K times. A channel is 4 bytes of a
//! pixel of up to 4 KB there, so its neighbours' taps fall on few cache sets and each on a page of its own: in Chromium on Zen 3 (2026)
//! the dilated 5x5 of 960 channels ran at 4.0 GMAC/s on the map, the 3x3 of stride 2 of 160 x 160 x 64 at 1.9. Scratch stays in the
//! second-level cache; a cache line, 16 channels, is the least that writes the output well.
//! Rows that two bands see are computed twice.

use super::depthwise_f32::{BLOCK, Filter, Job, cleared};
use super::pack_f32::NR;
use super::pointwise_f32::{Panel, Pitch, Place};
use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;
use std::ops::Range;

/// Floats of scratch that a band should take.
const BAND: usize = 20 << 10;
/// Tasks for each thread, where there is more than one.
const TASKS: usize = 8;

/// The expansion: no halo in its input.
#[derive(Clone, Copy)]
pub struct Expand<'a> {
    /// Rows and columns.
    pub size: (usize, usize),
    /// The input, [h, w, k].
    pub a: &'a [f32],
    /// Panels, as [`super::pack_f32::PackedB`] lays them out.
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
    /// Output rows of a band, and of a task.
    rows: usize,
    task_rows: usize,
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
        // A task's first band makes rows that the task before makes, too: no more tasks than threads need, nor than bands.
        let wanted = if parallel::threads() > 1 { TASKS * parallel::threads() } else { 1 };
        let tasks_of_block = wanted.div_ceil(filter.bias.len().div_ceil(BLOCK).max(1));
        let task_rows = size.0.div_ceil(tasks_of_block.min(size.0.div_ceil(most)).max(1)).max(1);
        let rows = task_rows.div_ceil(task_rows.div_ceil(most));
        let scratch = (columns, (rows - 1) * stride + reach + 1);
        Bands { input: (h, w), size, stride, rows, task_rows, pad: reach / 2, scratch }
    }

    /// Output rows and columns.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }

    /// Output rows of a band.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Floats of scratch, for all threads.
    pub fn scratch(&self) -> usize {
        self.scratch.0 * self.scratch.1 * BLOCK * parallel::threads()
    }

    /// Tasks for `channels`.
    pub(super) fn tasks(&self, channels: usize) -> usize {
        channels.div_ceil(BLOCK) * self.size.0.div_ceil(self.task_rows)
    }

    /// Output rows and channels of a task.
    pub(super) fn task(&self, task: usize, channels: usize) -> (Range<usize>, Range<usize>) {
        let blocks = channels.div_ceil(BLOCK);
        let (first, y) = (task % blocks * BLOCK, task / blocks * self.task_rows);
        (y..self.size.0.min(y + self.task_rows), first..channels.min(first + BLOCK))
    }

    /// The bands of a task's `rows`.
    pub(super) fn of(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let (height, end) = (self.rows, rows.end);
        rows.step_by(height).map(move |y| y..end.min(y + height))
    }

    /// What a task costs, with `k` input channels, as [`parallel`] counts.
    pub(super) fn cost(&self, k: usize, filter: &Filter) -> usize {
        let filtered = self.rows * self.size.1 * BLOCK * filter.kernel * filter.kernel;
        let band = self.scratch.0 * self.scratch.1 * BLOCK * k + filtered * parallel::DEPTHWISE;
        band * self.task_rows.div_ceil(self.rows)
    }

    /// Puts zeros above and below what the output `rows` see of the picture in `scratch`, [`BLOCK`] floats a pixel, whose edges are zeros since it
    /// began as such; gives the rows that they see, less those that are there already where the scratch has what the band before saw, in the same task.
    pub(super) fn frame(&self, rows: &Range<usize>, follows: bool, scratch: &mut [f32]) -> Range<usize> {
        let (top, pitch) = (rows.start * self.stride, self.pitch());
        let seen = (rows.len() - 1) * self.stride + 2 * self.pad + 1;
        let kept = if follows { (2 * self.pad + 1).saturating_sub(self.stride) } else { 0 };
        let before = self.scratch.1 - kept;
        scratch.copy_within(before * pitch..self.scratch.1 * pitch, 0);
        // Not a constant: V8 calls a function to fill with one, for each row.
        let zero = std::hint::black_box(0.0);
        for (i, row) in scratch.chunks_exact_mut(pitch).enumerate().take(seen).skip(kept) {
            if !(self.pad..self.pad + self.input.0).contains(&(top + i)) {
                row.fill(zero);
            }
        }
        (top + kept).saturating_sub(self.pad)..self.input.0.min(top + seen - self.pad)
    }

    /// Floats from a row of scratch to the next.
    pub(super) fn pitch(&self) -> usize {
        self.scratch.0 * BLOCK
    }

    /// Where row `y` of the picture begins in the scratch of the output `rows`.
    pub(super) fn row(&self, rows: &Range<usize>, y: usize) -> usize {
        ((y + self.pad - rows.start * self.stride) * self.scratch.0 + self.pad) * BLOCK
    }

    /// Where [`Job`] finds the block of the expansion's channels from `first` on in the scratch of the output `rows`.
    pub(super) fn block(&self, rows: &Range<usize>, first: usize, scratch: &[f32]) -> (*const f32, Pixels) {
        // Row 0 of the picture, channel 0: before the scratch, which begins at row `top` less the padding.
        let (top, pitch) = (rows.start * self.stride, self.pitch());
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
    assert_eq!(expand.a.len(), hin * win * expand.k, "a is [h, w, k]");
    assert!(x.c.1.end(h, w, channels) <= x.c.0.len(), "c is too short");
    assert_eq!(scratch.len(), bands.scratch(), "scratch for each thread");

    let c = (Shared(std::mem::take(&mut x.c.0).as_mut_ptr()), x.c.1);
    let sums = cleared(x.row_sums.take(), h, channels);
    parallel::for_each_with(bands.tasks(channels), bands.cost(expand.k, &filter), scratch, |task, scratch| {
        let (rows, channels) = bands.task(task, channels);
        for band in bands.of(rows.clone()) {
            let seen = bands.frame(&band, band.start > rows.start, scratch);
            let row = &mut scratch[bands.row(&band, seen.start)..];
            // SAFETY: a holds every row of the picture, b every panel, and scratch the rows that the band sees.
            unsafe { expand.fill::<S>(seen, &channels, (row.as_mut_ptr(), bands.pitch())) };
            let a = bands.block(&band, channels.start, scratch);
            let job = Job { filter, width: w, a, c, sums };
            // SAFETY: the scratch holds all rows that the band sees; tasks differ in rows or in channels.
            unsafe { job.rows::<S>(band, channels.clone()) };
        }
    });
}

impl Expand<'_> {
    /// Some channels of the rows `seen`, to a pointer and a pitch, [`BLOCK`] floats a pixel. Tiles go on from row to row: seven columns would be
    /// tiles of four and three.
    ///
    /// # Safety
    /// The rows must exist in a, the panels of the channels in b, and room for the rows at `to`.
    unsafe fn fill<S: Simd>(&self, seen: Range<usize>, channels: &Range<usize>, to: (*mut f32, usize)) {
        let (width, k) = (self.size.1, self.k);
        if seen.is_empty() || width == 0 {
            // The last band sees but padding below what the one before saw.
            return;
        }
        for (i, ch) in channels.clone().step_by(NR).enumerate() {
            let (b, activation) = (self.b.as_ptr().wrapping_add(ch * (k + 1)), self.activation);
            let (c, residual) = (Pitch { pixel: BLOCK, gap: to.1 - width * BLOCK }, Pitch { pixel: 0, gap: 0 });
            let panel = Panel { b, k, columns: NR, activation, width, c, residual };
            let a = self.a.as_ptr().wrapping_add(seen.start * width * k);
            let place = Place { a, c: to.0.wrapping_add(i * NR), residual: std::ptr::null(), left: width };
            // SAFETY: the caller's.
            unsafe { panel.run::<S>(seen.len() * width, place) };
        }
    }
}
