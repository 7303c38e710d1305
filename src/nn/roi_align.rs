//! torchvision/csrc/ops/cpu/roi_align_kernel.cpp, not aligned: each of size x size bins of a box is the mean of ratio x ratio
//! bilinear samples.

use super::Context;
use super::boxes::Box2d;
use crate::tensor::Tensor;

/// How the boxes are sampled.
#[derive(Clone, Copy, Debug)]
pub struct RoiAlign {
    /// Bins a side.
    pub output_size: usize,
    /// Samples a side of a bin.
    pub sampling_ratio: usize,
    /// Feature pixels a picture pixel.
    pub spatial_scale: f32,
}

impl RoiAlign {
    /// The bins of each box, [1, boxes, size * size * c] in the order (y, x, c): the rows of the first linear layer.
    pub fn forward(&self, cx: &mut Context, features: &Tensor, boxes: &[Box2d]) -> Tensor {
        let bins = self.output_size * self.output_size;
        let mut out = cx.workspace.tensor(1, boxes.len(), bins * features.c, 0);
        for (b, row) in boxes.iter().zip(out.data_mut().chunks_exact_mut(bins * features.c)) {
            self.pool(features, *b, row);
        }
        out
    }

    fn pool(&self, features: &Tensor, b: Box2d, out: &mut [f32]) {
        let (ratio, size) = (self.sampling_ratio, self.output_size);
        let (x, y) = (b[0] * self.spatial_scale, b[1] * self.spatial_scale);
        let w = (b[2] * self.spatial_scale - x).max(1.0) / size as f32;
        let h = (b[3] * self.spatial_scale - y).max(1.0) / size as f32;
        for (bin, out) in out.chunks_exact_mut(features.c).enumerate() {
            out.fill(0.0);
            for sample in 0..ratio * ratio {
                let part = |start: f32, bin: usize, step: f32, i: usize| {
                    start + bin as f32 * step + (i as f32 + 0.5) * step / ratio as f32
                };
                let sy = part(y, bin / size, h, sample / ratio);
                let sx = part(x, bin % size, w, sample % ratio);
                add_sample(features, sy, sx, 1.0 / (ratio * ratio) as f32, out);
            }
        }
    }
}

/// The two indices round `v` and the weight of the second; nothing where `v` is more than a pixel outside.
fn neighbours(v: f32, len: usize) -> Option<(usize, usize, f32)> {
    if !(-1.0..=len as f32).contains(&v) {
        return None;
    }
    let v = v.max(0.0);
    let low = v as usize;
    Some(if low >= len - 1 { (len - 1, len - 1, 0.0) } else { (low, low + 1, v - low as f32) })
}

/// out += weight * features at (y, x), bilinear.
fn add_sample(features: &Tensor, y: f32, x: f32, weight: f32, out: &mut [f32]) {
    let (Some((top, bottom, fy)), Some((left, right, fx))) = (neighbours(y, features.h), neighbours(x, features.w))
    else {
        return;
    };
    let c = features.c;
    let pixel = |y: usize, x: usize| &features.row(y)[x * c..][..c];
    let corners = [pixel(top, left), pixel(top, right), pixel(bottom, left), pixel(bottom, right)];
    let shares = [(1.0 - fy) * (1.0 - fx), (1.0 - fy) * fx, fy * (1.0 - fx), fy * fx].map(|s| s * weight);
    let [a, b, d, e] = corners;
    for (i, out) in out.iter_mut().enumerate() {
        *out += shares[0] * a[i] + shares[1] * b[i] + shares[2] * d[i] + shares[3] * e[i];
    }
}
