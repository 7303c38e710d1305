//! Every stage of the models against what TorchVision computes on the same generated weights and pictures.

mod checks;
mod generator;
mod support;

use checks::{check_fasterrcnn, check_segmenter, run};
use generator::GeneratedWeights;
use mobilesight::image::Image;
use mobilesight::models::detection::faster_rcnn::{FasterRcnn, FasterRcnnConfig};
use mobilesight::models::detection::rpn::RpnConfig;
use mobilesight::models::mobilenetv3::{Arch, inverted_residual_setting};
use mobilesight::models::registry::entry;
use mobilesight::models::segmentation::lraspp::{Lraspp, LrasppConfig};
use mobilesight::models::{Model, Options, Output};
use mobilesight::nn::Context;
use mobilesight::nn::boxes::{Box2d, Candidate, iou};
use mobilesight::tensor::Tensor;
use mobilesight::weights::SafeTensorsFile;
use std::collections::HashSet;
use support::picture;

// The same list runs in a browser.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

fn lraspp() -> Lraspp {
    let config = LrasppConfig::lraspp_mobilenet_v3_large(21);
    Lraspp::load(&GeneratedWeights, config).expect("generated weights fit")
}

#[test]
fn lraspp_mobilenet_v3_large() {
    check_segmenter(golden!("lraspp_mobilenet_v3_large"), &lraspp(), &[], 320, 320);
}

#[test]
fn lraspp_mobilenet_v3_large_rect() {
    check_segmenter(golden!("lraspp_mobilenet_v3_large_rect"), &lraspp(), &[], 226, 331);
}

#[test]
fn fasterrcnn_mobilenet_v3_large_320_fpn() {
    let config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(91);
    check_fasterrcnn(golden!("fasterrcnn_mobilenet_v3_large_320_fpn"), config, 480, 640);
}

#[test]
fn fasterrcnn_mobilenet_v3_large_320_fpn_tall() {
    let config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(91);
    check_fasterrcnn(golden!("fasterrcnn_mobilenet_v3_large_320_fpn_tall"), config, 700, 250);
}

/// A file of the project, a part of the test itself: a browser has no files.
macro_rules! file {
    ($path:literal) => {
        include_bytes!(concat!("../", $path)) as &[u8]
    };
}

/// The shipped pictures, and the class maps that TorchVision makes of them.
const SAMPLES: [(&str, &[u8], &[u8]); 5] = [
    ("astronaut.png", file!("www/samples/astronaut.png"), file!("tests/golden/samples/astronaut.street.png")),
    ("chelsea.png", file!("www/samples/chelsea.png"), file!("tests/golden/samples/chelsea.street.png")),
    ("china.png", file!("www/samples/china.png"), file!("tests/golden/samples/china.street.png")),
    ("coffee.png", file!("www/samples/coffee.png"), file!("tests/golden/samples/coffee.street.png")),
    ("grace_hopper.png", file!("www/samples/grace_hopper.png"), file!("tests/golden/samples/grace_hopper.street.png")),
];

/// A shipped model, as the registry makes it of its file.
fn shipped(bytes: &[u8]) -> Box<dyn Model> {
    let file = SafeTensorsFile::new(&bytes).unwrap();
    let metadata = file.metadata().unwrap().expect("the file describes itself");
    (entry(&metadata.arch).unwrap().load)(&file, &metadata).unwrap()
}

/// The shipped detector on the shipped pictures, against TorchVision with the same weights.
#[test]
fn default_detector_on_real_pictures() {
    let model = shipped(file!("www/models/coco-fasterrcnn-mobilenetv3-320.f16.safetensors"));
    let golden: serde_json::Value = serde_json::from_slice(file!("tests/golden/samples/samples.json")).unwrap();
    let mut cx = Context::default();
    for (name, picture, _) in SAMPLES {
        let picture = image::load_from_memory(picture).unwrap().to_rgba8();
        let (w, h) = (picture.width() as usize, picture.height() as usize);
        let found = run(&*model, &mut cx, Image::new(picture.as_raw(), w, h).unwrap()).detections;
        let want = &golden[name];
        let scores = want["scores"].as_array().unwrap();
        assert_eq!(found.len(), scores.len(), "{name}: {found:?}");
        for (d, i) in found.iter().zip(0..) {
            let b: Box2d = std::array::from_fn(|k| want["boxes"][i][k].as_f64().unwrap() as f32);
            assert_eq!(d.group as u64, want["labels"][i].as_u64().unwrap(), "{name}[{i}]");
            assert!((f64::from(d.score) - scores[i].as_f64().unwrap()).abs() <= 1e-3, "{name}[{i}]: {d:?}");
            assert!(iou(d.b, b) >= 0.99, "{name}[{i}]: {d:?} should be {b:?}");
        }
    }
}

/// The shipped segmenter on the shipped pictures, against TorchVision's class map of the resized picture.
#[test]
fn default_segmenter_on_real_pictures() {
    let model = shipped(file!("www/models/street-lraspp-mobilenetv3.f16.safetensors"));
    let (mut cx, mut output) = (Context::default(), Output::default());
    for (name, picture, want) in SAMPLES {
        let picture = image::load_from_memory(picture).unwrap().to_rgba8();
        let want = image::load_from_memory(want).unwrap().to_luma8();
        let (w, h) = (picture.width() as usize, picture.height() as usize);
        let input = model.preprocess(&mut cx, Image::new(picture.as_raw(), w, h).unwrap());
        let size = input.size;
        assert_eq!(size, (want.height() as usize, want.width() as usize), "{name}");
        let raw = model.forward(&mut cx, input, &Options::default());
        raw.postprocess(&mut cx, size, size, &mut output);
        let same = output.mask.iter().zip(want.iter()).filter(|(a, b)| a == b).count();
        // Where two classes' scores differ by less than rounding either may win.
        assert!(same * 1000 >= want.len() * 999, "{name}: {same} of {} pixels have TorchVision's class", want.len());
    }
}

/// A map of one pixel has a pool level of the same size: it used to panic.
#[test]
fn a_picture_of_one_feature_pixel() {
    let config = FasterRcnnConfig {
        inverted_residual_setting: inverted_residual_setting(Arch::Large, 0.35, true, false),
        representation_size: 16,
        min_size: 32,
        max_size: 32,
        ..FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(4)
    };
    let model = FasterRcnn::load(&GeneratedWeights, config).expect("generated weights fit");
    let mut pool = None;
    let mut watch = |name: &str, output: &Tensor| {
        if name == "features.pool" {
            pool = Some((output.h, output.w));
        }
    };
    let mut cx = Context { observer: Some(&mut watch), ..Context::default() };
    let found = run(&model, &mut cx, Image::new(&picture(5, 5), 5, 5).expect("a picture")).detections;
    drop(cx);
    assert_eq!(pool, Some((1, 1)));
    assert!(found.iter().all(|d| d.b.iter().all(|v| (0.0..=5.001).contains(v))), "{found:?}");
}

/// A detector of three chunks of boxes and more.
fn of_many_boxes() -> FasterRcnn {
    let default = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(7);
    let rpn = RpnConfig { pre_nms_top_n: 1000, post_nms_top_n: 450, score_thresh: 0.0, nms_thresh: 1.0 };
    let config = FasterRcnnConfig {
        inverted_residual_setting: inverted_residual_setting(Arch::Large, 0.35, true, false),
        representation_size: 24,
        min_size: 192,
        max_size: 192,
        rpn,
        ..default
    };
    FasterRcnn::load(&GeneratedWeights, config).expect("generated weights fit")
}

/// Who watches sees all boxes at once, and nobody else's detections differ by a bit.
#[test]
fn boxes_in_chunks_give_the_same_bits() {
    let model = of_many_boxes();
    let rgba = picture(90, 90);
    let image = Image::new(&rgba, 90, 90).expect("a picture");
    let mut boxes = 0;
    let mut watch = |name: &str, output: &Tensor| {
        if name == "roi_heads.box_roi_pool" {
            boxes += output.w;
        }
    };
    let whole = run(&model, &mut Context { observer: Some(&mut watch), ..Context::default() }, image).detections;
    assert_eq!(boxes, 450);
    let chunks = run(&model, &mut Context::default(), image).detections;
    let bits = |d: &Candidate| (d.b.map(f32::to_bits), d.score.to_bits(), d.group);
    assert!(!whole.is_empty());
    assert!(whole.iter().map(bits).eq(chunks.iter().map(bits)), "{whole:?} against {chunks:?}");
}

/// The clock tells of the stages that an observer sees, and runs what runs otherwise: boxes in chunks.
#[test]
fn the_clock_runs_what_runs_otherwise() {
    let rgba = picture(90, 90);
    let image = Image::new(&rgba, 90, 90).expect("a picture");
    let names = |model: &dyn Model| {
        let (mut seen, mut timed) = (Vec::new(), Vec::new());
        let mut watch = |name: &str, _: &Tensor| seen.push(name.to_string());
        run(model, &mut Context { observer: Some(&mut watch), ..Context::default() }, image);
        let mut clock = |name: &str| timed.push(name.to_string());
        run(model, &mut Context { clock: Some(&mut clock), ..Context::default() }, image);
        (seen, timed)
    };
    let (seen, timed) = names(&lraspp());
    assert_eq!(timed, seen);
    let (seen, mut timed) = names(&of_many_boxes());
    let parts = timed.iter().filter(|name| *name == "roi_heads.box_roi_pool").count();
    assert!(parts >= 3, "{parts} parts of the boxes");
    let mut met = HashSet::new();
    timed.retain(|name| met.insert(name.clone()));
    assert_eq!(timed, seen);
}
