//! GeneralizedRCNNTransform: torchvision/models/detection/transform.py.
//!
//! Normalise, resize so that the shorter side is min_size and the longer at most max_size (bilinear, no antialias), pad with
//! zeros to a multiple of 32; and the way back for boxes.

use crate::image::Image;
use crate::kernels::resize_f32::bilinear_row;
use crate::nn::Context;
use crate::nn::boxes::Box2d;
use crate::tensor::Tensor;

const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
const SIZE_DIVISIBLE: usize = 32;

/// The resized rows and columns of a picture of `h` x `w`: the scale and the product are f32 in TorchVision, then floored.
pub fn resized(h: usize, w: usize, min_size: usize, max_size: usize) -> (usize, usize) {
    let scale = (min_size as f32 / h.min(w) as f32).min(max_size as f32 / h.max(w) as f32);
    let side = |n: usize| ((n as f32 * scale).floor() as usize).max(1);
    (side(h), side(w))
}

/// The batch of one, [h padded, w padded, 3] with a halo of 1, and the size before the padding.
pub fn transform(cx: &mut Context, image: Image, min_size: usize, max_size: usize) -> (Tensor, (usize, usize)) {
    let size = resized(image.height, image.width, min_size, max_size);
    let padded = |n: usize| n.div_ceil(SIZE_DIVISIBLE) * SIZE_DIVISIBLE;
    let source = normalise(cx, image);
    let mut out = cx.workspace.tensor(padded(size.0), padded(size.1), 3, 1);
    let mut column = cx.workspace.take(source.w * 3);
    for y in 0..out.h {
        let (inside, outside) = out.row_mut(y).split_at_mut(size.1 * 3);
        outside.fill(0.0);
        match y < size.0 {
            true => bilinear_row(&source, size, y, &mut column, inside),
            false => inside.fill(0.0),
        }
    }
    cx.workspace.give(column);
    cx.workspace.give_tensor(source);
    (out, size)
}

/// (value / 255 - mean) / std, [h, w, 3].
fn normalise(cx: &mut Context, image: Image) -> Tensor {
    let mut out = cx.workspace.tensor(image.height, image.width, 3, 0);
    for y in 0..image.height {
        for (to, rgba) in out.row_mut(y).chunks_exact_mut(3).zip(image.row(y).chunks_exact(4)) {
            for c in 0..3 {
                to[c] = (f32::from(rgba[c]) / 255.0 - MEAN[c]) / STD[c];
            }
        }
    }
    out
}

/// A box of the resized picture in pixels of the source, both [h, w].
pub fn resize_box(b: Box2d, from: (usize, usize), to: (usize, usize)) -> Box2d {
    let (y, x) = (to.0 as f32 / from.0 as f32, to.1 as f32 / from.1 as f32);
    [b[0] * x, b[1] * y, b[2] * x, b[3] * y]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 427 * (320 / 427) is 320 in f32 and just below it in f64: the f64 product lost a row.
    #[test]
    fn a_side_that_f64_would_floor_to_one_less() {
        assert_eq!(resized(427, 640, 320, 640), (320, 479));
        assert_eq!(resized(480, 640, 320, 640), (320, 426));
        assert_eq!(resized(100, 1000, 320, 640), (64, 640));
    }
}
