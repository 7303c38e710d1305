//! Arguments that several commands take.

use mobilesight::models::Options;
use std::path::PathBuf;

/// The model
#[derive(clap::Args)]
pub struct ModelFile {
    /// The model: a .safetensors file, or a checkpoint of PyTorch (.pth)
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// TorchVision's name of the builder, where neither the weights nor their file's name tell it: fasterrcnn_mobilenet_v3_large_fpn
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
}

/// The proposals of Faster R-CNN: fewer are faster and miss more
#[derive(clap::Args)]
pub struct Rpn {
    /// Anchors of a level that are decoded, the best (default: the model's own)
    #[arg(long = "rpn-pre-nms", value_name = "N", value_parser = count)]
    pre_nms_top_n: Option<usize>,
    /// Proposals that remain (default: the model's own)
    #[arg(long = "rpn-post-nms", value_name = "N", value_parser = count)]
    post_nms_top_n: Option<usize>,
    /// Least objectness of a proposal, 0 to 1 (default: the model's own)
    #[arg(long = "rpn-score", value_name = "T", value_parser = fraction)]
    score_thresh: Option<f32>,
}

impl Rpn {
    /// The options of a run.
    pub fn options(&self) -> Options {
        Options {
            rpn_pre_nms_top_n: self.pre_nms_top_n,
            rpn_post_nms_top_n: self.post_nms_top_n,
            rpn_score_thresh: self.score_thresh,
            ..Options::default()
        }
    }
}

/// A whole number from 1 on.
pub fn count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "it is a whole number from 1 on".to_string())
}

/// A number from 1 on.
pub fn factor(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|x: &f32| x.is_finite() && *x >= 1.0);
    number.ok_or_else(|| "it is a number from 1 on".to_string())
}

/// A number of 0 to 1.
pub fn fraction(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|t| (0.0..=1.0).contains(t)).ok_or_else(|| "it is a number from 0 to 1".to_string())
}
