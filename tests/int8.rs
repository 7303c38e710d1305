//! int8 models: what the quantiser makes of generated weights runs, is near f32, and is refused where it was tampered with.
#![cfg(feature = "cli")]

mod generator;
mod quantised;

use mobilesight::Error;
use mobilesight::calibrate::{Calibration, Statistics};
use mobilesight::image::Image;
use mobilesight::models::Output;
use mobilesight::models::registry::{REGISTRY, entry};
use mobilesight::nn::boxes::{Candidate, iou};
use mobilesight::nn::{Context, Map, Origin, View};
use mobilesight::quantize::{Options, quantize};
use mobilesight::tensor::Tensor;
use mobilesight::weights::{SafeTensorsFile, StateDict, Weights};
use quantised::{SIDE, int8_file, int8_file_but, rgba, run, run_file, small};
use safetensors::Dtype;
use safetensors::tensor::{SafeTensors, TensorView};
use std::collections::BTreeMap;

#[test]
fn every_architecture_runs_near_its_f32_self() {
    // What TorchVision quantised has no f32 self.
    for row in REGISTRY.iter().filter(|row| row.quantised().is_none()) {
        let (weights, metadata) = small(row.arch);
        let (f32s, _) = run(&weights, &metadata);
        let file = int8_file(row.arch);
        let is_int8 = |t: &&mobilesight::weights::TensorInfo| t.dtype == Dtype::I8;
        let tensors = SafeTensorsFile::new(&file).unwrap().tensors();
        assert!(tensors.iter().filter(is_int8).count() > 30, "{}", row.arch);
        let (bytes, _) = run_file(&file);
        assert_eq!(bytes.keys().collect::<Vec<_>>(), f32s.keys().collect::<Vec<_>>(), "{}", row.arch);
        for (name, want) in &f32s {
            let got = &bytes[name];
            // Proposals come and go with their scores, and what follows them.
            if name.starts_with("roi_heads.") {
                continue;
            }
            let [mut signal, mut noise] = [0.0, 0.0];
            for (a, b) in want.iter().zip(got).map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b))) {
                signal += f64::from(a).powi(2);
                noise += f64::from(a - b).powi(2);
            }
            assert_eq!(want.len(), got.len(), "{}: {name}", row.arch);
            assert!(noise <= 0.05 * signal, "{}: {name}: {noise} of {signal} is noise", row.arch);
        }
    }
}

/// A picture becomes the bytes that its values are quantised to, halo and padding included, and the result is the same where somebody watches the
/// values; where the first layer is in f32 it stays values.
#[test]
fn pictures_are_quantised_as_they_are_made() {
    for row in REGISTRY.iter().filter(|row| row.quantised().is_none()) {
        let (file, picture) = (int8_file(row.arch), rgba(0));
        let (image, source) = (Image::new(&picture, SIDE, SIDE).unwrap(), SafeTensorsFile::new(&file).unwrap());
        let model = (row.load)(&source, &source.metadata().unwrap().unwrap()).unwrap();
        let mut watch = |_: &str, _: &Tensor, _: Origin| ();
        let mut watched = Context { activations: Some(&mut watch), ..Context::default() };
        let mut alone = Context::default();
        let (values, bytes) = (model.preprocess(&mut watched, image), model.preprocess(&mut alone, image));
        let (Map::F32(_), Map::U8(got, to)) = (&values.map, &bytes.map) else { panic!("{}: of other forms", row.arch) };
        assert_eq!(got.data(), View::from(&values.map).u8(&mut watched, to).data(), "{}", row.arch);
        let results = [(values, &mut watched), (bytes, &mut alone)].map(|(input, cx)| {
            let (size, mut output) = (input.size, Output::default());
            model.forward(cx, input, &Default::default()).postprocess(cx, size, (SIDE, SIDE), &mut output);
            format!("{output:?}")
        });
        assert_eq!(results[0], results[1], "{}", row.arch);
    }
    let file = int8_file_but("mobilenet_v3_small", &["features.0.0"]);
    let source = SafeTensorsFile::new(&file).unwrap();
    let metadata = source.metadata().unwrap().unwrap();
    let model = (entry(&metadata.arch).unwrap().load)(&source, &metadata).unwrap();
    let input = model.preprocess(&mut Context::default(), Image::new(&rgba(0), SIDE, SIDE).unwrap());
    assert!(matches!(input.map, Map::F32(_)));
}

/// They are more than half of DeepLabV3's weights, and were always f32.
#[test]
fn atrous_branches_are_int8() {
    let file = int8_file("deeplabv3_mobilenet_v3_large");
    let tensors = SafeTensorsFile::new(&file).unwrap().tensors();
    for branch in 1..=3 {
        let name = format!("classifier.0.convs.{branch}.0.weight");
        let tensor = tensors.iter().find(|t| t.name == name).unwrap();
        assert_eq!((tensor.dtype, &tensor.shape[2..]), (Dtype::I8, &[3, 3][..]), "{name}");
    }
    let scale = "classifier.0.convs.2.0.weight_scale";
    assert!(refused(&edited(&file, scale, None)).starts_with(scale));
}

/// How much of `want` is in `got`, 0 to 1: pixels of equal class; the probability that classes share; boxes of the same class at
/// an IoU above a half.
fn agreement(want: &Output, got: &Output) -> f64 {
    if !want.mask.is_empty() {
        let same = want.mask.iter().zip(&got.mask).filter(|(a, b)| a == b).count();
        return same as f64 / want.mask.len() as f64;
    }
    if !want.classes.is_empty() {
        let of = |class: usize| got.classes.iter().find(|(c, _)| *c == class).map_or(0.0, |(_, p)| *p);
        return want.classes.iter().map(|(class, p)| f64::from(p.min(of(*class)))).sum();
    }
    let back = |w: &&Candidate| got.detections.iter().any(|g| g.group == w.group && iou(g.b, w.b) > 0.5);
    want.detections.iter().filter(back).count() as f64 / want.detections.len() as f64
}

/// The results, not the activations alone: on weights that were never trained, whose classes are close to one another.
#[test]
fn every_architecture_gives_the_results_of_its_f32_self() {
    for row in REGISTRY.iter().filter(|row| row.quantised().is_none()) {
        let (weights, metadata) = small(row.arch);
        let share = agreement(&run(&weights, &metadata).1, &run_file(&int8_file(row.arch)).1);
        assert!(share >= 0.95, "{}: {share} of the results come back", row.arch);
    }
}

#[test]
fn the_same_pictures_make_the_same_bytes() {
    assert!(int8_file("mobilenet_v3_small") == int8_file("mobilenet_v3_small"));
}

/// Halves are calibrated apart, to be measured on each other; the file takes both.
#[test]
fn calibrations_merge_to_that_of_all_pictures() {
    let (weights, metadata) = small("mobilenet_v3_small");
    let model = (entry(&metadata.arch).unwrap().load)(&weights, &metadata).unwrap();
    let pictures = [rgba(0), rgba(3)];
    let images = [0, 1].map(|i| Image::new(&pictures[i], SIDE, SIDE).unwrap());
    let run = |images: &[Image]| Calibration::run(&*model, images, &mut |_| ());
    let (all, mut merged) = (run(&images), run(&images[..1]));
    let differs = |(name, s): (&String, &Statistics)| s.max != merged.activations[name].max;
    assert!(all.activations.iter().any(differs), "the second picture goes further");
    merged.merge(&run(&images[1..]));
    assert!(all.activations.keys().eq(merged.activations.keys()));
    for (name, one) in &all.activations {
        let other = &merged.activations[name];
        assert_eq!((&one.min, &one.max), (&other.min, &other.max), "{name}");
        for c in 0..one.min.len() {
            assert!((one.mean(c) - other.mean(c)).abs() <= 1e-5 * one.mean(c).abs().max(1.0), "{name}");
        }
    }
    let work = |c: &Calibration| c.layers.iter().map(|(l, macs)| (l.name.clone(), *macs)).collect::<Vec<_>>();
    assert_eq!(work(&all), work(&merged));
}

#[test]
fn layers_named_stay_in_f32_and_unknown_ones_are_refused() {
    let (weights, metadata) = small("mobilenet_v3_small");
    let picture = rgba(0);
    let images = [Image::new(&picture, SIDE, SIDE).unwrap()];
    let options = |layer: &str| Options {
        f32_layers: vec![layer.to_string()],
        max_drop: 1.0,
        search_pictures: 1,
        ..Options::default()
    };
    let file = quantize(&weights, &metadata, &images, &options("features.2"), &mut |_| ()).unwrap();
    let source = SafeTensorsFile::new(&file).unwrap();
    for tensor in source.tensors().iter().filter(|t| t.name.ends_with(".block.0.0.weight")) {
        let expected = if tensor.name.starts_with("features.2.") { Dtype::F16 } else { Dtype::I8 };
        assert_eq!(tensor.dtype, expected, "{}", tensor.name);
    }
    let chosen = &source.metadata().unwrap().unwrap().config["quantization"]["f32_layers"]["chosen"];
    assert_eq!(chosen[0]["layer"], "features.2");
    assert!(chosen[0]["distance_alone"].is_number(), "{chosen}");
    run_file(&file);
    let error = quantize(&weights, &metadata, &images, &options("features.99"), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("features.99"), "{error}");
    let error = quantize(&weights, &metadata, &[], &Options::default(), &mut |_| ()).unwrap_err();
    assert_eq!(error.code(), "E_IMAGE");
    let error = quantize(&source, &metadata, &images, &Options::default(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("quantised already"), "{error}");
}

#[test]
fn units_are_left_in_f32_until_the_drop_is_small() {
    let (weights, metadata) = small("mobilenet_v3_small");
    let picture = rgba(0);
    let images = [Image::new(&picture, SIDE, SIDE).unwrap()];
    let int8_tensors = |max_drop: f64| {
        let options = Options { max_drop, ..Options::default() };
        let file = quantize(&weights, &metadata, &images, &options, &mut |_| ()).unwrap();
        SafeTensorsFile::new(&file).unwrap().tensors().iter().filter(|t| t.dtype == Dtype::I8).count()
    };
    assert!(int8_tensors(0.0) < int8_tensors(1.0));
}

/// A file with tensor `name` replaced, or left out.
fn edited(file: &[u8], name: &str, tensor: Option<(Dtype, Vec<usize>, Vec<u8>)>) -> Vec<u8> {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    let all = SafeTensors::deserialize(file).unwrap();
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = all
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    assert!(tensors.remove(name).is_some(), "no {name}");
    tensors.extend(tensor.map(|tensor| (name.to_string(), tensor)));
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize(views, header.metadata().clone()).unwrap()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn shape_of(file: &Vec<u8>, name: &str) -> Vec<usize> {
    SafeTensorsFile::new(file).unwrap().info(name).unwrap().shape
}

fn refused(file: &[u8]) -> String {
    let source = SafeTensorsFile::new(&file).unwrap();
    let metadata = source.metadata().unwrap().unwrap();
    match (entry(&metadata.arch).unwrap().load)(&source, &metadata) {
        Err(Error::WeightsMismatch(message)) => message,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it loads"),
    }
}

#[test]
fn scales_that_are_no_scales_are_refused_by_name() {
    let file = int8_file("mobilenet_v3_small");
    let gate = "features.1.block.1.fc1.weight_scale";
    for bad in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE / 2.0, 1e-40] {
        for name in ["features.0.0.weight_scale", "features.0.0.output.scale", "input.scale", gate] {
            let len = shape_of(&file, name)[0];
            let mut scales = vec![0.01; len];
            scales[len - 1] = bad;
            let message = refused(&edited(&file, name, Some((Dtype::F32, vec![len], f32s(&scales)))));
            assert!(message.starts_with(name), "{bad}: {message}");
        }
    }
}

#[test]
fn wrong_files_are_refused_by_name() {
    let file = int8_file("mobilenet_v3_small");
    let n = shape_of(&file, "features.0.0.weight_scale")[0];
    let i32s = |values: &[i32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let floats = |len: usize| Some((Dtype::F32, vec![len], f32s(&vec![0.01; len])));
    let zeros = |len: usize| Some((Dtype::U8, vec![len], vec![0; len]));
    let ints = |len: usize| Some((Dtype::I8, vec![len], vec![1; len]));
    let lowest = Some((Dtype::I8, vec![n, 3, 3, 3], vec![0x80; n * 27]));
    let infinite = Some((Dtype::F32, vec![n], f32s(&vec![1e30; n])));
    for (name, tensor, what) in [
        ("input.scale", floats(5), "shape [5], not [3]"),
        ("input.scale", floats(0), "shape [0], not [3]"),
        ("input.zero_point", zeros(2), "shape [2], not [3]"),
        ("features.0.0.output.scale", floats(n + 1), "shape"),
        ("features.0.0.output.zero_point", zeros(n - 1), "shape"),
        ("features.0.0.weight_scale", floats(5), "shape"),
        // One scale for all channels is an activation's, not a weight's.
        ("features.0.0.weight_scale", floats(1), "shape"),
        ("features.0.0.weight_scale", None, "missing"),
        ("features.0.0.weight_scale", ints(n), "I8, not F32"),
        ("features.0.0.bias", ints(n), "I8, not F32"),
        ("features.0.0.bias", floats(n + 1), "shape"),
        ("features.0.0.bias", None, "missing"),
        ("features.0.0", infinite, "bias"),
        ("features.0.0.weight", lowest, "-128"),
        ("features.0.0.weight", ints(n * 27), "shape"),
        ("input.scale", ints(3), "I8, not F32"),
        ("input.zero_point", ints(3), "I8, not U8"),
        ("input.zero_point", Some((Dtype::I32, vec![3], i32s(&[0, 300, 0]))), "I32, not U8"),
        ("input.zero_point", floats(3), "F32, not U8"),
        ("input.zero_point", None, "missing"),
    ] {
        let edit = if what == "bias" { "features.0.0.bias" } else { name };
        let message = refused(&edited(&file, edit, tensor));
        assert!(message.starts_with(name) && message.contains(what), "{name}, {what}: {message}");
    }
    let message = refused(&edited(&file, "input.scale", None));
    assert!(message.starts_with("features.0.0 is int8") && message.contains("input"), "{message}");
}

/// The classifier of LR-ASPP that a gate multiplies the input of is always in f32.
#[test]
fn int8_weights_where_only_f32_can_be_are_refused() {
    let file = int8_file("lraspp_mobilenet_v3_large");
    let name = "classifier.high_classifier.weight";
    let shape = shape_of(&file, name);
    let data = vec![1; shape.iter().product()];
    let message = refused(&edited(&file, name, Some((Dtype::I8, shape, data))));
    assert!(message.contains("can only be f32"), "{message}");
}

/// int8 for what is no layer of the builder's: a name that it reads as floats.
#[test]
fn int8_weights_for_an_f32_name_are_refused() {
    let file = int8_file("fasterrcnn_mobilenet_v3_large_320_fpn");
    for name in ["rpn.head.bbox_pred.bias", "backbone.body.0.0.bias", "input.scale"] {
        let shape = shape_of(&file, name);
        let data = vec![1; shape.iter().product()];
        let message = refused(&edited(&file, name, Some((Dtype::I8, shape, data))));
        assert!(message.starts_with(name) && message.contains("I8, not F32"), "{message}");
    }
}
