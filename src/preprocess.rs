//! TorchVision's presets: torchvision/transforms/_presets.py. The detectors' own transform is in [`crate::models::detection`].

use crate::image::Image;
use crate::kernels::Pixels;
use crate::kernels::resize_u8::{Normalise, Target, antialias, antialias_room};
use crate::nn::Context;
use crate::simd::Best;
use crate::tensor::Tensor;

/// ImageNet's mean of each channel, of values 0 to 1.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's standard deviation of each channel.
pub const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// torchvision's resize to a shorter side of `side`: the longer is floored.
pub fn short_side((h, w): (usize, usize), side: usize) -> (usize, usize) {
    let longer = |long: usize, short: usize| (side * long / short).max(1);
    if h <= w { (side, longer(w, h)) } else { (longer(h, w), side) }
}

/// SemanticSegmentation: `image` with a shorter side of `side`, antialiased, rounded to 8 bits and normalised, [h, w, 3] with a
/// halo of 1.
pub fn segmentation(cx: &mut Context, image: Image, side: usize) -> Tensor {
    let from = (image.height, image.width);
    let size = short_side(from, side);
    let mut out = cx.workspace.tensor(size.0, size.1, 3, 1);
    let mut room = cx.workspace.take::<f32>(antialias_room(from, size));
    let at = Pixels { start: out.origin(), row: out.row_pitch(), pixel: 3 };
    let target = Target { size, normalise: Normalise::new(MEAN, STD), out: (out.data_mut(), at) };
    antialias::<Best>(image, target, bytemuck::cast_slice_mut(&mut room));
    cx.workspace.give(room);
    out
}
