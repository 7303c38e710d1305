//! What architecture a state_dict is of, from its names and shapes, so that a model that a user fine-tuned loads with no
//! configuration.
//!
//! Names tell the family and each block's layers; shapes tell channels, kernels and classes. Strides, activations and
//! dilations leave no trace: they are those of TorchVision's table with the same number of rows, Large or Small.

use super::mobilenetv3::{Arch, InvertedResidualConfig, inverted_residual_setting};
use super::quantization::QAT_MARK;
use crate::kernels::Activation;
use crate::weights::{StateDict, TensorInfo};
use crate::{Error, Result};
use serde_json::{Map, Value, json};

/// A state_dict's architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Inferred {
    /// TorchVision's builder.
    pub arch: &'static str,
    /// Its arguments, as `__metadata__["mobilesight"].config` states them.
    pub config: Value,
    /// All builders that the names and shapes fit, the default first.
    pub fitting: &'static [&'static str],
}

/// Finds the architecture and its configuration. `named` is the builder's name where the caller knows it: it chooses among
/// builders whose state_dicts have the same names, as those of Faster R-CNN's two presets.
///
/// # Errors
/// [`Error::WeightsMismatch`] when the names are of no architecture of the family, or not of the one named, and when the
/// blocks are not as many as any table's, so that the configuration must be given.
pub fn infer(weights: &dyn StateDict, named: Option<&str>) -> Result<Inferred> {
    let tensors = weights.tensors();
    let shapes = Shapes::new(&tensors);
    let family = Family::of(&shapes)?;
    let body = family.body(&shapes);
    let setting = body.setting(family.is_dilated())?;
    let fitting = family.archs(setting.len());
    let arch = match named {
        None => fitting[0],
        Some(name) => *fitting
            .iter()
            .find(|arch| **arch == name)
            .ok_or_else(|| refuse(format_args!("are of {}, not of {name}", fitting.join(" or "))))?,
    };
    // One by one: `config[name] = value` and `collect` are 2 kB more of the engine, compressed.
    let mut config = Map::new();
    for (name, size) in family.heads(&shapes)? {
        config.insert(name.to_string(), size.into());
    }
    config.insert("inverted_residual_setting_columns".into(), json!(COLUMNS));
    config.insert("inverted_residual_setting".into(), setting.iter().map(row).collect());
    Ok(Inferred { arch, config: Value::Object(config), fitting })
}

const COLUMNS: [&str; 8] =
    ["input_channels", "kernel", "expanded_channels", "out_channels", "use_se", "activation", "stride", "dilation"];

/// A row as a file's config states it.
pub(crate) fn row(row: &InvertedResidualConfig) -> Value {
    let activation = if row.activation == Activation::Hardswish { "HS" } else { "RE" };
    json!([
        row.input_channels,
        row.kernel,
        row.expanded_channels,
        row.out_channels,
        row.use_se,
        activation,
        row.stride,
        row.dilation
    ])
}

fn refuse(what: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!(
        "the weights {what}; name the architecture and give its config, in the file's metadata or with --config"
    ))
}

/// Names with their shapes, some hundred. A list, since a map's sort and tree are 8 KB of the module.
struct Shapes<'a>(Vec<(String, &'a [usize])>);

impl<'a> Shapes<'a> {
    fn new(tensors: &'a [TensorInfo]) -> Self {
        Shapes(tensors.iter().map(|t| (t.name.clone(), t.shape.as_slice())).collect())
    }

    fn get(&self, name: &str) -> Option<&'a [usize]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, shape)| *shape)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The shape of a convolution's weight.
    fn conv(&self, name: &str) -> Result<[usize; 4]> {
        let shape = self.get(name).ok_or_else(|| refuse(format_args!("have no {name}")))?;
        <[usize; 4]>::try_from(shape)
            .map_err(|_| refuse(format_args!("have {name} of shape {shape:?}, no convolution's")))
    }

    /// The size of `name`'s first dimension: a layer's output channels.
    fn outputs(&self, name: &str) -> Result<usize> {
        let size = self.get(name).and_then(|shape| shape.first());
        size.copied().ok_or_else(|| refuse(format_args!("have no {name}")))
    }

    /// The backbone's tensors under the names that the classifier's have, `rename` leaving out all others.
    fn renamed(&self, rename: impl Fn(&str) -> Option<String>) -> Shapes<'a> {
        Shapes(self.0.iter().filter_map(|(name, shape)| Some((rename(name)?, *shape))).collect())
    }
}

/// Builders whose state_dicts have the same names.
#[derive(Clone, Copy)]
enum Family {
    Classifier,
    QuantizedClassifier,
    FasterRcnn,
    SsdLite,
    Lraspp,
    DeepLabV3,
    Fcn,
}

impl Family {
    /// The family by a name that only it has.
    fn of(shapes: &Shapes) -> Result<Family> {
        let marks = [
            ("roi_heads.box_predictor.cls_score.weight", Family::FasterRcnn),
            ("head.classification_head.module_list.0.1.weight", Family::SsdLite),
            ("classifier.cbr.0.weight", Family::Lraspp),
            ("classifier.0.convs.0.0.weight", Family::DeepLabV3),
            ("quant.output.scale", Family::QuantizedClassifier),
            (QAT_MARK, Family::QuantizedClassifier),
            ("features.0.0.weight", Family::Classifier),
            ("backbone.0.0.weight", Family::Fcn),
        ];
        let found = marks.into_iter().find(|(name, _)| shapes.has(name));
        found.map(|(_, family)| family).ok_or_else(|| {
            let first: Vec<_> = shapes.0.iter().map(|(name, _)| name).take(3).collect();
            refuse(format_args!("are of no model of the MobileNetV3 family, as {first:?} tell"))
        })
    }

    /// The builders, the default first, for a backbone of so many rows.
    fn archs(self, rows: usize) -> &'static [&'static str] {
        match self {
            Family::Classifier if rows == 11 => &["mobilenet_v3_small"],
            Family::Classifier => &["mobilenet_v3_large"],
            Family::QuantizedClassifier => &["quantized_mobilenet_v3_large"],
            Family::FasterRcnn => &["fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn"],
            Family::SsdLite => &["ssdlite320_mobilenet_v3_large"],
            Family::Lraspp => &["lraspp_mobilenet_v3_large"],
            Family::DeepLabV3 => &["deeplabv3_mobilenet_v3_large"],
            Family::Fcn => &["fcn_mobilenet_v3_large"],
        }
    }

    /// Segmentation runs on a dilated backbone.
    fn is_dilated(self) -> bool {
        matches!(self, Family::Lraspp | Family::DeepLabV3 | Family::Fcn)
    }

    fn body<'a>(self, shapes: &Shapes<'a>) -> Shapes<'a> {
        let under = |prefix: &'static str| move |name: &str| name.strip_prefix(prefix).map(str::to_string);
        match self {
            Family::Classifier | Family::QuantizedClassifier => shapes.renamed(under("features.")),
            Family::FasterRcnn => shapes.renamed(under("backbone.body.")),
            Family::SsdLite => ssdlite_body(shapes),
            Family::Lraspp | Family::DeepLabV3 | Family::Fcn => shapes.renamed(under("backbone.")),
        }
    }

    /// What the shapes of the layers after the backbone tell.
    fn heads(self, shapes: &Shapes) -> Result<Vec<(&'static str, usize)>> {
        let outputs = |name| shapes.outputs(name);
        Ok(match self {
            Family::Classifier | Family::QuantizedClassifier => vec![
                ("last_channel", outputs("classifier.0.weight")?),
                ("num_classes", outputs("classifier.3.weight")?),
            ],
            Family::FasterRcnn => vec![
                ("representation_size", outputs("roi_heads.box_head.fc6.weight")?),
                ("num_classes", outputs("roi_heads.box_predictor.cls_score.weight")?),
            ],
            Family::SsdLite => {
                let scores = outputs("head.classification_head.module_list.0.1.weight")?;
                let deltas = outputs("head.regression_head.module_list.0.1.weight")?;
                // A cell has `anchors * num_classes` scores and `anchors * 4` deltas.
                let classes = scores.checked_mul(4).filter(|n| deltas > 0 && n.is_multiple_of(deltas));
                let classes = classes.ok_or_else(|| refuse(format_args!("have {scores} scores, {deltas} deltas")))?;
                vec![("num_classes", classes / deltas)]
            }
            Family::Lraspp => vec![
                ("inter_channels", outputs("classifier.cbr.0.weight")?),
                ("num_classes", outputs("classifier.low_classifier.weight")?),
            ],
            Family::DeepLabV3 | Family::Fcn => vec![("num_classes", outputs("classifier.4.weight")?)],
        })
    }
}

/// SSDlite cuts the backbone after block c4's expansion: features.0 holds what comes before and that layer, features.1 the rest
/// of the block, under its own indices, and what follows.
fn ssdlite_body<'a>(shapes: &Shapes<'a>) -> Shapes<'a> {
    let index = |name: &str| name.split('.').next().and_then(|i| i.parse::<usize>().ok());
    let before = shapes.0.iter().filter_map(|(name, _)| index(name.strip_prefix("backbone.features.0.")?));
    let c4 = before.max().unwrap_or(0);
    shapes.renamed(|name| {
        let (half, rest) = name.strip_prefix("backbone.features.")?.split_once('.')?;
        let (first, inner) = rest.split_once('.')?;
        let first = first.parse::<usize>().ok()?;
        match (half, first) {
            ("0", i) if i == c4 => Some(format!("{c4}.block.0.{}", inner)),
            ("0", _) => Some(rest.to_string()),
            ("1", 0) => Some(format!("{c4}.block.{inner}")),
            ("1", i) => Some(format!("{}.{inner}", c4.checked_add(i)?)),
            _ => None,
        }
    })
}

impl Shapes<'_> {
    /// The rows of the backbone whose blocks are `1.block`, `2.block`, …
    fn setting(&self, is_dilated: bool) -> Result<Vec<InvertedResidualConfig>> {
        let blocks = (1..).take_while(|i| self.has(&format!("{i}.block.0.0.weight"))).count();
        let tables = [Arch::Large, Arch::Small].map(|arch| inverted_residual_setting(arch, 1.0, false, is_dilated));
        let Some(table) = tables.iter().find(|table| table.len() == blocks) else {
            return Err(refuse(format_args!(
                "have {blocks} inverted residuals, not 15 as MobileNetV3-Large or 11 as Small: their strides cannot be told"
            )));
        };
        let [mut channels, ..] = self.conv("0.0.weight")?;
        let row = |(i, preset): (usize, &InvertedResidualConfig)| {
            let row = self.block(i + 1, channels, preset)?;
            channels = row.out_channels;
            Ok(row)
        };
        table.iter().enumerate().map(row).collect()
    }

    /// The row of block `index`, whose input has `channels`.
    fn block(&self, index: usize, channels: usize, preset: &InvertedResidualConfig) -> Result<InvertedResidualConfig> {
        let weight = |layer: usize| self.conv(&format!("{index}.block.{layer}.0.weight"));
        // A depthwise weight has one input channel; the expansion before it is left out where it would not widen.
        let [_, inputs, _, side] = weight(0)?;
        let depthwise = if inputs == 1 && side > 1 { 0 } else { 1 };
        let [expanded_channels, _, kernel, _] = weight(depthwise)?;
        let use_se = self.has(&format!("{index}.block.{}.fc1.weight", depthwise + 1));
        let [out_channels, projected, ..] = weight(depthwise + 1 + usize::from(use_se))?;
        let expands = if depthwise == 1 { weight(0)?[1] } else { expanded_channels };
        if expands != channels || projected != expanded_channels {
            let shapes = (channels, expanded_channels, out_channels);
            return Err(refuse(format_args!("have a block {index} whose layers do not fit together: {shapes:?}")));
        }
        Ok(InvertedResidualConfig {
            input_channels: channels,
            kernel,
            expanded_channels,
            out_channels,
            use_se,
            ..*preset
        })
    }
}
