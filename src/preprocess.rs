//! TorchVision's presets: torchvision/transforms/_presets.py. The detectors' own transform is in [`crate::models::detection`].

use crate::image::Image;
use crate::kernels::antialias_u8::{antialias, antialias_room};
use crate::kernels::resize_u8::{Crop, Normalise, Out, Target};
use crate::nn::{Context, Map, Quantisation, pixels};
use crate::simd::Best;
use std::sync::Arc;

/// ImageNet's mean of each channel, of values 0 to 1.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's standard deviation of each channel.
pub const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// torchvision's resize to a shorter side of `side`: the longer is floored.
#[inline(never)]
pub fn short_side((h, w): (usize, usize), side: usize) -> (usize, usize) {
    let longer = |long: usize, short: usize| (side as u64 * long as u64 / short as u64).max(1) as usize;
    if h <= w { (side, longer(w, h)) } else { (longer(h, w), side) }
}

/// Room for the input of a network, [h, w, 3] with a halo of 1, at the beginning of a run: bytes where its first layer `reads` such, but for whom
/// watches values.
pub fn room(cx: &mut Context, (h, w): (usize, usize), reads: Option<&Arc<Quantisation>>) -> Map {
    cx.workspace.next_run();
    match reads.filter(|_| cx.observer.is_none() && cx.activations.is_none()) {
        Some(to) => Map::U8(cx.workspace.tensor_u8(h, w, 1, to.params.zero_point()), to.clone()),
        None => Map::F32(cx.workspace.tensor(h, w, 3, 1)),
    }
}

/// What to resize a picture of `size` into, in the corner of such a room.
pub fn target(room: &mut Map, size: (usize, usize), normalise: Normalise) -> Target<'_> {
    let (at, out) = match room {
        Map::F32(out) => (pixels(out), Out::F32(out.data_mut())),
        Map::U8(out, to) => (pixels(out), Out::U8(out.data_mut(), &to.affine)),
    };
    Target { size, normalise, out: (out, at) }
}

/// `size` pixels, [h, w], of `image` resized as `crop` says.
fn resize(cx: &mut Context, image: Image, crop: Crop, size: (usize, usize), reads: Option<&Arc<Quantisation>>) -> Map {
    let mut out = room(cx, size, reads);
    let mut numbers = cx.workspace.take::<f32>(antialias_room((image.height, image.width), crop.of, size));
    let target = target(&mut out, size, Normalise::new(MEAN, STD));
    antialias::<Best>(image, crop, target, bytemuck::cast_slice_mut(&mut numbers));
    cx.workspace.give(numbers);
    out
}

/// SemanticSegmentation: `image` with a shorter side of `side`, antialiased, rounded to 8 bits and normalised, [h, w, 3] with a
/// halo of 1, as its [`room`] is.
pub fn segmentation(cx: &mut Context, image: Image, side: usize, reads: Option<&Arc<Quantisation>>) -> Map {
    let size = short_side((image.height, image.width), side);
    resize(cx, image, Crop::whole(size), size, reads)
}

/// ImageClassification: the square of `crop` pixels a side in the middle of what [`segmentation`] makes of `image`, [crop, crop, 3]
/// with a halo of 1.
///
/// # Panics
/// When the crop is larger than the resized picture.
pub fn classification(
    cx: &mut Context,
    image: Image,
    side: usize,
    crop: usize,
    reads: Option<&Arc<Quantisation>>,
) -> Map {
    let of = short_side((image.height, image.width), side);
    let corner = (crop_start(of.0, crop), crop_start(of.1, crop));
    resize(cx, image, Crop { of, corner }, (crop, crop), reads)
}

/// Where torchvision's center_crop begins: half of what is left, rounded to even where it is no whole number.
fn crop_start(side: usize, crop: usize) -> usize {
    let twice = side - crop;
    (twice / 2).next_multiple_of(if twice % 2 == 1 { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_round_half_to_even() {
        // Python's round(): 16.0, 37.5, 36.5, 0.5, 1.5.
        let starts = [(256, 224), (299, 224), (297, 224), (225, 224), (227, 224), (224, 224)];
        assert_eq!(starts.map(|(side, crop)| crop_start(side, crop)), [16, 38, 36, 0, 2, 0]);
    }

    /// Resized to its own size, so that the crop alone is seen.
    #[test]
    fn classification_takes_the_middle() {
        let (h, w) = (8, 12);
        let rgba: Vec<u8> = (0..h * w).flat_map(|i| [i as u8; 4]).collect();
        let mut cx = Context::default();
        let out = classification(&mut cx, Image::new(&rgba, w, h).unwrap(), 8, 4, None).into_f32(&mut cx);
        let value = |y: usize, x: usize| (out.row(y)[3 * x] * STD[0] + MEAN[0]) * 255.0;
        assert_eq!((out.h, out.w, out.c, out.halo), (4, 4, 3, 1));
        for (y, x) in [(0, 0), (0, 3), (3, 0), (3, 3)] {
            let want = ((2 + y) * w + 4 + x) as f32;
            assert!((value(y, x) - want).abs() < 1e-3, "({y}, {x}) is {}, should be {want}", value(y, x));
        }
    }
}
