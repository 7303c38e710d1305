//! Faster R-CNN's checkpoints of before torchvision 0.13, whose layers TorchVision renames when it loads them.
#![cfg(feature = "cli")]

#[allow(dead_code, reason = "its refusals serve other tests")]
mod checkpoint;
mod generator;
mod quantised;

use checkpoint::{View, checkpoint, state_dict};
use mobilesight::convert::{FloatType, convert};
use mobilesight::image::Image;
use mobilesight::macs::size;
use mobilesight::models::Output;
use mobilesight::models::infer::infer;
use mobilesight::quantize::{Options, quantize};
use mobilesight::weights::{Metadata, PthFile, SafeTensorsFile, StateDict, TensorInfo, Weights};
use quantised::{SIDE, int8_file, rgba, run, run_file, small};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

const ARCH: &str = "fasterrcnn_mobilenet_v3_large_fpn";

/// What the checkpoints call tensor `name`.
fn former(name: &str) -> String {
    match name.strip_prefix("rpn.head.conv.0.0.") {
        Some(leaf) => format!("rpn.head.conv.{leaf}"),
        None if name.starts_with("backbone.fpn.") => name.replace(".0.weight", ".weight").replace(".0.bias", ".bias"),
        None => name.to_string(),
    }
}

/// Name, shape, bytes.
type Tensor = (String, Vec<usize>, Vec<u8>);

/// The floats of the small model's state_dict as the checkpoints have it.
fn tensors() -> (Vec<Tensor>, Metadata) {
    let (weights, metadata) = small(ARCH);
    let bytes = |values: Vec<f32>| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let read = |t: TensorInfo| {
        let values = weights.f32(&t.name, &t.shape).unwrap();
        (former(&t.name), t.shape, bytes(values))
    };
    let tensors: Vec<_> = weights.tensors().into_iter().map(read).collect();
    let renamed = ["backbone.fpn.inner_blocks.1.weight", "backbone.fpn.layer_blocks.0.bias", "rpn.head.conv.weight"];
    assert!(renamed.iter().all(|name| tensors.iter().any(|(other, ..)| other == name)));
    (tensors, metadata)
}

/// As save_file writes it.
fn safetensors_file() -> (Vec<u8>, Metadata) {
    let (tensors, metadata) = tensors();
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data).unwrap();
        (name, view)
    });
    (safetensors::serialize(views, None).unwrap(), metadata)
}

/// As torch.save writes it, but for one storage of all tensors.
fn pth_file() -> (Vec<u8>, Metadata) {
    let (tensors, metadata) = tensors();
    let signed = |n: usize| i64::try_from(n).unwrap();
    let storage: Vec<u8> = tensors.iter().flat_map(|(.., data)| data.clone()).collect();
    let mut offset = 0;
    let mut axes = Vec::new();
    for (_, shape, data) in &tensors {
        let strides = (0..shape.len()).map(|i| signed(shape[i + 1..].iter().product())).collect::<Vec<_>>();
        axes.push((offset, shape.iter().map(|n| signed(*n)).collect::<Vec<_>>(), strides));
        offset += signed(data.len() / 4);
    }
    let views = tensors.iter().zip(&axes).map(|((name, ..), (offset, shape, strides))| {
        let len = signed(storage.len() / 4);
        (name.as_str(), View { kind: "FloatStorage", key: "0", len, offset: *offset, shape, strides })
    });
    (checkpoint(&state_dict(&views.collect::<Vec<_>>()), &[&storage]), metadata)
}

/// Box, score, class.
type Found = ([f32; 4], f32, usize);

fn boxes(output: &Output) -> Vec<Found> {
    output.detections.iter().map(|d| (d.b, d.score, d.group)).collect()
}

#[test]
fn the_boxes_are_those_of_todays_names() {
    let (file, metadata) = safetensors_file();
    let source = SafeTensorsFile::new(&file).unwrap();
    let (found, want) = (boxes(&run(&source, &metadata).1), boxes(&run(&small(ARCH).0, &metadata).1));
    assert!(!want.is_empty());
    assert_eq!(found, want);
    assert_eq!(size(&source, &metadata).unwrap(), size(&small(ARCH).0, &metadata).unwrap());
}

#[test]
fn the_architecture_is_found() {
    let (file, _) = safetensors_file();
    let source = SafeTensorsFile::new(&file).unwrap();
    assert_eq!(infer(&source, Some(ARCH)).unwrap(), infer(&small(ARCH).0, Some(ARCH)).unwrap());
}

#[test]
fn what_is_converted_has_todays_names() {
    let ((file, metadata), (pth, _)) = (safetensors_file(), pth_file());
    let want = convert(&small(ARCH).0, FloatType::F16, &metadata).unwrap();
    let file = convert(&SafeTensorsFile::new(&file).unwrap(), FloatType::F16, &metadata).unwrap();
    assert!(file == want, "a .safetensors file");
    assert!(convert(&PthFile::new(&pth).unwrap(), FloatType::F16, &metadata).unwrap() == want, "a checkpoint");
}

#[test]
fn what_is_quantised_gives_the_same_boxes() {
    let (file, metadata) = safetensors_file();
    let pictures = [rgba(0), rgba(1)];
    let images = [0, 1].map(|i| Image::new(&pictures[i], SIDE, SIDE).unwrap());
    let options = Options { max_drop: 1.0, search_pictures: 1, ..Options::default() };
    let source = SafeTensorsFile::new(&file).unwrap();
    let int8 = quantize(&source, &metadata, &images, &options, &mut |_| ()).unwrap();
    let written = SafeTensorsFile::new(&int8).unwrap().tensors();
    let is_int8 = |name: &str| written.iter().any(|t| t.name == name && t.dtype == Dtype::I8);
    assert!(is_int8("rpn.head.conv.0.0.weight") && is_int8("backbone.fpn.layer_blocks.1.0.weight"));
    assert_eq!(boxes(&run_file(&int8).1), boxes(&run_file(&int8_file(ARCH)).1));
}
