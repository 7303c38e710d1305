//! Dense 3x3 convolution at stride 1 by Winograd's F(2x2, 3x3), Lavin and Gray 2015, section 4.1:
//! y = activation(A^T (sum over c of (G g G^T) * (B^T d B)) A + bias), * by element, of the 4x4 inputs d that a tile of 2x2 outputs sees.
//!
//! ```text
//! for band of up to 64 tiles, or a row of them
//!     for tile, for c: v[0..16][tile, c] = B^T d B
//!     for i in 0..16: m[i] = v[i] u[i]                          (conv_f32; u = G g G^T, once)
//!     for tile, for n: y = activation(A^T m A + bias)
//! ```
//! 16 multiplications for the 36 of four outputs; the transforms only add. The sums are rounded otherwise than [`super::conv_f32`]'s, so a layer
//! whose bits must not depend on the build stays with that one.

use super::activation::activate;
use super::conv_f32::{Conv, Tap, conv_f32};
use super::pack_f32::PackedB;
use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;

/// Elements of a transformed tile.
const ELEMENTS: usize = 16;
/// Tiles of a band: enough for the products to be worth the reading of u, few enough for v and m to take little memory.
const BAND: usize = 64;

/// The transformed weights: panels for each of the [`ELEMENTS`], and the bias.
#[derive(Debug)]
pub struct PackedWinograd {
    elements: Vec<PackedB>,
    bias: Vec<f32>,
    channels: usize,
}

impl PackedWinograd {
    /// Panels for `bias` [n] and weights of `channels` that [`PackedWinograd::set_output`] gives.
    pub fn new(bias: &[f32], channels: usize) -> PackedWinograd {
        assert!(channels.is_multiple_of(4) && bias.len().is_multiple_of(4), "channels come in fours");
        let none = vec![0.0; bias.len()];
        let elements = (0..ELEMENTS).map(|_| PackedB::new(&none, channels)).collect();
        PackedWinograd { elements, bias: bias.to_vec(), channels }
    }

    /// Sets the weights of output channel `n`: `weight(tap, channel)`, the taps row by row.
    pub fn set_output(&mut self, n: usize, weight: impl Fn(usize, usize) -> f32) {
        let transformed: Vec<[f32; ELEMENTS]> =
            (0..self.channels).map(|c| transform_weight(&std::array::from_fn(|tap| weight(tap, c)))).collect();
        for (i, packed) in self.elements.iter_mut().enumerate() {
            packed.set_column(n, transformed.iter().map(|u| u[i]));
        }
    }

    /// Output channels.
    pub fn n(&self) -> usize {
        self.bias.len()
    }

    /// Floats of scratch for a picture of `size`.
    pub fn scratch(&self, size: (usize, usize)) -> usize {
        let (rows, columns) = band(size);
        ELEMENTS * rows * columns * (self.channels + self.n()) + self.channels
    }
}

/// Rows and columns of tiles of 2x2 outputs in a band of a picture of `size`.
fn band((h, w): (usize, usize)) -> (usize, usize) {
    let (rows, columns) = (h.div_ceil(2), w.div_ceil(2));
    ((BAND / columns.max(1)).clamp(1, rows.max(1)), columns)
}

/// G g G^T with G = [[1, 0, 0], [1, 1, 1] / 2, [1, -1, 1] / 2, [0, 0, 1]].
fn transform_weight(g: &[f32; 9]) -> [f32; ELEMENTS] {
    let side = |[a, b, c]: [f64; 3]| [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c];
    let rows: [[f64; 4]; 3] = std::array::from_fn(|y| side(std::array::from_fn(|x| f64::from(g[3 * y + x]))));
    let columns: [[f64; 4]; 4] = std::array::from_fn(|x| side(std::array::from_fn(|y| rows[y][x])));
    std::array::from_fn(|i| columns[i % 4][i / 4] as f32)
}

/// T d T^T of 4x4 elements d, where `side` is T times a column.
#[inline(always)]
fn both_sides<V: Copy, const N: usize>(d: [V; ELEMENTS], side: impl Fn([V; 4]) -> [V; N]) -> [[V; N]; N] {
    let columns: [[V; N]; 4] = std::array::from_fn(|x| side(std::array::from_fn(|y| d[4 * y + x])));
    std::array::from_fn(|y| side(std::array::from_fn(|x| columns[x][y])))
}

/// What to compute.
pub struct Winograd<'a> {
    /// Rows and columns, of the output as of the input.
    pub size: (usize, usize),
    /// The input, and where the first tap of pixel (0, 0) lies: its halo is one pixel wide at least.
    pub a: (&'a [f32], Pixels),
    /// The weights.
    pub b: &'a PackedWinograd,
    /// Applied to the sum.
    pub activation: Activation,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
}

/// Runs `x` with the words of `S`, in `scratch` of as many floats as its weights say.
///
/// # Panics
/// When a slice is too short.
pub fn winograd_f32<S: Simd>(mut x: Winograd, scratch: &mut [f32]) {
    let ((h, w), channels, n) = (x.size, x.b.channels, x.b.n());
    if h == 0 || w == 0 {
        return;
    }
    assert!(x.a.1.end(h + 2, w + 2, channels) <= x.a.0.len(), "a is too short");
    assert!(x.c.1.end(h, w, n) <= x.c.0.len(), "c is too short");
    assert_eq!(scratch.len(), x.b.scratch(x.size), "scratch as asked for");

    let (zeros, scratch) = scratch.split_at_mut(channels);
    zeros.fill(0.0);
    let c = Shared(std::mem::take(&mut x.c.0).as_mut_ptr());
    let (rows, columns) = band(x.size);
    for top in (0..h.div_ceil(2)).step_by(rows) {
        let count = rows.min(h.div_ceil(2) - top) * columns;
        let (v, m) = scratch.split_at_mut(ELEMENTS * rows * columns * channels);
        let (v, m) = (&mut v[..ELEMENTS * count * channels], &mut m[..ELEMENTS * count * n]);
        let band = Band { x: &x, top, columns, count };
        let (zeros, to) = (&*zeros, Shared(v.as_mut_ptr()));
        // SAFETY: the asserts cover the tiles' inputs; tasks differ in tiles.
        let input = |tile| unsafe { band.input_tile::<S>(tile, zeros, to) };
        parallel::for_each(count, channels * ELEMENTS * parallel::ELEMENT, input);
        multiply::<S>(x.b, v, m, count);
        // SAFETY: the asserts cover the tiles' outputs; tasks differ in tiles.
        let output = |tile| unsafe { band.output_tile::<S>(tile, m, c) };
        parallel::for_each(count, n * ELEMENTS * parallel::ELEMENT, output);
    }
}

/// m[i] = v[i] u[i] of `count` tiles.
fn multiply<S: Simd>(b: &PackedWinograd, v: &[f32], m: &mut [f32], count: usize) {
    let (channels, n) = (b.channels, b.n());
    let products = v.chunks_exact(count * channels).zip(m.chunks_exact_mut(count * n)).zip(&b.elements);
    for ((v, m), b) in products {
        conv_f32::<S>(Conv {
            size: (1, count),
            a: (v, Pixels { start: 0, row: 0, pixel: channels }),
            taps: &[Tap::default()],
            segment: channels,
            b: b.data(),
            k: channels,
            n,
            activation: Activation::Identity,
            residual: None,
            c: (m, Pixels { start: 0, row: 0, pixel: n }),
        });
    }
}

/// Some rows of tiles: the first one, the tiles of a row, and all.
struct Band<'a> {
    x: &'a Winograd<'a>,
    top: usize,
    columns: usize,
    count: usize,
}

impl Band<'_> {
    /// The first output pixel of a tile.
    fn pixel(&self, tile: usize) -> (usize, usize) {
        (2 * (self.top + tile / self.columns), 2 * (tile % self.columns))
    }

    /// v[.][tile, .] = B^T d B, with B^T = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]].
    ///
    /// # Safety
    /// The tile must be one of the picture, `v` have room for every tile, and no other task write this one.
    unsafe fn input_tile<S: Simd>(&self, tile: usize, zeros: &[f32], v: Shared) {
        let (x, (top, left)) = (self.x, self.pixel(tile));
        let ((h, w), channels) = (x.size, x.b.channels);
        // An odd side's last tile sees a pixel behind the halo.
        let from: [&[f32]; ELEMENTS] = std::array::from_fn(|i| {
            let (y, x_) = (top + i / 4, left + i % 4);
            if y < h + 2 && x_ < w + 2 { &x.a.0[x.a.1.at(y, x_)..][..channels] } else { zeros }
        });
        for ch in (0..channels).step_by(4) {
            // SAFETY: each of the slices has `channels` floats; the rest is the caller's.
            unsafe {
                let d: [S::F32; ELEMENTS] = std::array::from_fn(|i| S::load(from[i].as_ptr().add(ch)));
                let side = |[a, b, c, d]: [S::F32; 4]| [S::sub(a, c), S::add(b, c), S::sub(c, b), S::sub(b, d)];
                for (i, out) in both_sides(d, side).as_flattened().iter().enumerate() {
                    S::store(v.at((i * self.count + tile) * channels + ch), *out);
                }
            }
        }
    }

    /// The outputs of a tile, activation(A^T m A + bias), with A^T = [[1, 1, 1, 0], [0, 1, -1, -1]].
    ///
    /// # Safety
    /// The tile must be one of the picture, and no other task write this one.
    unsafe fn output_tile<S: Simd>(&self, tile: usize, m: &[f32], c: Shared) {
        let (x, (top, left)) = (self.x, self.pixel(tile));
        let ((h, w), n) = (x.size, x.b.n());
        let from: [&[f32]; ELEMENTS] = std::array::from_fn(|i| &m[(i * self.count + tile) * n..][..n]);
        for ch in (0..n).step_by(4) {
            // SAFETY: each of the slices has n floats, as the bias has; the outputs are in the picture.
            unsafe {
                let m: [S::F32; ELEMENTS] = std::array::from_fn(|i| S::load(from[i].as_ptr().add(ch)));
                let side = |[a, b, c, d]: [S::F32; 4]| [S::add(S::add(a, b), c), S::sub(S::sub(b, c), d)];
                let bias = S::load(x.b.bias.as_ptr().add(ch));
                let out = both_sides(m, side).map(|row| row.map(|v| S::add(v, bias)));
                for (y, out) in activate::<S, 2, 2>(x.activation, out).into_iter().enumerate() {
                    for (x_, out) in out.into_iter().enumerate() {
                        let (y, x_) = (top + y, left + x_);
                        if y < h && x_ < w {
                            S::store(c.at(x.c.1.at(y, x_) + ch), out);
                        }
                    }
                }
            }
        }
    }
}
