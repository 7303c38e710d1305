//! The box head: torchvision/models/detection/roi_heads.py, and TwoMLPHead and FastRCNNPredictor of faster_rcnn.py.

use crate::Result;
use crate::kernels::Activation;
use crate::models::Options;
use crate::nn::boxes::{Box2d, Candidate, batched_nms, clip, decode, is_large};
use crate::nn::roi_align::RoiAlign;
use crate::nn::{Context, Conv2d, softmax};
use crate::tensor::Tensor;
use crate::weights::Weights;

const POOL: usize = 7;
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
    fc6: Conv2d,
    fc7: Conv2d,
    cls_score: Conv2d,
    bbox_pred: Conv2d,
}

impl RoiHeads {
    /// Reads `roi_heads.*`.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing or of another shape.
    pub fn load(weights: &dyn Weights, channels: usize, representation: usize, num_classes: usize) -> Result<RoiHeads> {
        let linear = |leaf: &str, from, to, pool, activation| {
            Conv2d::linear(weights, &format!("roi_heads.{leaf}"), (from, to), pool, activation)
        };
        let (relu, identity) = (Activation::Relu, Activation::Identity);
        Ok(RoiHeads {
            fc6: linear("box_head.fc6", channels, representation, POOL, relu)?,
            fc7: linear("box_head.fc7", representation, representation, 1, relu)?,
            cls_score: linear("box_predictor.cls_score", representation, num_classes, 1, identity)?,
            bbox_pred: linear("box_predictor.bbox_pred", representation, 4 * num_classes, 1, identity)?,
        })
    }

    /// Detections (group = class) of `proposals` on `features`, best first, in pixels of the picture of `size` = [h, w],
    /// of `classes` only when they are given, sorted.
    pub fn forward(
        &self,
        cx: &mut Context,
        features: &Tensor,
        proposals: &[Box2d],
        size: (usize, usize),
        config: &BoxConfig,
        classes: Option<&[usize]>,
    ) -> Vec<Candidate> {
        // MultiScaleRoIAlign infers the scale as a power of two; both levels have it, and the mapper takes the first.
        let spatial_scale = (features.h as f32 / size.0 as f32).log2().round().exp2();
        let align = RoiAlign { output_size: POOL, sampling_ratio: 2, spatial_scale };
        let pooled = align.forward(cx, features, proposals);
        cx.observe("roi_heads.box_roi_pool", &pooled);
        let hidden = self.fc6.forward(cx, &pooled, 0, None, None);
        let head = self.fc7.forward(cx, &hidden, 0, None, None);
        cx.observe("roi_heads.box_head", &head);
        let mut logits = self.cls_score.forward(cx, &head, 0, None, None);
        let deltas = self.bbox_pred.forward(cx, &head, 0, None, None);
        cx.observe("roi_heads.cls_score", &logits);
        cx.observe("roi_heads.bbox_pred", &deltas);
        logits.data_mut().chunks_exact_mut(self.cls_score.out_channels()).for_each(softmax);
        let mut candidates = cx.workspace.list(proposals.len() * (logits.c - 1));
        collect(proposals, &logits, &deltas, size, config.score_thresh, &mut candidates);
        if let Some(classes) = classes {
            candidates.retain(|c| classes.binary_search(&c.group).is_ok());
        }
        [pooled, hidden, head, logits, deltas].into_iter().for_each(|t| cx.workspace.give_tensor(t));
        batched_nms(&mut cx.workspace, candidates, config.nms_thresh, config.detections_per_img)
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
