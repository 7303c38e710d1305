//! Models, each mirroring TorchVision's builder of the same name.
//!
//! Every model runs in three steps, so that each can be timed and shown: a picture to the network's input, the network, its
//! output back to the picture.

pub mod classification;
pub mod config;
pub mod detection;
pub mod infer;
pub mod labels;
pub mod mobilenetv3;
pub mod quantization;
pub mod registry;
pub mod segmentation;

use crate::image::Image;
use crate::nn::boxes::Candidate;
use crate::nn::{Context, Map};
use crate::tensor::Tensor;
use crate::{Error, Result};
use classification::order;
use detection::transform::restore;
use segmentation::class_map;

/// A picture as a network takes it.
pub struct Input {
    /// Normalised, [h, w, 3] with the halo that the stem needs; padding included. Bytes where the stem reads such and nobody watches.
    pub map: Map,
    /// Rows and columns without the padding.
    pub size: (usize, usize),
}

/// What a network gives.
pub enum Raw {
    /// Detections, best first, in pixels of the input.
    Detections(Vec<Candidate>),
    /// Scores of each class at each pixel of a coarse map, [h, w, classes].
    Scores(Tensor),
    /// Scores of each class before the softmax, [1, 1, classes].
    Logits(Tensor),
}

impl Raw {
    /// The result for a picture of `source`, into `output`, of an input of `size`, both [h, w].
    pub fn postprocess(self, cx: &mut Context, size: (usize, usize), source: (usize, usize), output: &mut Output) {
        match self {
            Raw::Detections(found) => restore(cx, found, size, source, output),
            Raw::Scores(scores) => class_map(cx, scores, size, source, output),
            Raw::Logits(logits) => order(cx, logits, output),
        }
    }
}

/// A run's result, in pixels of the source picture; only the model's own task is set.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Best first; the group is the class.
    pub detections: Vec<Candidate>,
    /// The class of each pixel, [h, w].
    pub mask: Vec<u8>,
    /// Every class and its probability, likeliest first.
    pub classes: Vec<(usize, f32)>,
    /// The class map at the network's size, kept for its memory.
    coarse_mask: Vec<u8>,
}

/// Per-call parameters; what is none is the model's own.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Score that a detection must exceed.
    pub score_thresh: Option<f32>,
    /// IoU above which the lesser of two detections of a class goes.
    pub nms_thresh: Option<f32>,
    /// Most detections.
    pub detections_per_img: Option<usize>,
    /// Only these classes, sorted.
    pub classes: Option<Vec<usize>>,
    /// RPN: best anchors of a level that are decoded.
    pub rpn_pre_nms_top_n: Option<usize>,
    /// RPN: proposals that remain.
    pub rpn_post_nms_top_n: Option<usize>,
    /// RPN: least objectness.
    pub rpn_score_thresh: Option<f32>,
    /// RPN: IoU above which the lesser of two proposals goes.
    pub rpn_nms_thresh: Option<f32>,
}

/// Pixels of the largest input: the largest of the family's own has 1.1 million.
const MOST_PIXELS: usize = 1 << 23;

/// A loaded model.
pub trait Model: Send + Sync {
    /// Rows and columns that a picture of `size`, [h, w], is resized to.
    fn resized(&self, size: (usize, usize)) -> (usize, usize);

    /// The network's input of `image`, which `check` has let pass.
    fn preprocess(&self, cx: &mut Context, image: Image) -> Input;

    /// The network; gives the input's memory back.
    fn forward(&self, cx: &mut Context, input: Input, options: &Options) -> Raw;
}

impl dyn Model + '_ {
    /// Refuses a picture that would be resized to one that no memory holds, as long and narrow ones are.
    ///
    /// # Errors
    /// [`Error::Image`] says so.
    pub fn check(&self, image: &Image) -> Result<()> {
        let (h, w) = self.resized((image.height, image.width));
        if h.checked_mul(w).is_some_and(|pixels| pixels <= MOST_PIXELS) {
            return Ok(());
        }
        let (width, height) = (image.width, image.height);
        Err(Error::Image(format!(
            "a picture of {width} x {height} becomes more than 8 million pixels for this model; cut it shorter"
        )))
    }
}
