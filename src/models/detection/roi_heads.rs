//! The box head: torchvision/models/detection/roi_heads.py, and TwoMLPHead and FastRCNNPredictor of faster_rcnn.py.

use crate::Result;
use crate::kernels::Activation;
use crate::models::Options;
use crate::nn::boxes::{Box2d, Candidate, batched_nms, clip, decode, is_large};
use crate::nn::roi_align::RoiAlign;
use crate::nn::{Context, Conv2d, Format, View, softmax};
use crate::tensor::Tensor;
use crate::weights::Weights;

const POOL: usize = 7;
/// Most boxes whose features are there at once: a thousand would be 50 MB.
const CHUNK: usize = 192;
const WEIGHTS: [f32; 4] = [10.0, 10.0, 5.0, 5.0];

/// TorchVision's parameters of the same names, without their box_.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxConfig {
    /// Score that a detection must exceed.
    pub score_thresh: f32,
    /// IoU above which the lesser of two detections of a class goes.
    pub nms_thresh: f32,
    /// Most detections of a picture.
    pub detections_per_img: usize,
}

impl BoxConfig {
    /// With a call's own values.
    pub fn with(&self, options: &Options) -> BoxConfig {
        BoxConfig {
            score_thresh: options.score_thresh.unwrap_or(self.score_thresh),
            nms_thresh: options.nms_thresh.unwrap_or(self.nms_thresh),
            detections_per_img: options.detections_per_img.unwrap_or(self.detections_per_img),
        }
    }
}

/// fc6, fc7 and the two predictors.
#[derive(Debug)]
pub struct RoiHeads {
    /// What fc6 reads.
    pooled: Format,
    fc6: Conv2d,
    fc7: Conv2d,
    cls_score: Conv2d,
    bbox_pred: Conv2d,
    /// Whether the model has int8 layers, whose bytes must not depend on the build.
    exact: bool,
}

impl RoiHeads {
    /// Reads `roi_heads.*`.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing or of another shape.
    pub fn load(weights: &dyn Weights, channels: usize, representation: usize, num_classes: usize) -> Result<RoiHeads> {
        let linear = |leaf: &str, input: &Format, from, to, pool, activation| {
            Conv2d::linear(weights, &format!("roi_heads.{leaf}"), input, (from, to), pool, activation)
        };
        let (relu, identity) = (Activation::Relu, Activation::Identity);
        let pooled = Format::load(weights, "roi_heads.box_roi_pool.output", channels)?;
        let fc6 = linear("box_head.fc6", &pooled, channels, representation, POOL, relu)?;
        let fc7 = linear("box_head.fc7", fc6.output(), representation, representation, 1, relu)?;
        let predictor =
            |leaf: &str, n| linear(&format!("box_predictor.{leaf}"), fc7.output(), representation, n, 1, identity);
        Ok(RoiHeads {
            cls_score: predictor("cls_score", num_classes)?,
            bbox_pred: predictor("bbox_pred", 4 * num_classes)?,
            pooled,
            fc6,
            fc7,
            exact: weights.is_quantised(),
        })
    }

    /// Detections (group = class) of `proposals` on `features`, best first, in pixels of the picture of `size` = [h, w],
    /// of `classes` only when they are given, sorted.
    pub fn forward<'a>(
        &self,
        cx: &mut Context,
        features: impl Into<View<'a>>,
        proposals: &[Box2d],
        size: (usize, usize),
        config: &BoxConfig,
        classes: Option<&[usize]>,
    ) -> Vec<Candidate> {
        let features = features.into().f32(cx);
        // MultiScaleRoIAlign infers the scale as a power of two; both levels have it, and the mapper takes the first.
        let spatial_scale = (features.h as f32 / size.0 as f32).log2().round().exp2();
        let align = RoiAlign { output_size: POOL, sampling_ratio: 2, spatial_scale, exact: self.exact };
        let columns = [&self.cls_score, &self.bbox_pred].map(Conv2d::out_channels);
        let [mut logits, mut deltas] = columns.map(|n| cx.workspace.tensor(1, proposals.len(), n, 0));
        // Who watches sees a stage as a whole.
        let watched = cx.observer.is_some() || cx.activations.is_some();
        let most = if watched { usize::MAX } else { CHUNK };
        // Of equal size, since a box alone would be summed in another order.
        let chunk = proposals.len().div_ceil(proposals.len().div_ceil(most).max(1)).max(1);
        let [logit_rows, delta_rows] =
            [(&mut logits, columns[0]), (&mut deltas, columns[1])].map(|(t, n)| t.data_mut().chunks_mut(chunk * n));
        let rows = logit_rows.zip(delta_rows);
        for (proposals, (logits, deltas)) in proposals.chunks(chunk).zip(rows) {
            self.predict(cx, &align, &features, proposals, (logits, deltas));
        }
        features.give(cx);
        logits.data_mut().chunks_exact_mut(columns[0]).for_each(softmax);
        let mut candidates = cx.workspace.list(proposals.len() * (logits.c - 1));
        collect(proposals, &logits, &deltas, size, config.score_thresh, &mut candidates);
        if let Some(classes) = classes {
            candidates.retain(|c| classes.binary_search(&c.group).is_ok());
        }
        [logits, deltas].into_iter().for_each(|t| cx.workspace.give_tensor(t));
        batched_nms(&mut cx.workspace, candidates, config.nms_thresh, config.detections_per_img)
    }

    /// box_roi_pool, box_head and box_predictor of some `proposals`, into their rows of logits and deltas.
    fn predict(
        &self,
        cx: &mut Context,
        align: &RoiAlign,
        features: &Tensor,
        proposals: &[Box2d],
        (logits, deltas): (&mut [f32], &mut [f32]),
    ) {
        let bytes = self.pooled.affine().zip(self.fc6.reads());
        let pooled = align.forward(cx, features, proposals, bytes);
        cx.observe("roi_heads.box_roi_pool", &pooled);
        cx.watch_activation(&self.pooled, &pooled);
        let hidden = self.fc6.forward(cx, &pooled, 0, None, None);
        let head = self.fc7.forward(cx, &hidden, 0, None, None);
        cx.observe("roi_heads.box_head", &head);
        let predictors =
            [(&self.cls_score, "roi_heads.cls_score", logits), (&self.bbox_pred, "roi_heads.bbox_pred", deltas)];
        for (predictor, name, rows) in predictors {
            let predicted = predictor.forward(cx, &head, 0, None, None).into_f32(cx);
            cx.observe(name, &predicted);
            rows.copy_from_slice(predicted.data());
            cx.workspace.give_tensor(predicted);
        }
        [pooled, hidden, head].into_iter().for_each(|map| cx.give(map));
    }
}

/// postprocess_detections before its NMS: every class but the background of every proposal above the score.
fn collect(
    proposals: &[Box2d],
    scores: &Tensor,
    deltas: &Tensor,
    size: (usize, usize),
    thresh: f32,
    found: &mut Vec<Candidate>,
) {
    let rows = scores.data().chunks_exact(scores.c).zip(deltas.data().chunks_exact(deltas.c));
    for (proposal, (scores, deltas)) in proposals.iter().zip(rows) {
        for (class, &score) in scores.iter().enumerate().skip(1).filter(|(_, s)| **s > thresh) {
            let b = clip(decode(*proposal, &deltas[4 * class..4 * class + 4], WEIGHTS), size);
            if is_large(b, 1e-2) {
                found.push(Candidate { b, score, group: class });
            }
        }
    }
}
