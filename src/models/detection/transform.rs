//! GeneralizedRCNNTransform: torchvision/models/detection/transform.py.
//!
//! Normalise, resize so that the shorter side is min_size and the longer at most max_size, or to a fixed size (bilinear, no
//! antialias), pad with zeros to a multiple of 32; and the way back for boxes.

use crate::image::Image;
use crate::kernels::Pixels;
use crate::kernels::resize_u8::{Normalise, Target, bilinear, bilinear_room};
use crate::models::{Input, Output};
use crate::nn::Context;
use crate::nn::boxes::{Box2d, Candidate};
use crate::preprocess::{MEAN, STD};
use crate::simd::Best;

const SIZE_DIVISIBLE: usize = 32;

/// The resized rows and columns of a picture of `h` x `w`: Python's floats, which are f64, then floored.
pub fn resized(h: usize, w: usize, min_size: usize, max_size: usize) -> (usize, usize) {
    let scale = (min_size as f64 / h.min(w) as f64).min(max_size as f64 / h.max(w) as f64);
    let side = |n: usize| ((n as f64 * scale).floor() as usize).max(1);
    (side(h), side(w))
}

/// The batch of one, padded, with a halo of 1.
pub fn transform(cx: &mut Context, image: Image, min_size: usize, max_size: usize) -> Input {
    let size = resized(image.height, image.width, min_size, max_size);
    let padded = |n: usize| n.div_ceil(SIZE_DIVISIBLE) * SIZE_DIVISIBLE;
    resize(cx, image, size, (padded(size.0), padded(size.1)), Normalise::new(MEAN, STD))
}

/// The batch of one, `size` = [h, w] whatever the picture's shape, with a halo of 1.
pub fn transform_fixed(cx: &mut Context, image: Image, size: (usize, usize), normalise: Normalise) -> Input {
    resize(cx, image, size, size, normalise)
}

fn resize(cx: &mut Context, image: Image, size: (usize, usize), padded: (usize, usize), normalise: Normalise) -> Input {
    cx.workspace.next_run();
    let mut tensor = cx.workspace.tensor(padded.0, padded.1, 3, 1);
    for y in 0..tensor.h {
        let outside = if y < size.0 { 3 * size.1 } else { 0 };
        tensor.row_mut(y)[outside..].fill(0.0);
    }
    let at = Pixels { start: tensor.origin(), row: tensor.row_pitch(), pixel: 3 };
    let mut room = cx.workspace.take(bilinear_room((image.height, image.width), size));
    bilinear::<Best>(image, Target { size, normalise, out: (tensor.data_mut(), at) }, &mut room);
    cx.workspace.give(room);
    Input { tensor, size }
}

/// Detections on a picture of `size` in pixels of the `source`, both [h, w].
pub fn restore(
    cx: &mut Context,
    found: Vec<Candidate>,
    size: (usize, usize),
    source: (usize, usize),
    output: &mut Output,
) {
    output.detections.clear();
    output.detections.extend(found.iter().map(|d| Candidate { b: resize_box(d.b, size, source), ..*d }));
    cx.workspace.give_list(found);
}

fn resize_box(b: Box2d, from: (usize, usize), to: (usize, usize)) -> Box2d {
    let (y, x) = (to.0 as f32 / from.0 as f32, to.1 as f32 / from.1 as f32);
    [b[0] * x, b[1] * y, b[2] * x, b[3] * y]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What TorchVision's own function gives; with a scale or a product in f32 a side of some of these is one more or less.
    #[test]
    fn sides_are_floored_as_in_python() {
        for (h, w, min_size, max_size, want) in [
            (427, 640, 320, 640, (320, 479)),
            (480, 640, 320, 640, (320, 426)),
            (100, 1000, 320, 640, (64, 640)),
            (3456, 5184, 320, 640, (320, 480)),
            (334, 500, 800, 1333, (799, 1197)),
            (682, 1024, 800, 1333, (800, 1201)),
            (396, 640, 800, 1333, (800, 1292)),
        ] {
            assert_eq!(resized(h, w, min_size, max_size), want, "{h} x {w}");
        }
    }
}
