//! The quantised classifier: torchvision/models/quantization/mobilenetv3.py, converted and run by QNNPACK.
//!
//! logits = dequant(classifier.3(classifier.1(classifier.0(avgpool(features(quant(x))))))), where each module gives bytes.
//! [`crate::qnnpack`] has the equations and the names in a file.

use super::super::classification::{ClassifierConfig, Preset};
use super::super::mobilenetv3::{InvertedResidualConfig, make_divisible};
use super::super::{Input, Model, Options, Raw};
use super::QAT_MARK;
use crate::image::Image;
use crate::kernels::Activation;
use crate::kernels::elementwise_i8::dequantise;
use crate::nn::quantized::{Add, Conv2d, Hardswish, Size, SqueezeExcitation, mean_pool, output};
use crate::nn::{Context, Map, Quantisation, View};
use crate::simd::Best;
use crate::tensor::Tensor;
use crate::weights::Weights;
use crate::{Error, Result};
use std::sync::Arc;

const POINTWISE: Size = Size { kernel: 1, stride: 1, dilation: 1 };

/// A convolution with its ReLU fused, or with Hardswish as a module of its own.
#[derive(Debug)]
struct ConvNormActivation {
    conv: Conv2d,
    hardswish: Option<Hardswish>,
}

impl ConvNormActivation {
    /// The Sequential `name`, whose convolution `load` reads.
    fn load(
        weights: &dyn Weights,
        name: &str,
        activation: Activation,
        load: impl FnOnce(&str, Activation) -> Result<Conv2d>,
    ) -> Result<Self> {
        let has_hardswish = activation == Activation::Hardswish;
        let conv = load(&format!("{name}.0"), if has_hardswish { Activation::Identity } else { activation })?;
        let hardswish = || Hardswish::load(weights, &format!("{name}.2"), conv.output());
        Ok(ConvNormActivation { hardswish: has_hardswish.then(hardswish).transpose()?, conv })
    }

    fn output(&self) -> &Arc<Quantisation> {
        self.hardswish.as_ref().map_or(self.conv.output(), Hardswish::output)
    }

    fn forward(&self, cx: &mut Context, x: &Tensor<u8>, out_halo: usize) -> Tensor<u8> {
        let mut out = self.conv.forward(cx, x, out_halo);
        self.hardswish.iter().for_each(|hardswish| hardswish.forward(&mut out));
        out
    }
}

/// QuantizableInvertedResidual.
#[derive(Debug)]
struct InvertedResidual {
    name: String,
    expand: Option<ConvNormActivation>,
    depthwise: ConvNormActivation,
    squeeze_excitation: Option<SqueezeExcitation>,
    project: Conv2d,
    skip_add: Option<Add>,
}

impl InvertedResidual {
    fn load(
        weights: &dyn Weights,
        name: String,
        input: &Arc<Quantisation>,
        row: &InvertedResidualConfig,
    ) -> Result<Self> {
        let expanded = row.expanded_channels;
        let mut layers = (0..).map(|i| format!("{name}.block.{i}"));
        let mut next = || layers.next().expect("names without end");
        let expand = |path: &str| {
            ConvNormActivation::load(weights, path, row.activation, |conv, activation| {
                Conv2d::dense(weights, conv, input, expanded, POINTWISE, activation)
            })
        };
        let expand = (expanded != row.input_channels).then(|| expand(&next())).transpose()?;
        let before = expand.as_ref().map_or(input, ConvNormActivation::output);
        let stride = if row.dilation > 1 { 1 } else { row.stride };
        let depthwise = ConvNormActivation::load(weights, &next(), row.activation, |conv, activation| {
            let size = Size { kernel: row.kernel, stride, dilation: row.dilation };
            Conv2d::depthwise(weights, conv, before, size, activation)
        })?;
        let squeeze = make_divisible((expanded / 4) as f64);
        let squeeze_excitation =
            row.use_se.then(|| SqueezeExcitation::load(weights, &next(), depthwise.output(), squeeze)).transpose()?;
        let filtered = squeeze_excitation.as_ref().map_or(depthwise.output(), SqueezeExcitation::output);
        let project = format!("{}.0", next());
        let project = Conv2d::dense(weights, &project, filtered, row.out_channels, POINTWISE, Activation::Identity)?;
        let adds = row.stride == 1 && row.input_channels == row.out_channels;
        let skip_add = || Add::load(weights, &format!("{name}.skip_add"), input, project.output());
        let skip_add = adds.then(skip_add).transpose()?;
        Ok(InvertedResidual { expand, depthwise, squeeze_excitation, project, skip_add, name })
    }

    fn output(&self) -> &Arc<Quantisation> {
        self.skip_add.as_ref().map_or(self.project.output(), Add::output)
    }

    /// The halo that the block's input must have.
    fn halo(&self) -> usize {
        if self.expand.is_some() { 0 } else { self.depthwise.conv.padding() }
    }

    fn forward(&self, cx: &mut Context, x: &Tensor<u8>, out_halo: usize) -> Tensor<u8> {
        let expanded = self.expand.as_ref().map(|e| e.forward(cx, x, self.depthwise.conv.padding()));
        let mut filtered = self.depthwise.forward(cx, expanded.as_ref().unwrap_or(x), 0);
        self.squeeze_excitation.iter().for_each(|squeeze| squeeze.forward(cx, &mut filtered));
        let mut out = self.project.forward(cx, &filtered, out_halo);
        if let Some(skip_add) = &self.skip_add {
            let sum = skip_add.forward(cx, x, &out, out_halo);
            cx.workspace.give_tensor(std::mem::replace(&mut out, sum));
        }
        [expanded, Some(filtered)].into_iter().flatten().for_each(|map| cx.workspace.give_tensor(map));
        cx.observe(&self.name, View::U8(&out, self.output()));
        out
    }
}

/// QuantizableMobileNetV3.
#[derive(Debug)]
pub struct QuantizedClassifier {
    preset: Preset,
    quant: Arc<Quantisation>,
    stem: ConvNormActivation,
    blocks: Vec<InvertedResidual>,
    last: ConvNormActivation,
    hidden: Conv2d,
    hardswish: Hardswish,
    classifier: Conv2d,
}

impl QuantizedClassifier {
    /// Reads the model by TorchVision's names.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] names the tensor that is missing or of another shape, or the preset's fault.
    pub fn load(weights: &dyn Weights, config: ClassifierConfig) -> Result<Self> {
        let preset = config.preset()?;
        if weights.info(QAT_MARK).is_some() {
            let what =
                "are a checkpoint of quantisation-aware training; `mobilesight convert` makes the int8 file of it";
            return Err(Error::WeightsMismatch(format!("the weights {what}")));
        }
        let setting = &config.inverted_residual_setting;
        let (Some(first), Some(end)) = (setting.first(), setting.last()) else {
            let message = "the inverted-residual setting has no row; give at least one".to_string();
            return Err(Error::WeightsMismatch(message));
        };
        let conv = |index: usize, input: &Quantisation, n, size| {
            ConvNormActivation::load(
                weights,
                &format!("features.{index}"),
                Activation::Hardswish,
                |name, activation| Conv2d::dense(weights, name, input, n, size, activation),
            )
        };
        let quant = output(weights, "quant", 3)?;
        let stem = conv(0, &quant, first.input_channels, Size { kernel: 3, stride: 2, dilation: 1 })?;
        let mut blocks: Vec<InvertedResidual> = Vec::with_capacity(setting.len());
        for (i, row) in setting.iter().enumerate() {
            let input = blocks.last().map_or(stem.output(), InvertedResidual::output);
            blocks.push(InvertedResidual::load(weights, format!("features.{}", i + 1), input, row)?);
        }
        let input = blocks.last().map_or(stem.output(), InvertedResidual::output);
        let last = conv(setting.len() + 1, input, 6 * end.out_channels, POINTWISE)?;
        let hidden = Conv2d::linear(weights, "classifier.0", last.output(), config.last_channel)?;
        let hardswish = Hardswish::load(weights, "classifier.1", hidden.output())?;
        let classifier = Conv2d::linear(weights, "classifier.3", hardswish.output(), config.num_classes)?;
        Ok(QuantizedClassifier { preset, quant, stem, blocks, last, hidden, hardswish, classifier })
    }

    /// The logits, [1, 1, classes], of `input` [h, w, 3] normalised, with a halo of 1.
    pub fn logits(&self, cx: &mut Context, input: Map) -> Tensor {
        let picture = View::from(&input).u8(cx, &self.quant);
        let halo = |i: usize| self.blocks.get(i).map_or(0, InvertedResidual::halo);
        let mut x = self.stem.forward(cx, &picture, halo(0));
        picture.give(cx);
        cx.give(input);
        cx.observe("features.0", View::U8(&x, self.stem.output()));
        for (i, block) in self.blocks.iter().enumerate() {
            let y = block.forward(cx, &x, halo(i + 1));
            cx.workspace.give_tensor(std::mem::replace(&mut x, y));
        }
        let features = self.last.forward(cx, &x, 0);
        cx.observe(format_args!("features.{}", self.blocks.len() + 1), View::U8(&features, self.last.output()));
        let mean = mean_pool(cx, &features, self.last.output());
        let mut hidden = self.hidden.forward(cx, &mean, 0);
        self.hardswish.forward(&mut hidden);
        let scores = self.classifier.forward(cx, &hidden, 0);
        let mut logits = cx.workspace.tensor(1, 1, self.classifier.out_channels(), 0);
        dequantise::<Best>(&scores, &self.classifier.output().affine, &mut logits);
        cx.observe("logits", &logits);
        [x, features, mean, hidden, scores].into_iter().for_each(|map| cx.workspace.give_tensor(map));
        logits
    }
}

impl Model for QuantizedClassifier {
    fn resized(&self, size: (usize, usize)) -> (usize, usize) {
        self.preset.resized(size)
    }

    fn preprocess(&self, cx: &mut Context, image: Image) -> Input {
        self.preset.input(cx, image, Some(&self.quant))
    }

    fn forward(&self, cx: &mut Context, input: Input, _options: &Options) -> Raw {
        cx.observe("transform", &input.map);
        Raw::Logits(self.logits(cx, input.map))
    }
}
