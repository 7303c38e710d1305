//! Small models of every architecture, their int8 files, and what a file gives when it runs.

use crate::generator::GeneratedWeights;
use mobilesight::Result;
use mobilesight::image::Image;
use mobilesight::models::mobilenetv3::{Arch, InvertedResidualConfig, inverted_residual_setting};
use mobilesight::models::registry::{REGISTRY, entry};
use mobilesight::models::{Options, Output};
use mobilesight::nn::{Context, Origin};
use mobilesight::quantize::{Options as QuantizeOptions, quantize};
use mobilesight::tensor::Tensor;
use mobilesight::weights::{Metadata, SafeTensorsFile, StateDict, TensorInfo, Weights};
use safetensors::Dtype;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The picture of the tests: sides, RGBA.
pub const SIDE: usize = 64;

/// Another picture for each seed.
pub fn rgba(seed: usize) -> Vec<u8> {
    (0..SIDE * SIDE * 4).map(|i| ((i / 4 % SIDE * (3 + seed) + i / 4 / SIDE * 5 + i % 4 * 40) % 256) as u8).collect()
}

/// Generated weights that know what a builder asked for.
#[derive(Default)]
pub struct Generated(RefCell<BTreeMap<String, Vec<usize>>>);

impl Weights for Generated {
    fn contains(&self, name: &str) -> bool {
        GeneratedWeights.contains(name)
    }

    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        self.0.borrow_mut().insert(name.to_string(), shape.to_vec());
        GeneratedWeights.rows(name, shape, each)
    }
}

impl StateDict for Generated {
    fn tensors(&self) -> Vec<TensorInfo> {
        let info = |(name, shape): (&String, &Vec<usize>)| TensorInfo {
            name: name.clone(),
            shape: shape.clone(),
            dtype: Dtype::F32,
        };
        self.0.borrow().iter().map(info).collect()
    }
}

fn row(r: &InvertedResidualConfig) -> Value {
    let activation = if format!("{:?}", r.activation) == "Hardswish" { "HS" } else { "RE" };
    json!([r.input_channels, r.kernel, r.expanded_channels, r.out_channels, r.use_se, activation, r.stride, r.dilation])
}

/// A small model of the architecture.
pub fn small(arch: &str) -> (Generated, Metadata) {
    let table = if arch.ends_with("small") { Arch::Small } else { Arch::Large };
    let is_segmenter = REGISTRY.iter().any(|r| r.arch == arch && r.labels.lines().count() == 21);
    let setting = inverted_residual_setting(table, 0.35, false, is_segmenter);
    let metadata = Metadata {
        arch: arch.to_string(),
        labels: vec![String::new(); 7],
        config: json!({
            "inverted_residual_setting": setting.iter().map(row).collect::<Value>(),
            "representation_size": 32, "min_size": SIDE, "max_size": 2 * SIDE, "num_classes": 7,
            "rpn_post_nms_top_n_test": 20,
        }),
        preset: if is_segmenter { json!({"resize": SIDE}) } else { Value::Null },
        source: None,
        license: None,
    };
    let weights = Generated::default();
    (entry(arch).unwrap().load)(&weights, &metadata).unwrap();
    (weights, metadata)
}

/// The int8 file of the small model, with everything in int8 that can be.
pub fn int8_file(arch: &str) -> Vec<u8> {
    int8_file_but(arch, &[])
}

/// [`int8_file`] with these layers left in f32.
pub fn int8_file_but(arch: &str, f32_layers: &[&str]) -> Vec<u8> {
    let (weights, metadata) = small(arch);
    let pictures = [rgba(0), rgba(1)];
    let images = [0, 1].map(|i| Image::new(&pictures[i], SIDE, SIDE).unwrap());
    let f32_layers = f32_layers.iter().map(|name| name.to_string()).collect();
    let options = QuantizeOptions { max_drop: 1.0, search_pictures: 1, f32_layers, ..QuantizeOptions::default() };
    quantize(&weights, &metadata, &images, &options, &mut |_| ()).unwrap()
}

/// The bits of every activation of a run on `rgba(0)`, by name, and the result.
pub fn run(weights: &dyn Weights, metadata: &Metadata) -> (BTreeMap<String, Vec<u32>>, Output) {
    let model = (entry(&metadata.arch).unwrap().load)(weights, metadata).unwrap();
    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut watch = |name: &str, x: &Tensor, _: Origin| {
        seen.entry(name.to_string()).or_default().extend(x.to_vec().iter().map(|v| v.to_bits()));
    };
    let mut cx = Context { activations: Some(&mut watch), ..Context::default() };
    let picture = rgba(0);
    let input = model.preprocess(&mut cx, Image::new(&picture, SIDE, SIDE).unwrap());
    let (size, mut output) = (input.size, Output::default());
    let raw = model.forward(&mut cx, input, &Options::default());
    raw.postprocess(&mut cx, size, (SIDE, SIDE), &mut output);
    drop(cx);
    (seen, output)
}

/// [`run`] of a file.
pub fn run_file(file: &[u8]) -> (BTreeMap<String, Vec<u32>>, Output) {
    let source = SafeTensorsFile::new(&file).unwrap();
    run(&source, &source.metadata().unwrap().unwrap())
}
