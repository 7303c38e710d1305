//! TorchVision's quantised classifier against QNNPACK's own bytes, stage by stage.

#[allow(dead_code, reason = "its weights serve the models in f32")]
mod generator;
#[allow(dead_code, reason = "the rest serves the models in f32")]
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
use mobilesight::weights::{SafeTensorsFile, Weights};
use safetensors::SafeTensors;
use support::{Golden, normalised, picture};

// The same list runs in a browser.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// What `mobilesight convert` makes of mobilenet_v3_large_w035_qat.pth: a browser reads no checkpoints.
const FILE: &[u8] = include_bytes!("golden/quantized_mobilenet_v3_large_w035.safetensors");

/// What QNNPACK computed with the same weights.
const QNNPACK: &[u8] = include_bytes!("golden/mobilenet_v3_large_w035_qnnpack.safetensors");

/// The scale and zero point of a stage of QNNPACK's.
fn parameters(stage: &str) -> [f64; 2] {
    let file = SafeTensors::deserialize(QNNPACK).unwrap();
    let tensor = file.tensor(&format!("{stage}.qparams")).unwrap();
    let [scale, zero_point] = *tensor.data().as_chunks().0 else { panic!("a scale and a zero point") };
    [scale, zero_point].map(f64::from_le_bytes)
}

/// The byte that `value` is.
fn byte(value: f32, [scale, zero_point]: [f64; 2]) -> i64 {
    let q = f64::from(value) / scale + zero_point;
    assert!((q - q.round()).abs() < 1e-3 && (-0.5..255.5).contains(&q), "{value} is no byte: {q}");
    q.round() as i64
}

/// Compares the samples of a picture's map in steps, and the moments.
fn check_stage(golden: &Golden, name: &str, map: &Tensor) {
    let parameters = parameters(name);
    golden.check(name, map, parameters[0] as f32 * 1.001, 0.0);
    let (values, area, samples) = (map.to_vec(), map.h * map.w, golden.floats(&format!("{name}.samples")));
    for (i, want) in bits(&format!("sample.{name}"), samples.len()).zip(&samples) {
        let i = (i % values.len() as u64) as usize;
        let (got, want) = (byte(values[i % area * map.c + i / area], parameters), byte(*want, parameters));
        assert!((got - want).abs() <= 1, "{name}[{i}] is byte {got}, should be {want}");
    }
}

#[test]
fn every_stage_and_the_logits_are_within_a_step_of_qnnpack() {
    let (golden, file) = (Golden::new(QNNPACK), SafeTensorsFile::new(&FILE).unwrap());
    let metadata = file.metadata().unwrap().expect("the file describes itself");
    let config = classifier_config(ClassifierConfig::quantized_mobilenet_v3_large(100), &metadata).unwrap();
    let model = QuantizedClassifier::load(&file, config).unwrap();
    let mut stages = 0;
    let mut compare = |name: &str, map: &Tensor| {
        if name != "logits" {
            stages += 1;
            check_stage(&golden, name, map);
        }
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let input = normalised(&mut cx.workspace, 96, 96);
    let logits = model.logits(&mut cx, input).to_vec();
    drop(cx);
    assert_eq!(stages, golden.stages("features."), "every stage was seen");
    let scale = file.f32("classifier.3.output.scale", &[1]).unwrap()[0];
    let want = golden.floats("logits");
    assert_eq!(logits.len(), want.len());
    for (i, (got, want)) in logits.iter().zip(&want).enumerate() {
        assert!((got - want).abs() <= scale * 1.001, "logit {i} is {got}, should be {want}, in steps of {scale}");
    }
}

/// As the registry makes it of the file alone, from a picture to classes.
#[test]
fn the_file_runs_by_the_registry() {
    let file = SafeTensorsFile::new(&FILE).unwrap();
    let metadata = file.metadata().unwrap().unwrap();
    let row = entry(&metadata.arch).unwrap();
    assert_eq!(row.task, Task::Classification);
    let model = (row.load)(&file, &metadata).unwrap();
    let (rgba, mut stages, mut output) = (picture(100, 80), Vec::new(), Output::default());
    let mut watch = |name: &str, _: &Tensor| stages.push(name.to_string());
    let mut cx = Context { observer: Some(&mut watch), ..Context::default() };
    let input = model.preprocess(&mut cx, Image::new(&rgba, 80, 100).unwrap());
    assert_eq!(input.size, (224, 224));
    let size = input.size;
    let raw = model.forward(&mut cx, input, &Options::default());
    raw.postprocess(&mut cx, size, (100, 80), &mut output);
    drop(cx);
    assert_eq!(stages[0], "transform");
    assert_eq!(output.classes.len(), 100);
    assert!(output.classes.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{:?}", output.classes);
    let sum: f32 = output.classes.iter().map(|c| c.1).sum();
    assert!((sum - 1.0).abs() <= 1e-5, "{sum}");
}
