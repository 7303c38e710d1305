//! torchvision/csrc/ops/cpu/roi_align_kernel.cpp, not aligned: each of size x size bins of a box is the mean of ratio x ratio
//! bilinear samples.
//!
//! A sample's four weights are products of two of its row's and two of its column's, and the samples of a bin have rows and
//! columns in common: summed along each side first, the sixteen pixels of a bin are mostly four to nine.

use super::boxes::Box2d;
use super::{Context, Map, Quantisation};
use crate::kernels::elementwise_i8::Affine;
use crate::kernels::weighted_sum_f32::{weighted_sum_f32, weighted_sum_u8};
use crate::parallel;
use crate::simd::{Best, Exact};
use crate::tensor::Tensor;
use std::sync::Arc;

/// Most bins a side.
const MAX_BINS: usize = 7;
/// Most pixels of a bin along a side: two for each of two samples.
const MAX_PIXELS: usize = 4;

/// How the boxes are sampled.
#[derive(Clone, Copy, Debug)]
pub struct RoiAlign {
    /// Bins a side; 7 at most.
    pub output_size: usize,
    /// Samples a side of a bin; 2 at most.
    pub sampling_ratio: usize,
    /// Feature pixels a picture pixel.
    pub spatial_scale: f32,
    /// Whether every build must compute the same bits: int8 layers follow.
    pub exact: bool,
}

/// The rows, or the columns, that a bin is a weighted sum of: offsets and weights.
#[derive(Clone, Copy, Default)]
struct Lines {
    all: [(usize, f32); MAX_PIXELS],
    count: usize,
}

/// Writes the weighted sum of some pixels, by their offsets, as it lies in memory.
type Sum<'a> = dyn Fn(&[(usize, f32)], &mut [u8]) + Sync + 'a;

impl Lines {
    fn add(&mut self, offset: usize, weight: f32) {
        match self.all[..self.count].iter_mut().find(|(known, _)| *known == offset) {
            Some((_, sum)) => *sum += weight,
            None => {
                self.all[self.count] = (offset, weight);
                self.count += 1;
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, f32)> {
        self.all.into_iter().take(self.count)
    }
}

impl RoiAlign {
    /// The bins of each box, [1, boxes, size * size * c] in the order (y, x, c): the rows of the first linear layer. `bytes` has
    /// the constants of a pixel's channels, in eights, and what a row's bytes mean, where that layer reads bytes.
    pub fn forward(
        &self,
        cx: &mut Context,
        features: &Tensor,
        boxes: &[Box2d],
        bytes: Option<(&Affine, &Arc<Quantisation>)>,
    ) -> Map {
        let row = self.output_size * self.output_size * features.c;
        let x = features.data();
        if let Some((affine, quantisation)) = bytes {
            let mut out = cx.workspace.tensor_u8(1, boxes.len(), 0, quantisation.params.zero_point());
            assert_eq!(out.c, row, "the parameters of a row");
            self.pool(features, boxes, out.data_mut(), &|terms, bin| weighted_sum_u8::<Exact>(x, terms, affine, bin));
            return Map::U8(out, quantisation.clone());
        }
        let mut out = cx.workspace.tensor(1, boxes.len(), row, 0);
        let sum = if self.exact { weighted_sum_f32::<Exact> } else { weighted_sum_f32::<Best> };
        let floats = bytemuck::cast_slice_mut(out.data_mut());
        self.pool(features, boxes, floats, &|terms, bin| sum(x, terms, bytemuck::cast_slice_mut(bin)));
        Map::F32(out)
    }

    /// Has `sum` write each bin of each box. One body for floats and bytes, which is half the code.
    fn pool(&self, features: &Tensor, boxes: &[Box2d], out: &mut [u8], sum: &Sum) {
        let (size, bins) = (self.output_size, self.output_size * self.output_size);
        let bytes = out.len() / boxes.len().max(1);
        let cost = (self.sampling_ratio + 1).pow(2) * bins * features.c * parallel::DEPTHWISE;
        parallel::for_each_chunk(out, bytes.max(1), cost, |i, out| {
            let b = boxes[i].map(|v| v * self.spatial_scale);
            let rows = self.lines((b[1], b[3]), features.h, features.row_pitch());
            let columns = self.lines((b[0], b[2]), features.w, features.c);
            for (bin, out) in out.chunks_exact_mut(bytes / bins).enumerate() {
                let (mut terms, mut count) = ([(0, 0.0); MAX_PIXELS * MAX_PIXELS], 0);
                for (y, fy) in rows[bin / size].iter() {
                    for (x, fx) in columns[bin % size].iter() {
                        terms[count] = (features.origin() + y + x, fy * fx);
                        count += 1;
                    }
                }
                sum(&terms[..count], out);
            }
        });
    }

    /// The lines of each bin of a box that reaches from `start` to `end` on a side of `len` pixels, `pitch` apart. A sample more
    /// than a pixel outside adds nothing, and counts.
    fn lines(&self, (start, end): (f32, f32), len: usize, pitch: usize) -> [Lines; MAX_BINS] {
        let (size, ratio) = (self.output_size, self.sampling_ratio);
        assert!(size <= MAX_BINS && 2 * ratio <= MAX_PIXELS, "7 bins and 2 samples a side at most");
        let step = (end - start).max(1.0) / size as f32;
        let mut lines = [Lines::default(); MAX_BINS];
        for (bin, lines) in lines.iter_mut().enumerate().take(size) {
            let corner = start + bin as f32 * step;
            for i in 0..ratio {
                let v = corner + (i as f32 + 0.5) * step / ratio as f32;
                for (index, weight) in neighbours(v, len).into_iter().flatten() {
                    lines.add(index * pitch, weight / ratio as f32);
                }
            }
        }
        lines
    }
}

/// The two indices round `v` with their weights; nothing where `v` is more than a pixel outside.
fn neighbours(v: f32, len: usize) -> Option<[(usize, f32); 2]> {
    if !(-1.0..=len as f32).contains(&v) {
        return None;
    }
    let v = v.max(0.0);
    let low = v as usize;
    let f = v - low as f32;
    Some(if low >= len - 1 { [(len - 1, 1.0), (len - 1, 0.0)] } else { [(low, 1.0 - f), (low + 1, f)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample as upstream takes it, its four corners one after the other.
    fn sample(features: &Tensor, (y, x): (f32, f32), c: usize) -> f32 {
        let (h, w) = (features.h, features.w);
        if y < -1.0 || y > h as f32 || x < -1.0 || x > w as f32 {
            return 0.0;
        }
        let corners = |v: f32, len: usize| {
            let low = (v.max(0.0) as usize).min(len - 1);
            (low, (low + 1).min(len - 1), if low == len - 1 { 0.0 } else { v.max(0.0) - low as f32 })
        };
        let ((top, bottom, fy), (left, right, fx)) = (corners(y, h), corners(x, w));
        let at = |y: usize, x: usize| features.row(y)[x * features.c + c];
        (1.0 - fy) * ((1.0 - fx) * at(top, left) + fx * at(top, right))
            + fy * ((1.0 - fx) * at(bottom, left) + fx * at(bottom, right))
    }

    fn pooled(features: &Tensor, align: &RoiAlign, b: Box2d) -> Vec<f32> {
        let (size, ratio) = (align.output_size, align.sampling_ratio);
        let b = b.map(|v| v * align.spatial_scale);
        let step = |start: f32, end: f32| (end - start).max(1.0) / size as f32;
        let (h, w) = (step(b[1], b[3]), step(b[0], b[2]));
        let at = |start: f32, step: f32, bin: usize, i: usize| {
            start + bin as f32 * step + (i as f32 + 0.5) * step / ratio as f32
        };
        let bin = |i: usize, c: usize| {
            let samples = (0..ratio * ratio).map(|s| {
                let (y, x) = (at(b[1], h, i / size, s / ratio), at(b[0], w, i % size, s % ratio));
                sample(features, (y, x), c)
            });
            samples.sum::<f32>() / (ratio * ratio) as f32
        };
        (0..size * size * features.c).map(|i| bin(i / features.c, i % features.c)).collect()
    }

    const BOXES: [Box2d; 7] = [
        [0.0, 0.0, 40.0, 52.0],
        // Smaller than a pixel; larger than the map; outside on each side, by less and by more than a pixel.
        [17.0, 9.0, 18.0, 10.0],
        [-90.0, -70.0, 200.0, 300.0],
        [-7.0, -60.0, 21.0, 3.0],
        [30.0, 44.0, 47.5, 60.0],
        [300.0, 300.0, 310.0, 330.0],
        // Samples on pixels.
        [0.0, 0.0, 56.0, 112.0],
    ];

    #[test]
    fn bins_are_the_means_of_their_samples() {
        let mut cx = Context::default();
        for (halo, c, output_size, sampling_ratio) in [(1, 3, 7, 2), (0, 24, 7, 2), (2, 17, 3, 1)] {
            let mut features = cx.workspace.tensor(13, 10, c, halo);
            for y in 0..13 {
                features
                    .row_mut(y)
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, v)| *v = ((y * 31 + i * 7) % 23) as f32 - 11.0);
            }
            let align = RoiAlign { output_size, sampling_ratio, spatial_scale: 0.25, exact: false };
            let got = align.forward(&mut cx, &features, &BOXES, None).into_f32(&mut cx);
            for (b, got) in BOXES.into_iter().zip(got.data().chunks_exact(got.c)) {
                let want = pooled(&features, &align, b);
                let off = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-4, "{b:?} of {c} channels is off by {off}");
            }
        }
    }

    #[test]
    fn bytes_are_those_of_the_floats() {
        let (mut cx, c) = (Context::default(), 24);
        let mut features = cx.workspace.tensor(13, 10, c, 1);
        for y in 0..13 {
            features.row_mut(y).iter_mut().enumerate().for_each(|(i, v)| *v = ((y * 31 + i * 7) % 23) as f32 * 0.37);
        }
        let scale = (0..c).map(|c| 0.01 + 0.003 * c as f32).collect();
        let params = crate::quant::QParams::new("pooled", c, scale, (0..c).map(|c| c as u8).collect()).unwrap();
        let (pixel, row) = (Quantisation::new(params.clone()), Arc::new(Quantisation::new(params.repeated(49))));
        let align = RoiAlign { output_size: 7, sampling_ratio: 2, spatial_scale: 0.25, exact: true };
        let floats = align.forward(&mut cx, &features, &BOXES, None).into_f32(&mut cx);
        let Map::U8(got, _) = align.forward(&mut cx, &features, &BOXES, Some((&pixel.affine, &row))) else {
            panic!("bytes were asked for");
        };
        let want: Vec<u8> = floats.data().iter().enumerate().map(|(i, x)| params.quantise(*x, i % c)).collect();
        assert_eq!(got.data(), want);
        assert!(want.iter().any(|q| *q > 60), "bytes of all sizes");
    }

    /// Bins of a pixel, of less, which may lie over two borders, and of almost three.
    #[test]
    fn a_bin_has_each_pixel_once() {
        let align = RoiAlign { output_size: 7, sampling_ratio: 2, spatial_scale: 1.0, exact: false };
        let most = |start: f32, end: f32| align.lines((start, end), 20, 1).iter().map(|l| l.count).max().unwrap();
        assert_eq!((most(0.0, 7.0), most(3.0, 5.0), most(0.0, 20.0)), (2, 3, 4));
        let sums = align.lines((0.2, 18.7), 20, 1).map(|lines| lines.iter().map(|(_, w)| w).sum::<f32>());
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
    }
}
