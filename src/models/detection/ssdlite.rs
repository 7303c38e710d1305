//! SSDlite on MobileNetV3-Large: torchvision/models/detection/ssdlite.py and ssd.py; Howard et al. 2019, section 6.3.
//!
//! Six maps, each half of the one before: the expansion of the backbone's C4 block, its last layer, and four extra blocks.
//! Every map predicts class scores and deltas of six default boxes a cell; softmax, the best boxes of each class, NMS by class.

use super::default_boxes::{BOXES, default_boxes};
use super::roi_heads::BoxConfig;
use super::transform::transform_fixed;
use crate::image::Image;
use crate::kernels::Activation;
use crate::kernels::resize_u8::Normalise;
use crate::models::mobilenetv3::{Arch, InvertedResidualConfig, MobileNetV3, Tap, inverted_residual_setting};
use crate::models::{Input, Model, Options, Raw};
use crate::nn::boxes::{Box2d, Candidate, batched_nms, clip, decode, top_n};
use crate::nn::{Context, Conv2d, Conv2dNormActivation, Depthwise2d, Format, Map, softmax};
use crate::tensor::Tensor;
use crate::weights::{TensorInfo, Weights};
use crate::{Error, Result};
use safetensors::Dtype;

const EXTRAS: usize = 4;
const MAPS: usize = 2 + EXTRAS;
const BACKBONE: &str = "backbone.features";
const BOX_WEIGHTS: [f32; 4] = [10.0, 10.0, 5.0, 5.0];
/// Of mean and standard deviation: values go from 0..1 to -1..1.
const HALF: [f32; 3] = [0.5; 3];

/// What the builder takes, by TorchVision's names.
#[derive(Clone, Debug)]
pub struct SsdliteConfig {
    /// The backbone's rows.
    pub inverted_residual_setting: Vec<InvertedResidualConfig>,
    /// Epsilon of every BatchNorm.
    pub batch_norm_eps: f32,
    /// Classes, the background included.
    pub num_classes: usize,
    /// Output channels of the extra blocks.
    pub extra_channels: [usize; EXTRAS],
    /// Sides of the resized picture.
    pub size: usize,
    /// Thresholds and counts.
    pub boxes: BoxConfig,
    /// Best boxes of a class that NMS sees.
    pub topk_candidates: usize,
}

impl SsdliteConfig {
    /// TorchVision's builder of this name.
    pub fn ssdlite320_mobilenet_v3_large(num_classes: usize) -> Self {
        SsdliteConfig {
            inverted_residual_setting: inverted_residual_setting(Arch::Large, 1.0, true, false),
            batch_norm_eps: 0.001,
            num_classes,
            extra_channels: [512, 256, 256, 128],
            size: 320,
            boxes: BoxConfig { score_thresh: 0.001, nms_thresh: 0.55, detections_per_img: 300 },
            topk_candidates: 300,
        }
    }
}

/// The backbone by the names it has inside SSDlite: `features.0` ends with the expansion of block `c4`, and `features.1` begins with
/// the rest of it.
struct SplitBackbone<'a> {
    weights: &'a dyn Weights,
    c4: usize,
}

impl SplitBackbone<'_> {
    /// The name in the file of `backbone.features.i.rest`; all others stay.
    fn rename(&self, name: &str) -> String {
        let tail = name.strip_prefix(BACKBONE).and_then(|tail| tail.strip_prefix('.'));
        let Some((index, rest)) = tail.and_then(|tail| tail.split_once('.')) else { return name.to_string() };
        let index: usize = index.parse().expect("a layer's index");
        if index < self.c4 {
            return format!("{BACKBONE}.0.{index}.{rest}");
        }
        if index > self.c4 {
            return format!("{BACKBONE}.1.{}.{rest}", index - self.c4);
        }
        let layer = rest.strip_prefix("block.").expect("a layer of a block");
        match layer.strip_prefix("0.") {
            Some(leaf) => format!("{BACKBONE}.0.{index}.{leaf}"),
            None => format!("{BACKBONE}.1.0.{layer}"),
        }
    }
}

impl Weights for SplitBackbone<'_> {
    fn contains(&self, name: &str) -> bool {
        self.weights.contains(&self.rename(name))
    }

    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        self.weights.rows(&self.rename(name), shape, each)
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.weights.info(&self.rename(name))
    }

    fn float_dtypes(&self) -> &'static [Dtype] {
        self.weights.float_dtypes()
    }

    fn is_quantised(&self) -> bool {
        self.weights.is_quantised()
    }

    fn byte_rows(&self, name: &str, shape: &[usize], dtype: Dtype, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.weights.byte_rows(&self.rename(name), shape, dtype, each)
    }

    fn path(&self, name: &str) -> String {
        self.rename(name)
    }
}

/// _extra_block: halves the map.
#[derive(Debug)]
struct ExtraBlock {
    squeeze: Conv2d,
    depthwise: Depthwise2d,
    project: Conv2d,
}

impl ExtraBlock {
    fn load(weights: &dyn Weights, name: &str, input: &Format, layer: Conv2dNormActivation) -> Result<ExtraBlock> {
        let between = layer.out_channels / 2;
        let squeeze = Conv2dNormActivation { out_channels: between, ..layer };
        let depthwise = Conv2dNormActivation { in_channels: between, kernel: 3, stride: 2, ..squeeze };
        let project = Conv2dNormActivation { in_channels: between, ..layer };
        let squeeze = squeeze.dense(weights, &format!("{name}.0"), input)?;
        let depthwise = depthwise.depthwise(weights, &format!("{name}.1"), squeeze.output())?;
        let project = project.dense(weights, &format!("{name}.2"), depthwise.output())?;
        Ok(ExtraBlock { squeeze, depthwise, project })
    }

    fn forward(&self, cx: &mut Context, x: &Map) -> Map {
        let squeezed = self.squeeze.forward(cx, x, self.depthwise.padding(), None, None);
        let halved = self.depthwise.forward(cx, &squeezed, None);
        let out = self.project.forward(cx, &halved, 1, None, None);
        [squeezed, halved].into_iter().for_each(|map| cx.give(map));
        out
    }
}

/// SSDScoringHead: a depthwise and a 1x1 layer for each map.
#[derive(Debug)]
struct Head {
    layers: Vec<(Depthwise2d, Conv2d)>,
    /// Numbers a box.
    columns: usize,
}

impl Head {
    fn load(
        weights: &dyn Weights,
        name: &str,
        maps: &[(&Format, usize)],
        columns: usize,
        layer: Conv2dNormActivation,
    ) -> Result<Head> {
        let block = |(i, &(input, c)): (usize, &(&Format, usize))| {
            let name = format!("head.{name}.module_list.{i}");
            let depthwise = Conv2dNormActivation { in_channels: c, out_channels: c, kernel: 3, ..layer };
            let (name_of, outputs) = (|leaf: usize| format!("{name}.{leaf}"), (c, columns * BOXES));
            let depthwise = depthwise.depthwise(weights, &name_of(0), input)?;
            let input = depthwise.output();
            let predictor = Conv2d::load(weights, &name_of(1), input, outputs, 1, Activation::Identity)?;
            Ok((depthwise, predictor))
        };
        Ok(Head { layers: maps.iter().enumerate().map(block).collect::<Result<_>>()?, columns })
    }

    /// The predictions of all boxes, [1, boxes, columns], in the order (map, y, x, box).
    fn forward(&self, cx: &mut Context, maps: &[Map]) -> Tensor {
        let boxes: usize = maps.iter().map(|map| map.shape().0 * map.shape().1 * BOXES).sum();
        let mut all = cx.workspace.tensor(1, boxes, self.columns, 0);
        let mut first = 0;
        for (map, (depthwise, predictor)) in maps.iter().zip(&self.layers) {
            let filtered = depthwise.forward(cx, map, None);
            let predicted = predictor.forward(cx, &filtered, 0, None, None).into_f32(cx);
            // A cell's channels are its boxes one after another.
            all.data_mut()[first..][..predicted.data().len()].copy_from_slice(predicted.data());
            first += predicted.data().len();
            cx.give(filtered);
            cx.workspace.give_tensor(predicted);
        }
        all
    }
}

/// The model.
#[derive(Debug)]
pub struct Ssdlite {
    config: SsdliteConfig,
    backbone: MobileNetV3,
    c4: usize,
    extra: Vec<ExtraBlock>,
    classification_head: Head,
    regression_head: Head,
}

impl Ssdlite {
    /// Reads the model by TorchVision's names.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] names the tensor that is missing or of another shape, or the setting's fault.
    pub fn load(weights: &dyn Weights, config: SsdliteConfig) -> Result<Self> {
        let setting = &config.inverted_residual_setting;
        let refusal = || {
            let message =
                "the inverted-residual setting has no last row of stride 2 with an expansion, which SSDlite reads";
            Error::WeightsMismatch(message.to_string())
        };
        let c4 = 1 + setting.iter().rposition(|row| row.stride > 1).ok_or_else(refusal)?;
        let backbone = MobileNetV3::load(&SplitBackbone { weights, c4 }, BACKBONE, setting, config.batch_norm_eps)?;
        let expansion = backbone.expansion(c4).ok_or_else(refusal)?;
        let layer = Conv2dNormActivation {
            in_channels: 0,
            out_channels: 0,
            kernel: 1,
            stride: 1,
            dilation: 1,
            activation: Activation::Relu6,
            batch_norm_eps: config.batch_norm_eps,
        };
        let last = backbone.layer(setting.len() + 1);
        let mut extra: Vec<ExtraBlock> = Vec::with_capacity(EXTRAS);
        for (i, out_channels) in config.extra_channels.into_iter().enumerate() {
            let before = extra.last().map_or(last, |block| &block.project);
            let layer = Conv2dNormActivation { in_channels: before.out_channels(), out_channels, ..layer };
            extra.push(ExtraBlock::load(weights, &format!("backbone.extra.{i}"), before.output(), layer)?);
        }
        let layers = [expansion, last].into_iter().chain(extra.iter().map(|block| &block.project));
        let maps: Vec<(&Format, usize)> = layers.map(|layer| (layer.output(), layer.out_channels())).collect();
        let head = |name, columns| Head::load(weights, name, &maps, columns, layer);
        Ok(Ssdlite {
            classification_head: head("classification_head", config.num_classes)?,
            regression_head: head("regression_head", 4)?,
            extra,
            c4,
            backbone,
            config,
        })
    }

    /// The six maps, with a halo of at least 1.
    fn features(&self, cx: &mut Context, input: Map) -> [Map; MAPS] {
        let (expansion, last) = self.backbone.forward(cx, input, Some(Tap::Expansion(self.c4)), 1);
        let mut maps: [Map; MAPS] = Default::default();
        (maps[0], maps[1]) = (expansion.expect("C4 has an expansion"), last);
        for (i, block) in self.extra.iter().enumerate() {
            maps[i + 2] = block.forward(cx, &maps[i + 1]);
        }
        maps.iter().enumerate().for_each(|(i, map)| cx.observe(format_args!("features.{i}"), map));
        maps
    }

    /// Before NMS: of each class but the background, the best boxes above the score.
    fn candidates(&self, cx: &mut Context, scores: &Tensor, boxes: &[Box2d], options: &Options) -> Vec<Candidate> {
        let thresh = self.config.boxes.with(options).score_thresh;
        let wanted = |class: &usize| options.classes.as_ref().is_none_or(|c| c.binary_search(class).is_ok());
        let mut found = cx.workspace.list((scores.c - 1) * self.config.topk_candidates);
        for group in (1..scores.c).filter(wanted) {
            let score = |i: usize| scores.data()[i * scores.c + group];
            // Few boxes are above the score, so the search for the best sees those only.
            let mut above = cx.workspace.list(boxes.len());
            above.extend((0..boxes.len()).filter(|i| score(*i) > thresh));
            let best = top_n(&mut cx.workspace, above.len(), self.config.topk_candidates, &|i| score(above[i]));
            let candidate = |i: usize| Candidate { b: boxes[i], score: score(i), group };
            found.extend(best.iter().map(|i| candidate(above[*i])));
            [above, best].into_iter().for_each(|list| cx.workspace.give_list(list));
        }
        found
    }
}

impl Model for Ssdlite {
    fn resized(&self, _size: (usize, usize)) -> (usize, usize) {
        (self.config.size, self.config.size)
    }

    fn preprocess(&self, cx: &mut Context, image: Image) -> Input {
        let size = (self.config.size, self.config.size);
        let input = transform_fixed(cx, image, size, Normalise::new(HALF, HALF), self.backbone.reads());
        cx.observe("transform", &input.map);
        input
    }

    fn forward(&self, cx: &mut Context, Input { map, size }: Input, options: &Options) -> Raw {
        let maps = self.features(cx, map);
        let mut scores = self.classification_head.forward(cx, &maps);
        let deltas = self.regression_head.forward(cx, &maps);
        cx.observe("head.cls_logits", &scores);
        cx.observe("head.bbox_regression", &deltas);
        scores.data_mut().chunks_exact_mut(self.config.num_classes).for_each(softmax);
        let sizes = maps.each_ref().map(|map| (map.shape().0, map.shape().1));
        let mut boxes = cx.workspace.list(scores.w);
        default_boxes(&sizes, size, &mut boxes);
        for (b, deltas) in boxes.iter_mut().zip(deltas.data().chunks_exact(4)) {
            *b = clip(decode(*b, deltas, BOX_WEIGHTS), size);
        }
        let candidates = self.candidates(cx, &scores, &boxes, options);
        cx.workspace.give_list(boxes);
        maps.into_iter().for_each(|map| cx.give(map));
        [scores, deltas].into_iter().for_each(|t| cx.workspace.give_tensor(t));
        let config = self.config.boxes.with(options);
        Raw::Detections(batched_nms(&mut cx.workspace, candidates, config.nms_thresh, config.detections_per_img))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Weights for Nothing {
        fn contains(&self, _name: &str) -> bool {
            false
        }

        fn rows(&self, name: &str, _shape: &[usize], _each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
            Err(Error::WeightsMismatch(name.to_string()))
        }
    }

    /// The names of TorchVision's own checkpoint.
    #[test]
    fn the_backbone_is_split_inside_c4() {
        let split = SplitBackbone { weights: &Nothing, c4: 13 };
        for (name, want) in [
            ("backbone.features.0.0.weight", "backbone.features.0.0.0.weight"),
            ("backbone.features.12.block.2.fc1.bias", "backbone.features.0.12.block.2.fc1.bias"),
            ("backbone.features.13.block.0.1.running_var", "backbone.features.0.13.1.running_var"),
            ("backbone.features.13.block.1.0.weight", "backbone.features.1.0.1.0.weight"),
            ("backbone.features.13.block.2.fc2.weight", "backbone.features.1.0.2.fc2.weight"),
            ("backbone.features.14.block.0.0.weight", "backbone.features.1.1.block.0.0.weight"),
            ("backbone.features.16.1.bias", "backbone.features.1.3.1.bias"),
        ] {
            assert_eq!(split.rename(name), want);
        }
    }

    #[test]
    fn the_first_missing_tensor_is_named_as_in_the_file() {
        let error = Ssdlite::load(&Nothing, SsdliteConfig::ssdlite320_mobilenet_v3_large(91)).unwrap_err();
        assert!(error.to_string().starts_with("backbone.features.0."), "{error}");
    }
}
