//! Lite R-ASPP on a dilated MobileNetV3: torchvision/models/segmentation/lraspp.py; Howard et al. 2019, section 6.4.
//!
//! scores = low_classifier(low) + high_classifier(resize(cbr(high) * sigmoid(scale(mean(high)))))
//!
//! On purpose other than TorchVision: the resize and the 1x1 high_classifier are both linear and act on different axes, so
//! the classifier runs before the resize, on a quarter of the pixels, and the resize on the classes instead of 128 channels.
//! The gate goes into the classifier's weights.

use super::{Segmenter, resize};
use crate::Result;
use crate::kernels::Activation;
use crate::kernels::pool_f32::mean_pool;
use crate::models::mobilenetv3::{Arch, InvertedResidualConfig, MobileNetV3, Tap, inverted_residual_setting};
use crate::nn::{Context, Conv2d, Conv2dNormActivation};
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
}

impl Segmenter for Lraspp {
    fn side(&self) -> usize {
        self.resize
    }

    /// The map is as large as the low tap: an eighth of the picture.
    fn scores(&self, cx: &mut Context, input: &Tensor) -> Tensor {
        let (low, high) = self.backbone.forward(cx, input, Some(Tap::Output(self.low)), 0);
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
}
