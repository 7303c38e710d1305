//! Dense convolution and linear layers as one GEMM:
//! c[m, n] = activation(bias[n] + sum over taps t and k of a[pixel(m) + taps[t] + k] * b[t, k, n]) (+ residual[m, n]).
//!
//! A tap is a run of `segment` floats at a fixed offset from the pixel: one of all channels for 1x1 and linear, and one
//! for each kernel row otherwise, since the columns of a kernel lie side by side in NHWC. The input's halo makes border
//! pixels like any other, so there is no im2col.
//!
//! ```text
//! for block of up to 16 tiles of rows, and group of 8 panels        (a task)
//!     for panel of 8 columns
//!         for tile of mr rows: acc = bias; for tap, k: acc += a[., k] * b[k, .]; store
//! ```
//! The splat of a is loaded right before its two multiplies: V8 has 15 vector registers and keeps the order it is given,
//! and 6x8 takes 12 accumulators, 2 of b and 1 splat.

use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;

/// Columns of a panel.
pub const NR: usize = 8;
const MAX_ROWS: usize = 6;
const BLOCK_TILES: usize = 16;
const GROUP_PANELS: usize = 8;

/// Weights in panels of [`NR`] columns: the panel's biases, then k rows of [`NR`]; columns past n are zero.
#[derive(Debug)]
pub struct PackedB {
    data: Vec<f32>,
    /// Output channels.
    pub n: usize,
    /// Length of the sum.
    pub k: usize,
}

impl PackedB {
    /// Panels for `bias` [n] and weights that [`PackedB::set_column`] gives.
    pub fn new(bias: &[f32], k: usize) -> Self {
        let n = bias.len();
        let mut data = vec![0.0; n.div_ceil(NR) * NR * (k + 1)];
        for (panel, bias) in data.chunks_exact_mut(NR * (k + 1)).zip(bias.chunks(NR)) {
            panel[..bias.len()].copy_from_slice(bias);
        }
        PackedB { data, n, k }
    }

    /// Sets the weights of output channel `n`, k of them.
    pub fn set_column(&mut self, n: usize, weights: impl Iterator<Item = f32>) {
        let first = n / NR * NR * (self.k + 1) + NR + n % NR;
        let mut count = 0;
        for (to, w) in self.data[first..].iter_mut().step_by(NR).zip(weights) {
            *to = w;
            count += 1;
        }
        assert_eq!(count, self.k, "k weights a column");
    }

    /// `out` = the panels with row k of every column multiplied by `scale[k]`; the biases stay.
    ///
    /// Squeeze-excite scales the projection's input by channel: scaling its few weights is cheaper than its many pixels.
    pub fn scaled(&self, scale: &[f32], out: &mut [f32]) {
        assert_eq!((scale.len(), out.len()), (self.k, self.data.len()), "a scale an input channel");
        let panel = NR * (self.k + 1);
        for (from, to) in self.data.chunks_exact(panel).zip(out.chunks_exact_mut(panel)) {
            to[..NR].copy_from_slice(&from[..NR]);
            let rows = from[NR..].chunks_exact(NR).zip(to[NR..].chunks_exact_mut(NR));
            for ((from, to), s) in rows.zip(scale) {
                to.iter_mut().zip(from).for_each(|(t, f)| *t = f * s);
            }
        }
    }

    /// The panels.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}

/// What to compute; see the file's page.
pub struct Conv<'a> {
    /// Output rows and columns.
    pub size: (usize, usize),
    /// The input, and where the first tap of output pixel (y, x) lies.
    pub a: (&'a [f32], Pixels),
    /// Offsets of the taps.
    pub taps: &'a [usize],
    /// Floats of a tap.
    pub segment: usize,
    /// Panels, as [`PackedB`] lays them out.
    pub b: &'a [f32],
    /// Output channels.
    pub n: usize,
    /// Applied to the sum.
    pub activation: Activation,
    /// Added after the activation.
    pub residual: Option<(&'a [f32], Pixels)>,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
}

/// Up to `MAX_ROWS` pixels: the indices of each in a, c and the residual.
#[derive(Clone, Copy, Default)]
struct Tile {
    rows: usize,
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
    let (k, panels) = (conv.taps.len() * conv.segment, conv.n.div_ceil(NR));
    let last = conv.taps.iter().max().map_or(0, |t| t + conv.segment);
    assert!(conv.a.1.end(h, w, last) <= conv.a.0.len(), "a is too short");
    assert!(conv.c.1.end(h, w, conv.n) <= conv.c.0.len(), "c is too short");
    assert!(conv.residual.is_none_or(|(r, at)| at.end(h, w, conv.n) <= r.len()), "residual is too short");
    assert_eq!(conv.b.len(), panels * NR * (k + 1), "b holds all panels");

    let c = Shared(std::mem::take(&mut conv.c.0).as_mut_ptr());
    let job = Job { conv: &conv, c };
    let groups = panels.div_ceil(GROUP_PANELS);
    // Blocks of equal size: a short last block would have short tiles.
    let blocks = m.div_ceil(BLOCK_TILES * S::GEMM_ROWS);
    parallel::for_each(blocks * groups, |task| {
        let block = task / groups;
        let (first, end) = (m * block / blocks, m * (block + 1) / blocks);
        let mut tiles = [Tile::default(); BLOCK_TILES];
        let count = job.fill_tiles(&mut tiles, first, end - first, S::GEMM_ROWS);
        let start = task % groups * GROUP_PANELS;
        for panel in start..panels.min(start + GROUP_PANELS) {
            // SAFETY: the asserts above cover every pixel of every tile; tasks differ in pixels or in panels.
            unsafe { job.panel::<S>(&tiles[..count], panel) };
        }
    });
}

impl Job<'_> {
    /// Covers `rows` pixels from `first` with tiles of `mr` and, near the end, of mr - 1, so that no short tile is left.
    fn fill_tiles(&self, tiles: &mut [Tile], first: usize, rows: usize, mr: usize) -> usize {
        let count = rows.div_ceil(mr);
        let (even, larger) = (rows / count, rows % count);
        let width = self.conv.size.1;
        let (mut y, mut x) = (first / width, first % width);
        for (i, tile) in tiles[..count].iter_mut().enumerate() {
            tile.rows = even + usize::from(i < larger);
            for row in 0..tile.rows {
                tile.a[row] = self.conv.a.1.at(y, x);
                tile.c[row] = self.conv.c.1.at(y, x);
                tile.r[row] = self.conv.residual.map_or(0, |(_, at)| at.at(y, x));
                x += 1;
                if x == width {
                    (y, x) = (y + 1, 0);
                }
            }
        }
        count
    }

    /// One panel of all tiles: never inlined, so that V8, which does not replace a running loop, soon calls its fast form.
    ///
    /// # Safety
    /// The tiles' indices must be within the slices, and no other task may write the same pixels and columns.
    #[inline(never)]
    unsafe fn panel<S: Simd>(&self, tiles: &[Tile], panel: usize) {
        for tile in tiles {
            // SAFETY: the caller's.
            unsafe {
                match tile.rows {
                    6 => self.tile::<S, 6>(tile, panel),
                    5 => self.tile::<S, 5>(tile, panel),
                    4 => self.tile::<S, 4>(tile, panel),
                    3 => self.tile::<S, 3>(tile, panel),
                    2 => self.tile::<S, 2>(tile, panel),
                    _ => self.tile::<S, 1>(tile, panel),
                }
            }
        }
    }

    /// R rows of one panel.
    ///
    /// # Safety
    /// As for [`Job::panel`].
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize>(&self, tile: &Tile, panel: usize) {
        let conv = self.conv;
        let k = conv.taps.len() * conv.segment;
        // SAFETY: conv_f32 asserted that b holds k + 1 rows a panel, and that every tap of every pixel lies in a.
        unsafe {
            let mut b = conv.b.as_ptr().add(panel * NR * (k + 1));
            let mut acc = [[S::load(b), S::load(b.add(4))]; R];
            for &tap in conv.taps {
                let mut a: [*const f32; R] = std::array::from_fn(|i| conv.a.0.as_ptr().add(tile.a[i] + tap));
                for _ in 0..conv.segment {
                    b = b.add(NR);
                    let (b0, b1) = (S::load(b), S::load(b.add(4)));
                    for i in 0..R {
                        let s = S::load_splat(a[i]);
                        acc[i][0] = S::madd(s, b0, acc[i][0]);
                        acc[i][1] = S::madd(s, b1, acc[i][1]);
                        a[i] = a[i].add(1);
                    }
                }
            }
            for (i, row) in acc.iter().enumerate() {
                self.store::<S>(row.map(|v| conv.activation.apply::<S>(v)), tile.c[i], tile.r[i], panel * NR);
            }
        }
    }

    /// Adds the residual and writes one row of a tile, through a copy where the panel reaches past n.
    ///
    /// # Safety
    /// `c` and `r` must be indices of pixels with n channels.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, row: [S::F32; 2], c: usize, r: usize, column: usize) {
        let width = NR.min(self.conv.n - column);
        // SAFETY: columns column..column + width of pixels c and r exist; the whole-vector path needs width = NR.
        unsafe {
            let to = self.c.0.add(c + column);
            let add = self.conv.residual.map(|(data, _)| data.as_ptr().add(r + column));
            if width == NR {
                for (j, v) in row.into_iter().enumerate() {
                    let v = add.map_or(v, |p| S::add(v, S::load(p.add(4 * j))));
                    S::store(to.add(4 * j), v);
                }
                return;
            }
            let mut copy = [0.0f32; NR];
            S::store(copy.as_mut_ptr(), row[0]);
            S::store(copy.as_mut_ptr().add(4), row[1]);
            for (j, v) in copy[..width].iter().enumerate() {
                *to.add(j) = v + add.map_or(0.0, |p| *p.add(j));
            }
        }
    }
}
