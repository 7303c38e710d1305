//! FCN on a dilated MobileNetV3: torchvision/models/segmentation/fcn.py, put on the backbone as deeplabv3.py does with its own
//! head. Howard et al. 2019 compare with it; TorchVision never released it.
//!
//! scores = conv1x1(relu(bn(conv3x3(x)))), a quarter of the channels between. The auxiliary classifier is for training and is
//! not loaded.

use super::{SegmentationConfig, Segmenter};
use crate::Result;
use crate::kernels::Activation;
use crate::models::mobilenetv3::MobileNetV3;
use crate::nn::{Context, Conv2d, Conv2dNormActivation, Map};
use crate::tensor::Tensor;
use crate::weights::Weights;

/// The model.
#[derive(Debug)]
pub struct Fcn {
    resize: usize,
    backbone: MobileNetV3,
    hidden: Conv2d,
    classifier: Conv2d,
}

impl Fcn {
    /// Reads the model by TorchVision's names.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing or of another shape, or the setting's fault.
    pub fn load(weights: &dyn Weights, config: SegmentationConfig) -> Result<Self> {
        let setting = &config.inverted_residual_setting;
        let backbone = MobileNetV3::load(weights, "backbone", setting, config.batch_norm_eps)?;
        let channels = backbone.out_channels(setting.len() + 1);
        let hidden = Conv2dNormActivation {
            in_channels: channels,
            out_channels: channels / 4,
            kernel: 3,
            stride: 1,
            dilation: 1,
            activation: Activation::Relu,
            // FCNHead's own nn.BatchNorm2d has PyTorch's default.
            batch_norm_eps: 1e-5,
        };
        let hidden = hidden.dense(weights, "classifier", backbone.layer(setting.len() + 1).output())?;
        let classes = (channels / 4, config.num_classes);
        Ok(Fcn {
            classifier: Conv2d::load(weights, "classifier.4", hidden.output(), classes, 1, Activation::Identity)?,
            hidden,
            backbone,
            resize: config.resize,
        })
    }
}

impl Segmenter for Fcn {
    fn side(&self) -> usize {
        self.resize
    }

    fn backbone(&self) -> &MobileNetV3 {
        &self.backbone
    }

    /// The map is as large as the backbone's: a sixteenth of the picture.
    fn scores(&self, cx: &mut Context, input: Map) -> Tensor {
        let (_, x) = self.backbone.forward(cx, input, None, 1);
        let hidden = self.hidden.forward(cx, &x, 0, None, None);
        cx.observe("classifier.2", &hidden);
        let scores = self.classifier.forward(cx, &hidden, 0, None, None).into_f32(cx);
        cx.observe("classifier.4", &scores);
        [x, hidden].into_iter().for_each(|map| cx.give(map));
        scores
    }
}
