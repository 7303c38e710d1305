//! Lite R-ASPP on a dilated MobileNetV3: torchvision/models/segmentation/lraspp.py; Howard et al. 2019, section 6.4.
//!
//! scores = low_classifier(low) + high_classifier(resize(cbr(high) * sigmoid(scale(mean(high)))))
//!
//! On purpose other than TorchVision: the resize and the 1x1 high_classifier are both linear and act on different axes, so
//! the classifier runs before the resize, on a quarter of the pixels, and the resize on the classes instead of 128 channels.
//! The gate goes into the classifier's weights.

use crate::Result;
use crate::image::Image;
use crate::kernels::Activation;
use crate::kernels::pool_f32::mean_pool;
use crate::kernels::resize_f32::bilinear_row;
use crate::models::mobilenetv3::{Arch, InvertedResidualConfig, MobileNetV3, inverted_residual_setting};
use crate::models::{Input, Model, Options, Output, Raw};
use crate::nn::{Context, Conv2d, Conv2dNormActivation};
use crate::preprocess::segmentation;
use crate::tensor::Tensor;
use crate::weights::Weights;

/// What LR-ASPP's builder takes.
#[derive(Clone, Debug)]
pub struct LrasppConfig {
    /// The backbone's rows.
    pub inverted_residual_setting: Vec<InvertedResidualConfig>,
    /// Classes, the background included; 256 at most.
    pub num_classes: usize,
    /// Channels of the head.
    pub inter_channels: usize,
    /// Epsilon of the backbone's BatchNorm.
    pub batch_norm_eps: f32,
    /// Shorter side of the resized picture: the preset's.
    pub resize: usize,
}

impl LrasppConfig {
    /// TorchVision's builder of this name.
    pub fn lraspp_mobilenet_v3_large(num_classes: usize) -> Self {
        let setting = inverted_residual_setting(Arch::Large, 1.0, false, true);
        LrasppConfig {
            inverted_residual_setting: setting,
            num_classes,
            inter_channels: 128,
            batch_norm_eps: 0.001,
            resize: 520,
        }
    }
}

/// The model.
#[derive(Debug)]
pub struct Lraspp {
    resize: usize,
    backbone: MobileNetV3,
    low: usize,
    cbr: Conv2d,
    scale: Conv2d,
    low_classifier: Conv2d,
    high_classifier: Conv2d,
}

impl Lraspp {
    /// Reads the model by TorchVision's names.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing or of another shape, or the setting's fault.
    pub fn load(weights: &dyn Weights, config: LrasppConfig) -> Result<Self> {
        let setting = &config.inverted_residual_setting;
        let backbone = MobileNetV3::load(weights, "backbone", setting, config.batch_norm_eps)?;
        let stages = backbone.stage_indices();
        let Some(&low) = stages.iter().rev().nth(3) else {
            let message =
                "the inverted-residual setting has fewer than two stages of stride 2; LR-ASPP reads the third but last";
            return Err(crate::Error::WeightsMismatch(message.to_string()));
        };
        let high_channels = backbone.out_channels(setting.len() + 1);
        let cbr = Conv2dNormActivation {
            in_channels: high_channels,
            out_channels: config.inter_channels,
            kernel: 1,
            stride: 1,
            dilation: 1,
            activation: Activation::Relu,
            // LRASPPHead's own nn.BatchNorm2d has PyTorch's default.
            batch_norm_eps: 1e-5,
        };
        let classifier = |leaf: &str, from| {
            let name = format!("classifier.{leaf}");
            Conv2d::load(weights, &name, (from, config.num_classes), 1, Activation::Identity)
        };
        let inter = config.inter_channels;
        Ok(Lraspp {
            cbr: cbr.dense(weights, "classifier.cbr")?,
            scale: Conv2d::without_bias(weights, "classifier.scale.1", high_channels, inter)?,
            low_classifier: classifier("low_classifier", backbone.out_channels(low))?,
            high_classifier: classifier("high_classifier", inter)?,
            low,
            backbone,
            resize: config.resize,
        })
    }

    /// The scores at the low tap's size (an eighth of the picture), [h / 8, w / 8, classes], of `input` [h, w, 3]
    /// normalised, with a halo of 1.
    pub fn scores(&self, cx: &mut Context, input: &Tensor) -> Tensor {
        let (low, high) = self.backbone.forward(cx, input, Some(self.low));
        let low = low.expect("the low tap lies before the last layer");
        let gate = self.gate(cx, &high);
        let x = self.cbr.forward(cx, &high, 0, None, None);
        cx.observe("classifier.cbr", &x);
        cx.workspace.give_tensor(high);
        let coarse = self.high_classifier.forward(cx, &x, 0, None, Some(gate.data()));
        cx.workspace.give_tensor(x);
        cx.workspace.give_tensor(gate);
        let fine = resize(cx, &coarse, (low.h, low.w));
        cx.observe("classifier.high_classifier", &fine);
        cx.workspace.give_tensor(coarse);
        if cx.observer.is_some() {
            let alone = self.low_classifier.forward(cx, &low, 0, None, None);
            cx.observe("classifier.low_classifier", &alone);
            cx.workspace.give_tensor(alone);
        }
        let scores = self.low_classifier.forward(cx, &low, 0, Some(&fine), None);
        cx.workspace.give_tensor(fine);
        cx.workspace.give_tensor(low);
        scores
    }

    /// sigmoid(scale(mean(high))), [1, 1, inter_channels].
    fn gate(&self, cx: &mut Context, high: &Tensor) -> Tensor {
        let mut mean = cx.workspace.tensor(1, 1, high.c, 0);
        mean_pool((0..high.h).map(|y| high.row(y)), high.h * high.w, mean.data_mut());
        let mut gate = self.scale.forward(cx, &mean, 0, None, None);
        gate.data_mut().iter_mut().for_each(|v| *v = 1.0 / (1.0 + (-*v).exp()));
        cx.observe("classifier.scale", &gate);
        cx.workspace.give_tensor(mean);
        gate
    }

    /// `scores` resized to `size`: TorchVision's result["out"], [h, w, classes].
    pub fn upsample(&self, cx: &mut Context, scores: &Tensor, size: (usize, usize)) -> Tensor {
        resize(cx, scores, size)
    }

    /// The class of each pixel of `size`, into `mask` [h, w], the first where two are equal: argmax of
    /// [`Lraspp::upsample`], a row at a time.
    ///
    /// # Panics
    /// When `mask` is of another size.
    pub fn argmax(&self, cx: &mut Context, scores: &Tensor, size: (usize, usize), mask: &mut [u8]) {
        assert_eq!(mask.len(), size.0 * size.1, "mask is [h, w]");
        let mut column = cx.workspace.take(scores.w * scores.c);
        let mut row = cx.workspace.take(size.1 * scores.c);
        for (y, out) in mask.chunks_exact_mut(size.1).enumerate() {
            bilinear_row(scores, size, y, &mut column, &mut row);
            for (class, pixel) in out.iter_mut().zip(row.chunks_exact(scores.c)) {
                let best = (1..scores.c).fold(0, |best, i| if pixel[i] > pixel[best] { i } else { best });
                *class = best as u8;
            }
        }
        cx.workspace.give(column);
        cx.workspace.give(row);
    }
}

impl Model for Lraspp {
    fn preprocess(&self, cx: &mut Context, image: Image) -> Input {
        let tensor = segmentation(cx, image, self.resize);
        let size = (tensor.h, tensor.w);
        Input { tensor, size }
    }

    fn forward(&self, cx: &mut Context, input: Input, _options: &Options) -> Raw {
        let scores = self.scores(cx, &input.tensor);
        cx.workspace.give_tensor(input.tensor);
        Raw::Scores(scores)
    }

    fn postprocess(
        &self,
        cx: &mut Context,
        raw: Raw,
        size: (usize, usize),
        source: (usize, usize),
        output: &mut Output,
    ) {
        let Raw::Scores(scores) = raw else { unreachable!("forward gives scores") };
        output.mask.resize(source.0 * source.1, 0);
        if size == source {
            self.argmax(cx, &scores, size, &mut output.mask);
        } else {
            let mut mask = std::mem::take(&mut output.coarse_mask);
            mask.resize(size.0 * size.1, 0);
            self.argmax(cx, &scores, size, &mut mask);
            nearest(&mask, size, source, &mut output.mask);
            output.coarse_mask = mask;
        }
        cx.workspace.give_tensor(scores);
    }
}

/// The class map `mask` of `size` made `source`: interpolate(mode="nearest-exact").
fn nearest(mask: &[u8], size: (usize, usize), source: (usize, usize), out: &mut [u8]) {
    let from = |i: usize, from: usize, to: usize| (2 * i + 1) * from / (2 * to);
    for (y, out) in out.chunks_exact_mut(source.1).enumerate() {
        let row = &mask[from(y, size.0, source.0) * size.1..][..size.1];
        out.iter_mut().enumerate().for_each(|(x, class)| *class = row[from(x, size.1, source.1)]);
    }
}

/// `x` resized to `size`.
fn resize(cx: &mut Context, x: &Tensor, size: (usize, usize)) -> Tensor {
    let mut column = cx.workspace.take(x.w * x.c);
    let mut out = cx.workspace.tensor(size.0, size.1, x.c, 0);
    for y in 0..size.0 {
        bilinear_row(x, size, y, &mut column, out.row_mut(y));
    }
    cx.workspace.give(column);
    out
}
