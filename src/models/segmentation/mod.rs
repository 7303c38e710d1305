//! torchvision/models/segmentation, and what its models share: the class map of coarse scores (_utils.py).

pub mod deeplabv3;
pub mod fcn;
pub mod lraspp;

use super::{Input, Model, Options, Output, Raw};
use crate::image::Image;
use crate::kernels::argmax_f32::{Cell, Spans, argmax_rows};
use crate::kernels::resize_f32::bilinear_row;
use crate::models::mobilenetv3::{Arch, InvertedResidualConfig, MobileNetV3, inverted_residual_setting};
use crate::nn::{Context, Map};
use crate::parallel;
use crate::preprocess::{segmentation, short_side};
use crate::simd::Best;
use crate::tensor::Tensor;

/// Rows of a class map that one task does.
const ARGMAX_ROWS: usize = 32;
/// Rows of a class map that one task enlarges.
const NEAREST_ROWS: usize = 32;

/// A network that scores the classes on a map coarser than its picture.
pub trait Segmenter: Send + Sync {
    /// Shorter side of the resized picture: the preset's.
    fn side(&self) -> usize;

    /// What sees the picture.
    fn backbone(&self) -> &MobileNetV3;

    /// The scores, [rows, columns, classes], of `input` [h, w, 3] normalised, with a halo of 1.
    fn scores(&self, cx: &mut Context, input: Map) -> Tensor;
}

impl<S: Segmenter> Model for S {
    fn resized(&self, size: (usize, usize)) -> (usize, usize) {
        short_side(size, self.side())
    }

    fn preprocess(&self, cx: &mut Context, image: Image) -> Input {
        let map = segmentation(cx, image, self.side(), self.backbone().reads());
        let (h, w, _) = map.shape();
        Input { map, size: (h, w) }
    }

    fn forward(&self, cx: &mut Context, input: Input, _options: &Options) -> Raw {
        cx.observe("transform", &input.map);
        Raw::Scores(self.scores(cx, input.map))
    }
}

/// The class map of `scores` at the `source`'s size: the likeliest at the network's `size`, then the nearest.
pub(super) fn class_map(
    cx: &mut Context,
    scores: Tensor,
    size: (usize, usize),
    source: (usize, usize),
    output: &mut Output,
) {
    output.mask.resize(source.0 * source.1, 0);
    let mut nothing = || ();
    let own = cx.beside.take().unwrap_or(&mut nothing);
    if size == source {
        argmax(cx, &scores, size, &mut output.mask, own);
    } else {
        let mut mask = std::mem::take(&mut output.coarse_mask);
        mask.resize(size.0 * size.1, 0);
        argmax(cx, &scores, size, &mut mask, &mut || ());
        nearest(cx, &mask, (size, source), &mut output.mask, own);
        output.coarse_mask = mask;
    }
    cx.workspace.give_tensor(scores);
}

/// What the builders of DeepLabV3 and FCN take.
#[derive(Clone, Debug)]
pub struct SegmentationConfig {
    /// The backbone's rows.
    pub inverted_residual_setting: Vec<InvertedResidualConfig>,
    /// Classes, the background included; 256 at most.
    pub num_classes: usize,
    /// Epsilon of the backbone's BatchNorm.
    pub batch_norm_eps: f32,
    /// Shorter side of the resized picture: the preset's.
    pub resize: usize,
}

impl SegmentationConfig {
    /// The dilated MobileNetV3-Large under 21 classes or as many as a user's model has.
    pub fn mobilenet_v3_large(num_classes: usize) -> Self {
        let inverted_residual_setting = inverted_residual_setting(Arch::Large, 1.0, false, true);
        SegmentationConfig { inverted_residual_setting, num_classes, batch_norm_eps: 0.001, resize: 520 }
    }
}

/// `x` resized to `size`: of a network's scores, TorchVision's result["out"], [h, w, classes].
pub fn resize(cx: &mut Context, x: &Tensor, size: (usize, usize)) -> Tensor {
    let mut out = cx.workspace.tensor(size.0, size.1, x.c, 0);
    let row = size.1 * x.c;
    parallel::for_each_chunk(out.data_mut(), row, row * parallel::ELEMENT, |y, out| bilinear_row(x, size, y, out));
    out
}

/// The class of each pixel of `size`, into `mask` [h, w], the first where two are equal: argmax of [`resize`], by rows,
/// so that the classes' planes are never there as a whole. The caller does `own` beside it.
///
/// # Panics
/// When `mask` is of another size.
pub fn argmax(cx: &mut Context, scores: &Tensor, size: (usize, usize), mask: &mut [u8], own: &mut dyn FnMut()) {
    assert_eq!(mask.len(), size.0 * size.1, "mask is [h, w]");
    let rooms = [Spans::room(scores.h, size.0), Spans::room(scores.w, size.1)];
    let mut starts = rooms.map(|room| cx.workspace.take(room.0));
    let mut fractions = rooms.map(|room| cx.workspace.take(room.1));
    let ([of_rows, of_columns], [row_fractions, column_fractions]) = (&mut starts, &mut fractions);
    let rows = Spans::new(scores.h, size.0, of_rows, row_fractions);
    let columns = Spans::new(scores.w, size.1, of_columns, column_fractions);
    let scores = in_fours(cx, scores);
    let mut room = cx.workspace.take(size.0.div_ceil(ARGMAX_ROWS) * Cell::room(scores.c));
    let (block, cost) = (ARGMAX_ROWS * size.1, ARGMAX_ROWS * size.1 * scores.c * parallel::DEPTHWISE);
    parallel::for_each_pair_beside(own, (mask, block), (&mut room, Cell::room(scores.c)), cost, |block, mask, room| {
        let first = block * ARGMAX_ROWS;
        let range = first..first + mask.len() / size.1;
        argmax_rows::<Best>(&scores, (&rows, &columns), range, &mut Cell::new(scores.c, room), mask);
    });
    cx.workspace.give(room);
    starts.into_iter().for_each(|room| cx.workspace.give(room));
    fractions.into_iter().for_each(|room| cx.workspace.give(room));
    cx.workspace.give_tensor(scores);
}

/// `x` with minus infinity behind each pixel's channels, up to a multiple of four.
fn in_fours(cx: &mut Context, x: &Tensor) -> Tensor {
    let pitch = x.c.next_multiple_of(4);
    let mut out = cx.workspace.tensor(x.h, x.w, pitch, 0);
    let row = x.w * pitch;
    parallel::for_each_chunk(out.data_mut(), row, row * parallel::ELEMENT, |y, row| {
        for (to, from) in row.chunks_exact_mut(pitch).zip(x.row(y).chunks_exact(x.c)) {
            to[..x.c].copy_from_slice(from);
            to[x.c..].fill(f32::NEG_INFINITY);
        }
    });
    out
}

/// The class map `mask` of `size` made `source`: interpolate(mode="nearest-exact"). The caller does `own` beside it.
fn nearest(
    cx: &mut Context,
    mask: &[u8],
    (size, source): ((usize, usize), (usize, usize)),
    out: &mut [u8],
    own: &mut dyn FnMut(),
) {
    let from = |i: usize, from: usize, to: usize| (2 * i + 1) * from / (2 * to);
    let mut columns = cx.workspace.take::<u32>(source.1);
    columns.iter_mut().enumerate().for_each(|(x, column)| *column = from(x, size.1, source.1) as u32);
    let rows = |block: usize, out: &mut [u8]| {
        let mut last = usize::MAX;
        for i in 0..out.len() / source.1 {
            let y = from(block * NEAREST_ROWS + i, size.0, source.0);
            let (before, out) = out.split_at_mut(i * source.1);
            let out = &mut out[..source.1];
            if y == last {
                out.copy_from_slice(&before[before.len() - source.1..]);
            } else {
                let row = &mask[y * size.1..][..size.1];
                out.iter_mut().zip(columns.iter()).for_each(|(class, column)| *class = row[*column as usize]);
            }
            last = y;
        }
    };
    let (block, blocks) = (NEAREST_ROWS * source.1, source.0 / NEAREST_ROWS);
    let (whole, rest) = out.split_at_mut(blocks * block);
    parallel::for_each_chunk_beside(own, whole, block, block * parallel::ELEMENT, rows);
    rows(blocks, rest);
    cx.workspace.give(columns);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of weights that are near the end of what floats hold. The padding up to four classes won.
    #[test]
    fn every_pixel_has_a_class_of_the_model() {
        for value in [f32::NEG_INFINITY, f32::MIN, f32::NAN, f32::INFINITY] {
            let mut cx = Context::default();
            let mut scores = cx.workspace.tensor(3, 3, 5, 0);
            scores.data_mut().fill(value);
            let mut mask = vec![255; 12 * 12];
            argmax(&mut cx, &scores, (12, 12), &mut mask, &mut || ());
            assert!(mask.iter().all(|class| *class < 5), "{value}: {mask:?}");
        }
    }

    /// Larger, smaller and of one row, over blocks of rows and what is left of them.
    #[test]
    fn nearest_takes_the_pixel_under_the_centre() {
        for (size, source) in [((3, 5), (70, 11)), ((50, 40), (33, 7)), ((8, 8), (1, 3)), ((1, 1), (65, 2))] {
            let mask: Vec<u8> = (0..size.0 * size.1).map(|i| (i * 7 % 256) as u8).collect();
            let mut got = vec![255; source.0 * source.1];
            nearest(&mut Context::default(), &mask, (size, source), &mut got, &mut || ());
            let under = |i: usize, from: usize, to: usize| ((i as f64 + 0.5) * from as f64 / to as f64) as usize;
            for (i, got) in got.into_iter().enumerate() {
                let (y, x) = (under(i / source.1, size.0, source.0), under(i % source.1, size.1, source.1));
                assert_eq!(got, mask[y * size.1 + x], "{size:?} to {source:?} at {i}");
            }
        }
    }
}
