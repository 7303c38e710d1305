//! Every stage of the models against what TorchVision computes on the same generated weights and pictures.

mod support;

use mobilesight::image::Image;
use mobilesight::models::config::faster_rcnn_config;
use mobilesight::models::detection::faster_rcnn::{FasterRcnn, FasterRcnnConfig};
use mobilesight::models::mobilenetv3::{Arch, MobileNetV3, inverted_residual_setting};
use mobilesight::models::segmentation::lraspp::{Lraspp, LrasppConfig};
use mobilesight::nn::Context;
use mobilesight::nn::boxes::iou;
use mobilesight::tensor::Tensor;
use mobilesight::weights::SafeTensorsFile;
use support::{GeneratedWeights, Golden, normalised, picture};

/// Runs the backbone and compares each `features.i`.
fn check_features(golden: &str, arch: Arch, width_mult: f64, reduced_tail: bool, dilated: bool, size: usize) {
    let file = Golden::open(golden);
    let setting = inverted_residual_setting(arch, width_mult, reduced_tail, dilated);
    let model = MobileNetV3::load(&GeneratedWeights, "features", &setting, 0.001).expect("generated weights fit");
    let mut seen = 0;
    // f32 sums in another order, through up to 17 stages: a thousandth of the value.
    let mut compare = |name: &str, output: &Tensor| {
        assert!(file.has(name), "{golden} has no stage {name}");
        file.check(name, output, 1e-4, 1e-3);
        seen += 1;
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let picture = normalised(&mut cx.workspace, size, size);
    model.forward(&mut cx, &picture, None);
    assert_eq!(seen, file.stages("features."), "every stage of {golden} was seen");
}

#[test]
fn mobilenet_v3_large() {
    check_features("mobilenet_v3_large", Arch::Large, 1.0, false, false, 224);
}

#[test]
fn mobilenet_v3_small() {
    check_features("mobilenet_v3_small", Arch::Small, 1.0, false, false, 224);
}

#[test]
fn mobilenet_v3_large_w050_reduced_dilated() {
    check_features("mobilenet_v3_large_w050_reduced_dilated", Arch::Large, 0.5, true, true, 160);
}

#[test]
fn mobilenet_v3_small_w035() {
    check_features("mobilenet_v3_small_w035", Arch::Small, 0.35, false, false, 96);
}

/// Runs LR-ASPP and compares the backbone, the head's stages, the upsampled scores and the class map.
fn check_lraspp(golden: &str, h: usize, w: usize) {
    let file = Golden::open(golden);
    let config = LrasppConfig::lraspp_mobilenet_v3_large(21);
    let model = Lraspp::load(&GeneratedWeights, &config).expect("generated weights fit");
    let mut seen = 0;
    // The head's sums run over 960 channels whose own error is a thousandth.
    let mut compare = |name: &str, output: &Tensor| {
        file.check(name, output, 2e-3, 2e-3);
        seen += 1;
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let picture = normalised(&mut cx.workspace, h, w);
    let scores = model.forward(&mut cx, &picture);
    let mut mask = vec![0; h * w];
    model.argmax(&mut cx, &scores, (h, w), &mut mask);
    let out = model.upsample(&mut cx, &scores, (h, w));
    drop(cx);
    file.check("out", &out, 2e-3, 2e-3);
    assert_eq!(seen, file.stages("backbone.") + file.stages("classifier."), "every stage of {golden} was seen");
    let want = file.bytes_of("argmax");
    let same = mask.iter().zip(&want).filter(|(a, b)| a == b).count();
    // Where two classes' scores differ by less than the tolerance either may win.
    assert!(same * 1000 >= want.len() * 999, "{same} of {} pixels have TorchVision's class", want.len());
}

#[test]
fn lraspp_mobilenet_v3_large() {
    check_lraspp("lraspp_mobilenet_v3_large", 320, 320);
}

#[test]
fn lraspp_mobilenet_v3_large_rect() {
    check_lraspp("lraspp_mobilenet_v3_large_rect", 226, 331);
}

/// Runs the detector and compares the stages, then the boxes as sets: the scores are close to one another by construction.
fn check_fasterrcnn(golden: &str, h: usize, w: usize) {
    let file = Golden::open(golden);
    let config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(91);
    let model = FasterRcnn::load(&GeneratedWeights, config).expect("generated weights fit");
    let mut seen = Vec::new();
    let mut compare = |name: &str, output: &Tensor| {
        seen.push(name.to_string());
        let Some(part) = name.strip_prefix("roi_heads.") else {
            // Sums over 2,304 and 960 channels of a backbone whose own error is a thousandth.
            return file.check(name, output, 2e-3, 2e-3);
        };
        let (rows, c) = (output.w, output.c);
        let values = output.to_vec();
        match part {
            // A row is (c, y, x) in TorchVision and (y, x, c) here.
            "box_roi_pool" => {
                let index = |i: usize| i / c * c + i % c % 49 * (c / 49) + i % c / 49;
                file.check_by(name, &[rows, c / 49, 7, 7], &values, index, (2e-3, 2e-3));
            }
            _ => file.check_by(name, &[rows, c], &values, |i| i, (5e-3, 5e-3)),
        }
    };
    let rgba = picture(h, w);
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let found = model.detect(&mut cx, Image::new(&rgba, w, h).expect("a picture"));
    drop(cx);
    assert_eq!(seen.len(), file.stages(""), "every stage of {golden} was seen: {seen:?}");
    let (boxes, scores, labels) = (file.floats("boxes"), file.floats("scores"), file.bytes_of("labels"));
    assert_eq!(found.len(), scores.len());
    let matched = found.iter().filter(|d| {
        (0..scores.len()).any(|i| {
            let b = [boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]];
            // Labels are I64, little-endian and below 91.
            d.group == usize::from(labels[8 * i]) && (d.score - scores[i]).abs() <= 1e-3 && iou(d.b, b) >= 0.99
        })
    });
    let matched = matched.count();
    assert!(matched >= 98, "{matched} of {} boxes are TorchVision's", scores.len());
}

#[test]
fn fasterrcnn_mobilenet_v3_large_320_fpn() {
    check_fasterrcnn("fasterrcnn_mobilenet_v3_large_320_fpn", 480, 640);
}

#[test]
fn fasterrcnn_mobilenet_v3_large_320_fpn_tall() {
    check_fasterrcnn("fasterrcnn_mobilenet_v3_large_320_fpn_tall", 700, 250);
}

/// The shipped detector on the shipped pictures, against TorchVision with the same weights.
#[test]
fn default_detector_on_real_pictures() {
    let root = env!("CARGO_MANIFEST_DIR");
    let bytes = std::fs::read(format!("{root}/www/models/coco-fasterrcnn-mobilenetv3-320.f16.safetensors")).unwrap();
    let file = SafeTensorsFile::new(&bytes).unwrap();
    let config = faster_rcnn_config(&file.metadata().unwrap().expect("the file describes itself")).unwrap();
    let model = FasterRcnn::load(&file, config).unwrap();
    let golden = std::fs::read_to_string(format!("{root}/tests/golden/samples/samples.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&golden).unwrap();
    let mut cx = Context::default();
    for (name, want) in golden.as_object().unwrap() {
        let picture = image::open(format!("{root}/www/samples/{name}")).unwrap().to_rgba8();
        let (w, h) = (picture.width() as usize, picture.height() as usize);
        let found = model.detect(&mut cx, Image::new(&picture, w, h).unwrap());
        let scores = want["scores"].as_array().unwrap();
        assert_eq!(found.len(), scores.len(), "{name}: {found:?}");
        for (d, i) in found.iter().zip(0..) {
            let b: [f32; 4] = std::array::from_fn(|k| want["boxes"][i][k].as_f64().unwrap() as f32);
            assert_eq!(d.group as u64, want["labels"][i].as_u64().unwrap(), "{name}[{i}]");
            assert!((f64::from(d.score) - scores[i].as_f64().unwrap()).abs() <= 1e-3, "{name}[{i}]: {d:?}");
            assert!(iou(d.b, b) >= 0.99, "{name}[{i}]: {d:?} should be {b:?}");
        }
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
    let found = model.detect(&mut cx, Image::new(&picture(5, 5), 5, 5).expect("a picture"));
    drop(cx);
    assert_eq!(pool, Some((1, 1)));
    assert!(found.iter().all(|d| d.b.iter().all(|v| (0.0..=5.001).contains(v))), "{found:?}");
}
