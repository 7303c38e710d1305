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
use crate::kernels::gemv_f32::Gemv;
use crate::models::mobilenetv3::{Arch, InvertedResidualConfig, MobileNetV3, Tap, inverted_residual_setting};
use crate::nn::{Context, Conv2d, Conv2dNormActivation, Format, Map};
use crate::simd::Best;
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
    scale: Gemv,
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
        let classifier = |leaf: &str, input: &Format, from| {
            let name = format!("classifier.{leaf}");
            Conv2d::load(weights, &name, input, (from, config.num_classes), 1, Activation::Identity)
        };
        let high = backbone.layer(setting.len() + 1).output();
        let cbr = cbr.dense(weights, "classifier.cbr", high)?;
        let inter = config.inter_channels;
        let scale = weights.f32("classifier.scale.1.weight", &[inter, high_channels, 1, 1])?;
        Ok(Lraspp {
            scale: Gemv::new(&scale, vec![0.0; inter], Activation::Identity),
            low_classifier: classifier("low_classifier", backbone.layer(low).output(), backbone.out_channels(low))?,
            high_classifier: classifier("high_classifier", &cbr.output().as_f32(), inter)?,
            cbr,
            low,
            backbone,
            resize: config.resize,
        })
    }

    /// sigmoid(scale(mean(high))), [1, 1, inter_channels].
    fn gate(&self, cx: &mut Context, high: &Map) -> Tensor {
        let mean = high.mean(cx);
        let mut gate = cx.workspace.tensor(1, 1, self.cbr.out_channels(), 0);
        self.scale.run::<Best>(mean.data(), gate.data_mut());
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

    fn backbone(&self) -> &MobileNetV3 {
        &self.backbone
    }

    /// The map is as large as the low tap: an eighth of the picture.
    fn scores(&self, cx: &mut Context, input: Map) -> Tensor {
        let (low, high) = self.backbone.forward(cx, input, Some(Tap::Output(self.low)), 0);
        let low = low.expect("the low tap lies before the last layer");
        let gate = self.gate(cx, &high);
        let x = self.cbr.forward(cx, &high, 0, None, None);
        cx.observe("classifier.cbr", &x);
        cx.give(high);
        let coarse = self.high_classifier.forward(cx, &x, 0, None, Some(gate.data())).into_f32(cx);
        cx.give(x);
        cx.workspace.give_tensor(gate);
        let (h, w, _) = low.shape();
        let fine = resize(cx, &coarse, (h, w));
        cx.observe("classifier.high_classifier", &fine);
        cx.workspace.give_tensor(coarse);
        if cx.observer.is_some() {
            let alone = self.low_classifier.forward(cx, &low, 0, None, None);
            cx.observe("classifier.low_classifier", &alone);
            cx.give(alone);
        }
        let scores = self.low_classifier.forward(cx, &low, 0, Some((&fine).into()), None).into_f32(cx);
        cx.lap("classifier.low_classifier");
        cx.workspace.give_tensor(fine);
        cx.give(low);
        scores
    }
}
