//! torchvision/csrc/ops/cpu/roi_align_kernel.cpp, not aligned: each of size x size bins of a box is the mean of ratio x ratio
//! bilinear samples.

use super::Context;
use super::boxes::Box2d;
use crate::kernels::weighted_sum_f32::weighted_sum_f32;
use crate::parallel;
use crate::simd::{Best, Exact};
use crate::tensor::Tensor;

/// Corners of all samples of a bin.
const MAX_TERMS: usize = 16;

/// How the boxes are sampled.
#[derive(Clone, Copy, Debug)]
pub struct RoiAlign {
    /// Bins a side.
    pub output_size: usize,
    /// Samples a side of a bin.
    pub sampling_ratio: usize,
    /// Feature pixels a picture pixel.
    pub spatial_scale: f32,
    /// Whether every build must compute the same bits: int8 layers follow.
    pub exact: bool,
}

impl RoiAlign {
    /// The bins of each box, [1, boxes, size * size * c] in the order (y, x, c): the rows of the first linear layer.
    pub fn forward(&self, cx: &mut Context, features: &Tensor, boxes: &[Box2d]) -> Tensor {
        let row = self.output_size * self.output_size * features.c;
        let mut out = cx.workspace.tensor(1, boxes.len(), row, 0);
        let cost = 4 * self.sampling_ratio * self.sampling_ratio * row * parallel::DEPTHWISE;
        parallel::for_each_chunk(out.data_mut(), row, cost, |i, row| self.pool(features, boxes[i], row));
        out
    }

    fn pool(&self, features: &Tensor, b: Box2d, out: &mut [f32]) {
        let size = self.output_size;
        let (x, y) = (b[0] * self.spatial_scale, b[1] * self.spatial_scale);
        let w = (b[2] * self.spatial_scale - x).max(1.0) / size as f32;
        let h = (b[3] * self.spatial_scale - y).max(1.0) / size as f32;
        let mut terms = [(0, 0.0); MAX_TERMS];
        for (bin, out) in out.chunks_exact_mut(features.c).enumerate() {
            let corner = (y + (bin / size) as f32 * h, x + (bin % size) as f32 * w);
            let count = self.terms(features, corner, (h, w), &mut terms);
            let sum = if self.exact { weighted_sum_f32::<Exact> } else { weighted_sum_f32::<Best> };
            sum(features.data(), &terms[..count], out);
        }
    }

    /// The pixels that the bin of `size` at `corner` is a weighted sum of, both (y, x); returns how many.
    fn terms(&self, features: &Tensor, corner: (f32, f32), size: (f32, f32), terms: &mut [(usize, f32)]) -> usize {
        let ratio = self.sampling_ratio;
        assert!(4 * ratio * ratio <= terms.len(), "a sampling ratio of 2 at most");
        let at = |start: f32, step: f32, i: usize| start + (i as f32 + 0.5) * step / ratio as f32;
        let mut count = 0;
        for sample in 0..ratio * ratio {
            let y = neighbours(at(corner.0, size.0, sample / ratio), features.h);
            let x = neighbours(at(corner.1, size.1, sample % ratio), features.w);
            let (Some(ys), Some(xs)) = (y, x) else { continue };
            for ((row, fy), (column, fx)) in ys.into_iter().flat_map(|y| xs.map(|x| (y, x))) {
                let offset = features.origin() + row * features.row_pitch() + column * features.c;
                terms[count] = (offset, fy * fx / (ratio * ratio) as f32);
                count += 1;
            }
        }
        count
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
