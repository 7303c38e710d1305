//! How large a model is and how much it computes: counted from what its builder reads, and from a run at its preset's size.
//!
//! ```text
//! multiplications of a layer = elements of its weight * pixels of its output
//! ```
//! A layer that no run shows works on one mean of the picture: the two of a squeeze-excite, the gate of LR-ASPP. The heads
//! behind RoIAlign see a row a proposal, and how many there are depends on the picture: they are counted for one.

use crate::image::Image;
use crate::models::Options;
use crate::models::labels::labels;
use crate::models::registry::entry;
use crate::nn::{Context, Origin};
use crate::tensor::Tensor;
use crate::weights::{Metadata, TensorInfo, Weights};
use crate::{Error, Result};
use safetensors::Dtype;
use serde::Serialize;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Behind RoIAlign.
const HEADS: &str = "roi_heads.";
/// The picture of the run: larger sides than any preset's would only be shrunk, so its shape alone counts.
const SIDE: usize = 640;

/// What was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Elements of all weights and biases that the model reads.
    pub parameters: u64,
    /// Multiplications of a run on a square picture, without the heads behind RoIAlign.
    pub macs: u64,
    /// Multiplications of those heads for a proposal; none where a model has no proposals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs_per_proposal: Option<u64>,
    /// Rows and columns of the network's input, its padding included.
    pub input: (usize, usize),
}

/// Passes on what a builder reads, and keeps its names and shapes.
struct Asked<'a> {
    weights: &'a dyn Weights,
    shapes: RefCell<BTreeMap<String, Vec<usize>>>,
}

impl Asked<'_> {
    fn note(&self, name: &str, shape: &[usize]) {
        self.shapes.borrow_mut().insert(name.to_string(), shape.to_vec());
    }
}

impl Weights for Asked<'_> {
    fn contains(&self, name: &str) -> bool {
        self.weights.contains(name)
    }

    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        self.note(name, shape);
        self.weights.rows(name, shape, each)
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.weights.info(name)
    }

    fn float_dtypes(&self) -> &'static [Dtype] {
        self.weights.float_dtypes()
    }

    fn is_quantised(&self) -> bool {
        self.weights.is_quantised()
    }

    fn byte_rows(&self, name: &str, shape: &[usize], dtype: Dtype, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.note(name, shape);
        self.weights.byte_rows(name, shape, dtype, each)
    }

    fn path(&self, name: &str) -> String {
        self.weights.path(name)
    }
}

/// Weights of every name, all zero: enough to count by.
struct Zeros;

impl Weights for Zeros {
    fn contains(&self, _name: &str) -> bool {
        true
    }

    fn rows(&self, _name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let row = vec![0.0; shape[1..].iter().product()];
        (0..shape[0]).for_each(|i| each(i, &row));
        Ok(())
    }
}

/// Counts TorchVision's model `arch`, with as many classes as its own weights have.
///
/// # Errors
/// [`Error::WeightsMismatch`] when it is not known.
pub fn published_size(arch: &str) -> Result<Size> {
    let entry = entry(arch)?;
    let labels = labels(entry.labels, entry.labels.lines().count());
    // Zeros are no scales, and the same network has the same size.
    let (arch, nothing) = (entry.quantised().unwrap_or(arch).to_string(), Value::Null);
    let metadata = Metadata { arch, labels, config: nothing.clone(), preset: nothing, source: None, license: None };
    size(&Zeros, &metadata)
}

/// Counts the model that `metadata` describes.
///
/// # Errors
/// [`Error::WeightsMismatch`] when it cannot be loaded.
pub fn size(weights: &dyn Weights, metadata: &Metadata) -> Result<Size> {
    let asked = Asked { weights, shapes: RefCell::default() };
    let model = (entry(&metadata.arch)?.load)(&asked, metadata)?;
    let mut pixels: BTreeMap<String, u64> = BTreeMap::new();
    let mut watch = |name: &str, output: &Tensor, origin: Origin| {
        let layer = match origin {
            Origin::Layer(layer) => Some(layer.name.as_str()),
            Origin::Model | Origin::Gated(_) => name.strip_suffix(".output"),
        };
        if let Some(layer) = layer {
            *pixels.entry(layer.to_string()).or_default() += (output.h * output.w) as u64;
        }
    };
    let rgba = vec![128; SIDE * SIDE * 4];
    let mut cx = Context { activations: Some(&mut watch), ..Context::default() };
    let input = model.preprocess(&mut cx, Image::new(&rgba, SIDE, SIDE)?);
    let (h, w, _) = input.map.shape();
    model.forward(&mut cx, input, &Options::default());
    drop(cx);
    let shapes = asked.shapes.into_inner();
    count(&shapes, &pixels, (h, w)).ok_or_else(|| Error::WeightsMismatch("the model is too large to count".to_string()))
}

/// The sums; none where they do not fit.
fn count(shapes: &BTreeMap<String, Vec<usize>>, pixels: &BTreeMap<String, u64>, input: (usize, usize)) -> Option<Size> {
    let (mut parameters, mut macs, mut heads) = (0u64, 0u64, 0u64);
    for (name, shape) in shapes {
        let elements = shape.iter().product::<usize>() as u64;
        if name.ends_with(".weight") || name.ends_with(".bias") {
            parameters = parameters.checked_add(elements)?;
        }
        // A BatchNorm's weight has one dimension, and is folded.
        let Some(layer) = name.strip_suffix(".weight").filter(|_| shape.len() > 1) else { continue };
        match name.starts_with(HEADS) {
            true => heads += elements,
            false => macs = elements.checked_mul(pixels.get(layer).copied().unwrap_or(1))?.checked_add(macs)?,
        }
    }
    Some(Size { parameters, macs, macs_per_proposal: (heads > 0).then_some(heads), input })
}
