//! The one list of models: a row makes a model known to the browser, the command line, the tests and the benches.

use super::Model;
use super::classification::{Classifier, ClassifierConfig};
use super::config::{classifier_config, faster_rcnn_config, lraspp_config, segmentation_config, ssdlite_config};
use super::detection::faster_rcnn::{FasterRcnn, FasterRcnnConfig};
use super::detection::ssdlite::Ssdlite;
use super::infer::infer;
use super::labels::{COCO_91, IMAGENET_1K, VOC_21, labels};
use super::quantization::mobilenetv3::QuantizedClassifier;
use super::segmentation::deeplabv3::DeepLabV3;
use super::segmentation::fcn::Fcn;
use super::segmentation::lraspp::Lraspp;
use crate::weights::{Metadata, SafeTensorsFile, StateDict, Weights};
use crate::{Error, Result};
use serde::Serialize;
use serde_json::Value;

/// What a model gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Boxes.
    Detection,
    /// A class for each pixel.
    Segmentation,
    /// A class for the picture.
    Classification,
}

/// A row: an architecture by TorchVision's builder name.
pub struct Entry {
    /// The builder's name.
    pub arch: &'static str,
    /// What it gives.
    pub task: Task,
    /// The labels of TorchVision's own weights, a line each.
    pub labels: &'static str,
    /// What TorchVision measured of its own weights, the default ones, in per cent; none where it has no weights.
    pub published: Option<&'static str>,
    /// Reads the model as its metadata describes it.
    pub load: fn(&dyn Weights, &Metadata) -> Result<Box<dyn Model>>,
}

impl Entry {
    /// The builder whose model this one is in int8, where TorchVision has it so only.
    pub fn quantised(&self) -> Option<&'static str> {
        self.arch.strip_prefix("quantized_")
    }
}

/// All models.
pub const REGISTRY: &[Entry] = &[
    Entry {
        arch: "fasterrcnn_mobilenet_v3_large_320_fpn",
        task: Task::Detection,
        labels: COCO_91,
        published: Some("COCO val2017, box mAP 22.8"),
        load: |weights, metadata| {
            let config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(metadata.labels.len());
            Ok(Box::new(FasterRcnn::load(weights, faster_rcnn_config(config, metadata)?)?))
        },
    },
    Entry {
        arch: "fasterrcnn_mobilenet_v3_large_fpn",
        task: Task::Detection,
        labels: COCO_91,
        published: Some("COCO val2017, box mAP 32.8"),
        load: |weights, metadata| {
            let config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_fpn(metadata.labels.len());
            Ok(Box::new(FasterRcnn::load(weights, faster_rcnn_config(config, metadata)?)?))
        },
    },
    Entry {
        arch: "ssdlite320_mobilenet_v3_large",
        task: Task::Detection,
        labels: COCO_91,
        published: Some("COCO val2017, box mAP 21.3"),
        load: |weights, metadata| Ok(Box::new(Ssdlite::load(weights, ssdlite_config(metadata)?)?)),
    },
    Entry {
        arch: "lraspp_mobilenet_v3_large",
        task: Task::Segmentation,
        labels: VOC_21,
        published: Some("COCO val2017 with VOC's labels, mIoU 57.9, pixel accuracy 91.2"),
        load: |weights, metadata| Ok(Box::new(Lraspp::load(weights, lraspp_config(metadata)?)?)),
    },
    Entry {
        arch: "deeplabv3_mobilenet_v3_large",
        task: Task::Segmentation,
        labels: VOC_21,
        published: Some("COCO val2017 with VOC's labels, mIoU 60.3, pixel accuracy 91.2"),
        load: |weights, metadata| Ok(Box::new(DeepLabV3::load(weights, segmentation_config(metadata)?)?)),
    },
    Entry {
        arch: "fcn_mobilenet_v3_large",
        task: Task::Segmentation,
        labels: VOC_21,
        published: None,
        load: |weights, metadata| Ok(Box::new(Fcn::load(weights, segmentation_config(metadata)?)?)),
    },
    Entry {
        arch: "mobilenet_v3_large",
        task: Task::Classification,
        labels: IMAGENET_1K,
        published: Some("ImageNet-1k, top-1 75.274, top-5 92.566"),
        load: |weights, metadata| {
            let config = ClassifierConfig::mobilenet_v3_large(metadata.labels.len());
            Ok(Box::new(Classifier::load(weights, classifier_config(config, metadata)?)?))
        },
    },
    Entry {
        arch: "mobilenet_v3_small",
        task: Task::Classification,
        labels: IMAGENET_1K,
        published: Some("ImageNet-1k, top-1 67.668, top-5 87.402"),
        load: |weights, metadata| {
            let config = ClassifierConfig::mobilenet_v3_small(metadata.labels.len());
            Ok(Box::new(Classifier::load(weights, classifier_config(config, metadata)?)?))
        },
    },
    Entry {
        arch: "quantized_mobilenet_v3_large",
        task: Task::Classification,
        labels: IMAGENET_1K,
        published: Some("ImageNet-1k, top-1 73.004, top-5 90.858"),
        load: |weights, metadata| {
            let config = ClassifierConfig::quantized_mobilenet_v3_large(metadata.labels.len());
            Ok(Box::new(QuantizedClassifier::load(weights, classifier_config(config, metadata)?)?))
        },
    },
];

/// The row of `arch`.
///
/// # Errors
/// [`Error::WeightsMismatch`] lists the known names.
pub fn entry(arch: &str) -> Result<&'static Entry> {
    REGISTRY.iter().find(|entry| entry.arch == arch).ok_or_else(|| {
        let known: Vec<&str> = REGISTRY.iter().map(|entry| entry.arch).collect();
        let known = known.join(", ");
        Error::WeightsMismatch(format!("the architecture {arch:?} is not known; those that are: {known}"))
    })
}

/// What `file` says of itself or, where it says nothing, what its names and shapes do; `arch` and `names` are the caller's.
///
/// # Errors
/// [`Error::WeightsMismatch`] when `arch` is another one than the file's, or the file is of none that is known, or has not as many labels
/// as classes.
pub fn describe(file: &SafeTensorsFile, arch: Option<&str>, names: Option<Vec<String>>) -> Result<Metadata> {
    if let Some(said) = file.metadata()? {
        if let Some(arch) = arch.filter(|arch| *arch != said.arch) {
            entry(arch)?;
            let message = format!("the weights are of {}, not of {arch}; leave arch out, or load others", said.arch);
            return Err(Error::WeightsMismatch(message));
        }
        let metadata = Metadata { labels: names.unwrap_or(said.labels), ..said };
        return metadata.check_labels().map(|()| metadata);
    }
    describe_state_dict(file, arch, names)
}

/// [`describe`] of a state_dict that says nothing of itself.
///
/// # Errors
/// As for [`describe`].
pub fn describe_state_dict(
    weights: &dyn StateDict,
    arch: Option<&str>,
    names: Option<Vec<String>>,
) -> Result<Metadata> {
    arch.map(entry).transpose()?;
    let found = infer(weights, arch)?;
    let num_classes = found.config["num_classes"].as_u64().unwrap_or(0) as usize;
    let default = entry(found.arch)?.labels;
    let labels = names.unwrap_or_else(|| labels(default, num_classes));
    let (arch, config) = (found.arch.to_string(), found.config);
    let metadata = Metadata { arch, labels, config, preset: Value::Null, source: None, license: None };
    metadata.check_labels().map(|()| metadata)
}
