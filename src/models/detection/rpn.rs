//! The region proposal network: torchvision/models/detection/rpn.py and anchor_utils.py.

use super::former_names::{RPN_CONV, path};
use crate::Result;
use crate::kernels::Activation;
use crate::models::Options;
use crate::nn::boxes::{Box2d, Candidate, batched_nms, clip, decode, is_large, top_n};
use crate::nn::{Context, Conv2d, Format, Map};
use crate::weights::Weights;

/// Sides and shapes of the anchors of every cell, at every level.
pub const ANCHOR_SIZES: [f32; 5] = [32.0, 64.0, 128.0, 256.0, 512.0];
/// Height over width.
pub const ASPECT_RATIOS: [f32; 3] = [0.5, 1.0, 2.0];
const ANCHORS: usize = ANCHOR_SIZES.len() * ASPECT_RATIOS.len();

/// TorchVision's parameters of the same names, without their rpn_ and _test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RpnConfig {
    /// Best anchors of a level that are decoded.
    pub pre_nms_top_n: usize,
    /// Proposals that remain.
    pub post_nms_top_n: usize,
    /// Least objectness, 0 to 1.
    pub score_thresh: f32,
    /// IoU above which the lesser of two proposals of a level goes.
    pub nms_thresh: f32,
}

impl RpnConfig {
    /// With a call's own values.
    pub fn with(&self, options: &Options) -> RpnConfig {
        RpnConfig {
            pre_nms_top_n: options.rpn_pre_nms_top_n.unwrap_or(self.pre_nms_top_n),
            post_nms_top_n: options.rpn_post_nms_top_n.unwrap_or(self.post_nms_top_n),
            score_thresh: options.rpn_score_thresh.unwrap_or(self.score_thresh),
            nms_thresh: options.rpn_nms_thresh.unwrap_or(self.nms_thresh),
        }
    }
}

/// The head: a 3x3 convolution, then objectness and box deltas of each anchor.
#[derive(Debug)]
pub struct Rpn {
    conv: Conv2d,
    cls_logits: Conv2d,
    bbox_pred: Conv2d,
}

impl Rpn {
    /// Reads `rpn.head.*` for maps of `channels` in the one format `features`.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing or of another shape.
    pub fn load(weights: &dyn Weights, features: &Format, channels: usize) -> Result<Rpn> {
        let layer = |name: &str, input: &Format, n, kernel, activation| {
            Conv2d::load(weights, name, input, (channels, n), kernel, activation)
        };
        let conv = layer(path(weights, RPN_CONV), features, channels, 3, Activation::Relu)?;
        Ok(Rpn {
            cls_logits: layer("rpn.head.cls_logits", conv.output(), ANCHORS, 1, Activation::Identity)?,
            bbox_pred: layer("rpn.head.bbox_pred", conv.output(), 4 * ANCHORS, 1, Activation::Identity)?,
            conv,
        })
    }

    /// Proposals of `features` (a level each, halo 1), best first; `padded` and `size` are the picture's [h, w] with its padding
    /// and without. The list goes back to the workspace.
    pub fn forward(
        &self,
        cx: &mut Context,
        features: &[Map],
        padded: (usize, usize),
        size: (usize, usize),
        config: &RpnConfig,
    ) -> Vec<Box2d> {
        let anchors = features.iter().map(|map| map.shape()).map(|(h, w, _)| h * w * ANCHORS);
        let most = anchors.map(|anchors| anchors.min(config.pre_nms_top_n)).sum();
        let mut candidates = cx.workspace.list(most);
        for (level, map) in features.iter().enumerate() {
            let hidden = self.conv.forward(cx, map, 0, None, None);
            let logits = self.cls_logits.forward(cx, &hidden, 0, None, None).into_f32(cx);
            let deltas = self.bbox_pred.forward(cx, &hidden, 0, None, None).into_f32(cx);
            cx.give(hidden);
            cx.observe(format_args!("rpn.head.cls_logits.{level}"), &logits);
            cx.observe(format_args!("rpn.head.bbox_pred.{level}"), &deltas);
            let (h, w, _) = map.shape();
            let stride = (padded.0 / h, padded.1 / w);
            let scores = logits.data();
            let best = top_n(&mut cx.workspace, scores.len(), config.pre_nms_top_n, &|i| scores[i]);
            for &i in &best {
                let score = 1.0 / (1.0 + (-scores[i]).exp());
                let b = clip(decode(anchor(i, w, stride), &deltas.data()[4 * i..4 * i + 4], [1.0; 4]), size);
                if is_large(b, 1e-3) && score >= config.score_thresh {
                    candidates.push(Candidate { b, score, group: level });
                }
            }
            cx.workspace.give_list(best);
            [logits, deltas].into_iter().for_each(|t| cx.workspace.give_tensor(t));
        }
        let kept = batched_nms(&mut cx.workspace, candidates, config.nms_thresh, config.post_nms_top_n);
        let mut proposals: Vec<Box2d> = cx.workspace.list(config.post_nms_top_n.min(most));
        proposals.extend(kept.iter().map(|c| c.b));
        cx.workspace.give_list(kept);
        proposals
    }
}

/// AnchorGenerator: anchor `i` in the order (y, x, ratio, size) of a map of `w` columns, cells `stride` = [h, w] apart.
fn anchor(i: usize, w: usize, stride: (usize, usize)) -> Box2d {
    let (cell, kind) = (i / ANCHORS, i % ANCHORS);
    let (ratio, side) = (ASPECT_RATIOS[kind / ANCHOR_SIZES.len()], ANCHOR_SIZES[kind % ANCHOR_SIZES.len()]);
    let (h_ratio, y, x) = (ratio.sqrt(), (cell / w * stride.0) as f32, (cell % w * stride.1) as f32);
    let (half_w, half_h) = ((1.0 / h_ratio) * side / 2.0, h_ratio * side / 2.0);
    let (half_w, half_h) = (half_w.round_ties_even(), half_h.round_ties_even());
    [x - half_w, y - half_h, x + half_w, y + half_h]
}
