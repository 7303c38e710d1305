//! The one list of models: a row makes a model known to the browser, the command line, the tests and the benches.

use super::Model;
use super::config::{faster_rcnn_config, lraspp_config};
use super::detection::faster_rcnn::FasterRcnn;
use super::segmentation::lraspp::Lraspp;
use crate::weights::{Metadata, Weights};
use crate::{Error, Result};
use serde::Serialize;

/// What a model gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Boxes.
    Detection,
    /// A class for each pixel.
    Segmentation,
}

/// A row: an architecture by TorchVision's builder name.
pub struct Entry {
    /// The builder's name.
    pub arch: &'static str,
    /// What it gives.
    pub task: Task,
    /// Reads the model as its metadata describes it.
    pub load: fn(&dyn Weights, &Metadata) -> Result<Box<dyn Model>>,
}

/// All models.
pub const REGISTRY: &[Entry] = &[
    Entry {
        arch: "fasterrcnn_mobilenet_v3_large_320_fpn",
        task: Task::Detection,
        load: |weights, metadata| Ok(Box::new(FasterRcnn::load(weights, faster_rcnn_config(metadata)?)?)),
    },
    Entry {
        arch: "lraspp_mobilenet_v3_large",
        task: Task::Segmentation,
        load: |weights, metadata| Ok(Box::new(Lraspp::load(weights, lraspp_config(metadata)?)?)),
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
