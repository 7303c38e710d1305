//! The MobileNetV3 classifiers: torchvision/models/mobilenetv3.py; Howard et al. 2019, tables 1 and 2.
//!
//! logits = classifier.3(hardswish(classifier.0(mean(features(x))))).

use super::mobilenetv3::{Arch, InvertedResidualConfig, MobileNetV3, inverted_residual_setting, make_divisible};
use super::{Input, Model, Options, Output, Raw};
use crate::image::Image;
use crate::kernels::Activation;
use crate::nn::boxes::top_n;
use crate::nn::{Context, Conv2d, Format, Map, Quantisation, softmax};
use crate::preprocess::{classification, short_side};
use crate::tensor::Tensor;
use crate::weights::Weights;
use crate::{Error, Result};
use std::sync::Arc;

/// What the builder takes, by TorchVision's names.
#[derive(Clone, Debug)]
pub struct ClassifierConfig {
    /// The backbone's rows.
    pub inverted_residual_setting: Vec<InvertedResidualConfig>,
    /// Width of the hidden layer.
    pub last_channel: usize,
    /// Classes.
    pub num_classes: usize,
    /// Epsilon of the backbone's BatchNorm.
    pub batch_norm_eps: f32,
    /// Shorter side of the resized picture: the preset's.
    pub resize: usize,
    /// Sides of the square in its middle that the network sees: the preset's.
    pub crop: usize,
}

impl ClassifierConfig {
    /// `_mobilenet_v3_conf` of `arch`, with ImageNet's first preset.
    pub fn new(arch: Arch, width_mult: f64, reduced_tail: bool, dilated: bool, num_classes: usize) -> Self {
        let widest = match arch {
            Arch::Large => 1280,
            Arch::Small => 1024,
        };
        let reduce_divider = if reduced_tail { 2 } else { 1 };
        ClassifierConfig {
            inverted_residual_setting: inverted_residual_setting(arch, width_mult, reduced_tail, dilated),
            last_channel: make_divisible(f64::from(widest / reduce_divider) * width_mult),
            num_classes,
            batch_norm_eps: 0.001,
            resize: 256,
            crop: 224,
        }
    }

    /// TorchVision's builder of this name; its second weights, the default, resize to 232.
    pub fn mobilenet_v3_large(num_classes: usize) -> Self {
        ClassifierConfig { resize: 232, ..Self::new(Arch::Large, 1.0, false, false, num_classes) }
    }

    /// TorchVision's builder of this name.
    pub fn mobilenet_v3_small(num_classes: usize) -> Self {
        Self::new(Arch::Small, 1.0, false, false, num_classes)
    }

    /// TorchVision's builder of this name, of models.quantization.
    pub fn quantized_mobilenet_v3_large(num_classes: usize) -> Self {
        Self::new(Arch::Large, 1.0, false, false, num_classes)
    }

    /// # Errors
    /// [`Error::WeightsMismatch`] when the preset crops more than there is.
    pub(super) fn preset(&self) -> Result<Preset> {
        let &ClassifierConfig { resize, crop, .. } = self;
        if crop > resize {
            let message = format!("the preset crops {crop} pixels of a side of {resize}; resize to {crop} or more");
            return Err(Error::WeightsMismatch(message));
        }
        Ok(Preset { resize, crop })
    }
}

/// How a picture becomes a classifier's input.
#[derive(Debug)]
pub(super) struct Preset {
    resize: usize,
    crop: usize,
}

impl Preset {
    /// Of a picture of `size`, [h, w], before the crop.
    pub(super) fn resized(&self, size: (usize, usize)) -> (usize, usize) {
        short_side(size, self.resize)
    }

    /// The square in the middle of `image`, in the form that the first layer `reads`.
    pub(super) fn input(&self, cx: &mut Context, image: Image, reads: Option<&Arc<Quantisation>>) -> Input {
        let map = classification(cx, image, self.resize, self.crop, reads);
        Input { map, size: (self.crop, self.crop) }
    }
}

/// The model.
#[derive(Debug)]
pub struct Classifier {
    preset: Preset,
    features: MobileNetV3,
    /// The mean of the features.
    pooled: Format,
    hidden: Conv2d,
    classifier: Conv2d,
}

impl Classifier {
    /// Reads the model by TorchVision's names.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] names the tensor that is missing or of another shape, or the preset's fault.
    pub fn load(weights: &dyn Weights, config: ClassifierConfig) -> Result<Self> {
        let preset = config.preset()?;
        let ClassifierConfig { last_channel, num_classes, .. } = config;
        let setting = &config.inverted_residual_setting;
        let features = MobileNetV3::load(weights, "features", setting, config.batch_norm_eps)?;
        let linear = |name: &str, input: &Format, channels, activation| {
            Conv2d::linear(weights, name, input, channels, 1, activation)
        };
        let channels = features.out_channels(setting.len() + 1);
        let pooled = Format::load(weights, "avgpool.output", channels)?;
        let hidden = linear("classifier.0", &pooled, (channels, last_channel), Activation::Hardswish)?;
        Ok(Classifier {
            classifier: linear("classifier.3", hidden.output(), (last_channel, num_classes), Activation::Identity)?,
            pooled,
            hidden,
            features,
            preset,
        })
    }

    /// The logits, [1, 1, classes], of `input` [h, w, 3] normalised, with a halo of 1.
    pub fn logits(&self, cx: &mut Context, input: Map) -> Tensor {
        let (_, x) = self.features.forward(cx, input, None, 0);
        let mean = x.mean(cx);
        cx.watch_activation(&self.pooled, &mean);
        let hidden = self.hidden.forward(cx, &mean, 0, None, None);
        let logits = self.classifier.forward(cx, &hidden, 0, None, None).into_f32(cx);
        cx.observe("logits", &logits);
        cx.workspace.give_tensor(mean);
        [x, hidden].into_iter().for_each(|map| cx.give(map));
        logits
    }
}

impl Model for Classifier {
    fn resized(&self, size: (usize, usize)) -> (usize, usize) {
        self.preset.resized(size)
    }

    fn preprocess(&self, cx: &mut Context, image: Image) -> Input {
        self.preset.input(cx, image, self.features.reads())
    }

    fn forward(&self, cx: &mut Context, input: Input, _options: &Options) -> Raw {
        cx.observe("transform", &input.map);
        Raw::Logits(self.logits(cx, input.map))
    }
}

/// The classes by the probabilities that `logits` give.
pub(super) fn order(cx: &mut Context, mut logits: Tensor, output: &mut Output) {
    softmax(logits.data_mut());
    let probabilities = logits.data();
    let best_first = top_n(&mut cx.workspace, probabilities.len(), probabilities.len(), &|class| probabilities[class]);
    output.classes.clear();
    output.classes.extend(best_first.iter().map(|class| (*class, probabilities[*class])));
    cx.workspace.give_list(best_first);
    cx.workspace.give_tensor(logits);
}
