//! GeneralizedRCNNTransform: torchvision/models/detection/transform.py.
//!
//! Normalise, resize so that the shorter side is min_size and the longer at most max_size, or to a fixed size (bilinear, no
//! antialias), pad with zeros to a multiple of 32; and the way back for boxes.

use crate::image::Image;
use crate::kernels::resize_u8::{Normalise, bilinear, bilinear_room};
use crate::models::{Input, Output};
use crate::nn::boxes::{Box2d, Candidate};
use crate::nn::{Context, Map, Quantisation};
use crate::preprocess::{MEAN, STD, room, target};
use crate::simd::Best;
use std::sync::Arc;

const SIZE_DIVISIBLE: usize = 32;

/// The resized rows and columns of a picture of `h` x `w`: Python's floats, which are f64, then floored.
pub fn resized(h: usize, w: usize, min_size: usize, max_size: usize) -> (usize, usize) {
    let scale = (min_size as f64 / h.min(w) as f64).min(max_size as f64 / h.max(w) as f64);
    let side = |n: usize| ((n as f64 * scale).floor() as usize).max(1);
    (side(h), side(w))
}

/// The batch of one, padded, with a halo of 1, in the form that the first layer `reads`.
pub fn transform(
    cx: &mut Context,
    image: Image,
    (min_size, max_size): (usize, usize),
    reads: Option<&Arc<Quantisation>>,
) -> Input {
    let size = resized(image.height, image.width, min_size, max_size);
    let padded = |n: usize| n.div_ceil(SIZE_DIVISIBLE) * SIZE_DIVISIBLE;
    let map = room(cx, (padded(size.0), padded(size.1)), reads);
    resize(cx, image, size, map, Normalise::new(MEAN, STD))
}

/// The batch of one, `size` = [h, w] whatever the picture's shape, with a halo of 1, in the form that the first layer `reads`.
pub fn transform_fixed(
    cx: &mut Context,
    image: Image,
    size: (usize, usize),
    normalise: Normalise,
    reads: Option<&Arc<Quantisation>>,
) -> Input {
    let map = room(cx, size, reads);
    resize(cx, image, size, map, normalise)
}

fn resize(cx: &mut Context, image: Image, size: (usize, usize), mut map: Map, normalise: Normalise) -> Input {
    let outside = |y: usize| if y < size.0 { 3 * size.1 } else { 0 };
    match &mut map {
        Map::F32(map) => (0..map.h).for_each(|y| map.row_mut(y)[outside(y)..].fill(0.0)),
        Map::U8(map, to) => (0..map.h).for_each(|y| {
            let pixels = map.row_mut(y)[outside(y)..].chunks_exact_mut(3);
            pixels.for_each(|pixel| pixel.copy_from_slice(to.params.zero_point()));
        }),
    }
    let mut numbers = cx.workspace.take(bilinear_room((image.height, image.width), size));
    bilinear::<Best>(image, target(&mut map, size, normalise), &mut numbers);
    cx.workspace.give(numbers);
    Input { map, size }
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
