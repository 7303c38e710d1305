//! `cargo run --release --example generated_weights -- OUT_DIR [--width-mult F | --family]`: the goldens' generated weights as files,
//! for the benches: every engine computes the same model, and nothing is stored. `--family`: TorchVision's own models, all of them.

#[path = "../tests/generator/mod.rs"]
mod generator;

use generator::GeneratedWeights;
use mobilesight::Result;
use mobilesight::kernels::Activation;
use mobilesight::models::mobilenetv3::{Arch, inverted_residual_setting};
use mobilesight::models::registry::{REGISTRY, entry};
use mobilesight::weights::{Metadata, Weights};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A tensor's type, shape and bytes.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// Keeps what a builder asks for.
#[derive(Default)]
struct Recorder(RefCell<BTreeMap<String, Tensor>>);

impl Weights for Recorder {
    fn contains(&self, name: &str) -> bool {
        GeneratedWeights.contains(name)
    }

    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let mut bytes = Vec::new();
        let outcome = GeneratedWeights.rows(name, shape, &mut |i, row| {
            bytes.extend(row.iter().flat_map(|v| v.to_le_bytes()));
            each(i, row);
        });
        self.0.borrow_mut().insert(name.to_string(), (Dtype::F32, shape.to_vec(), bytes));
        outcome
    }

    fn byte_rows(&self, name: &str, shape: &[usize], dtype: Dtype, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let mut bytes = Vec::new();
        let outcome = GeneratedWeights.byte_rows(name, shape, dtype, &mut |i, row| {
            bytes.extend(row);
            each(i, row);
        });
        self.0.borrow_mut().insert(name.to_string(), (dtype, shape.to_vec(), bytes));
        outcome
    }
}

/// The rows of MobileNetV3-Large as a file states them.
fn rows(width_mult: f64, dilated: bool) -> Value {
    let rows = inverted_residual_setting(Arch::Large, width_mult, false, dilated).into_iter().map(|r| {
        let activation = if r.activation == Activation::Relu { "RE" } else { "HS" };
        let channels = (r.input_channels, r.kernel, r.expanded_channels, r.out_channels);
        json!([channels.0, channels.1, channels.2, channels.3, r.use_se, activation, r.stride, r.dilation])
    });
    rows.collect()
}

fn write(folder: &Path, file: &str, arch: &str, classes: usize, config: Value, preset: Value) {
    let labels: Vec<String> = (0..classes).map(|i| format!("class {i}")).collect();
    let about = json!({ "arch": arch, "labels": labels, "config": config, "preset": preset });
    let metadata: Metadata = serde_json::from_value(about.clone()).expect("metadata");
    let recorder = Recorder::default();
    (entry(arch).expect("a known architecture").load)(&recorder, &metadata).expect("generated weights fit");
    let tensors = recorder.0.into_inner();
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).expect("bytes of the shape"))
    });
    let metadata = HashMap::from([("mobilesight".to_string(), about.to_string())]);
    let path = folder.join(file);
    serialize_to_file(views, Some(metadata), &path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    println!("{}", path.display());
}

/// Every model of the registry, as its builder makes it.
fn write_family(folder: &Path) {
    for entry in REGISTRY {
        let dtype = if entry.quantised().is_some() { "int8" } else { "f32" };
        let file = format!("{}.{dtype}.safetensors", entry.arch);
        write(folder, &file, entry.arch, entry.labels.lines().count(), Value::Null, Value::Null);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(args.first().expect("the folder to write"));
    if args.iter().any(|arg| arg == "--family") {
        return write_family(folder);
    }
    let at = args.iter().position(|arg| arg == "--width-mult");
    let width_mult: f64 = at.map_or(1.0, |at| args[at + 1].parse().expect("--width-mult takes a number"));
    let backbone = |dilated: bool| json!({ "inverted_residual_setting": rows(width_mult, dilated) });
    let detector = "fasterrcnn_mobilenet_v3_large_320_fpn";
    write(folder, "frcnn320.f32.safetensors", detector, 91, backbone(false), Value::Null);
    let preset = json!({ "resize": 320 });
    write(folder, "lraspp320.f32.safetensors", "lraspp_mobilenet_v3_large", 21, backbone(true), preset);
    let preset = json!({ "resize": 224, "crop": 224 });
    write(folder, "large224.f32.safetensors", "mobilenet_v3_large", 1000, backbone(false), preset);
}
