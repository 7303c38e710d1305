//! TorchVision's quantised classifier against QNNPACK's own bytes, stage by stage.

mod generator;
mod support;

use generator::bits;
use mobilesight::image::Image;
use mobilesight::models::classification::ClassifierConfig;
use mobilesight::models::config::classifier_config;
use mobilesight::models::quantization::mobilenetv3::QuantizedClassifier;
use mobilesight::models::registry::{Task, entry};
use mobilesight::models::{Options, Output};
use mobilesight::nn::Context;
use mobilesight::tensor::Tensor;
use mobilesight::weights::SafeTensorsFile;
use support::{Golden, normalised, picture};

// The same list runs in a browser.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// What `mobilesight convert` makes of mobilenet_v3_large_w035_qat.pth: a browser reads no checkpoints.
const FILE: &[u8] = include_bytes!("golden/quantized_mobilenet_v3_large_w035.safetensors");

fn qnnpack() -> Golden {
    golden!("mobilenet_v3_large_w035_qnnpack")
}

/// The byte that `value` is of a stage with `scale` and `zero_point`.
fn step(value: f32, (scale, zero_point): (f64, f64)) -> i64 {
    let q = f64::from(value) / scale + zero_point;
    assert!((q - q.round()).abs() < 1e-3 && (0.0..=255.5).contains(&q), "{value} is no byte: {q}");
    q.round() as i64
}

/// Compares the samples of a picture's map in steps, and the moments; gives how many samples differ.
fn check_stage(golden: &Golden, name: &str, map: &Tensor) -> usize {
    let [scale, zero_point] = golden.doubles(&format!("{name}.qparams"))[..] else { panic!("a scale, a zero point") };
    golden.check(name, map, scale as f32 * 1.001, 0.0);
    let (values, area) = (map.to_vec(), map.h * map.w);
    let samples = golden.floats(&format!("{name}.samples"));
    let seed = format!("sample.{name}");
    let places = bits(&seed, samples.len()).map(|i| (i % values.len() as u64) as usize);
    let differs = |(i, want): (usize, &f32)| {
        let got = step(values[i % area * map.c + i / area], (scale, zero_point));
        let difference = (got - step(*want, (scale, zero_point))).abs();
        assert!(difference <= 1, "{name}[{i}] is {difference} steps off");
        difference > 0
    };
    places.zip(&samples).filter(|(i, want)| differs((*i, want))).count()
}

#[test]
fn every_stage_and_the_logits_are_within_a_step_of_qnnpack() {
    let (golden, file) = (qnnpack(), SafeTensorsFile::new(&FILE).unwrap());
    let metadata = file.metadata().unwrap().expect("the file describes itself");
    assert_eq!(metadata.arch, "quantized_mobilenet_v3_large");
    let config = classifier_config(ClassifierConfig::quantized_mobilenet_v3_large(100), &metadata).unwrap();
    let model = QuantizedClassifier::load(&file, config).unwrap();
    let (mut stages, mut different) = (0, Vec::new());
    let mut compare = |name: &str, map: &Tensor| {
        if name != "logits" {
            stages += 1;
            different.push((name.to_string(), check_stage(&golden, name, map)));
        }
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let input = normalised(&mut cx.workspace, 96, 96);
    let logits = model.logits(&mut cx, &input).to_vec();
    drop(cx);
    assert_eq!(stages, golden.stages("features."), "every stage was seen");
    let want = golden.floats("logits");
    assert_eq!(logits.len(), want.len());
    // The last observer's range.
    let scale = file_scale(&file, "classifier.3");
    let steps: Vec<i64> = logits.iter().zip(&want).map(|(a, b)| ((a - b) / scale).round().abs() as i64).collect();
    println!("{different:?} {steps:?}");
    assert!(steps.iter().all(|s| *s <= 1), "{steps:?}");
}

fn file_scale(file: &SafeTensorsFile, module: &str) -> f32 {
    mobilesight::weights::Weights::f32(file, &format!("{module}.output.scale"), &[1]).unwrap()[0]
}

/// As the registry makes it of the file alone, from a picture to classes.
#[test]
fn the_file_runs_by_the_registry() {
    let file = SafeTensorsFile::new(&FILE).unwrap();
    let metadata = file.metadata().unwrap().unwrap();
    let row = entry(&metadata.arch).unwrap();
    assert_eq!(row.task, Task::Classification);
    let model = (row.load)(&file, &metadata).unwrap();
    let (rgba, mut cx, mut output) = (picture(100, 80), Context::default(), Output::default());
    let input = model.preprocess(&mut cx, Image::new(&rgba, 80, 100).unwrap());
    assert_eq!(input.size, (224, 224));
    let size = input.size;
    let raw = model.forward(&mut cx, input, &Options::default());
    model.postprocess(&mut cx, raw, size, (100, 80), &mut output);
    assert_eq!(output.classes.len(), 100);
    assert!(output.classes.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{:?}", output.classes);
    let sum: f32 = output.classes.iter().map(|c| c.1).sum();
    assert!((sum - 1.0).abs() <= 1e-5, "{sum}");
}
