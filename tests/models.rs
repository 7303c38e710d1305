//! Every stage of the models against what TorchVision computes on the same generated weights and pictures.

mod support;

use mobilesight::image::Image;
use mobilesight::models::detection::faster_rcnn::{FasterRcnn, FasterRcnnConfig};
use mobilesight::models::detection::roi_heads::RoiHeads;
use mobilesight::models::mobilenetv3::{Arch, MobileNetV3, inverted_residual_setting};
use mobilesight::models::registry::entry;
use mobilesight::models::segmentation::lraspp::{Lraspp, LrasppConfig};
use mobilesight::models::{Model, Options, Output};
use mobilesight::nn::Context;
use mobilesight::nn::boxes::{Box2d, iou};
use mobilesight::tensor::{Tensor, Workspace};
use mobilesight::weights::SafeTensorsFile;
use support::{GeneratedWeights, Golden, normalised, picture};

// The same list runs in a browser.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Runs the backbone and compares each `features.i`.
fn check_features(file: Golden, arch: Arch, width_mult: f64, reduced_tail: bool, dilated: bool, size: usize) {
    let setting = inverted_residual_setting(arch, width_mult, reduced_tail, dilated);
    let model = MobileNetV3::load(&GeneratedWeights, "features", &setting, 0.001).expect("generated weights fit");
    let mut seen = 0;
    // f32 sums in another order, through up to 17 stages: a thousandth of the value.
    let mut compare = |name: &str, output: &Tensor| {
        assert!(file.has(name), "there is no stage {name}");
        file.check(name, output, 1e-4, 1e-3);
        seen += 1;
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let picture = normalised(&mut cx.workspace, size, size);
    model.forward(&mut cx, &picture, None);
    assert_eq!(seen, file.stages("features."), "every stage was seen");
}

#[test]
fn mobilenet_v3_large() {
    check_features(golden!("mobilenet_v3_large"), Arch::Large, 1.0, false, false, 224);
}

#[test]
fn mobilenet_v3_small() {
    check_features(golden!("mobilenet_v3_small"), Arch::Small, 1.0, false, false, 224);
}

#[test]
fn mobilenet_v3_large_w050_reduced_dilated() {
    check_features(golden!("mobilenet_v3_large_w050_reduced_dilated"), Arch::Large, 0.5, true, true, 160);
}

#[test]
fn mobilenet_v3_small_w035() {
    check_features(golden!("mobilenet_v3_small_w035"), Arch::Small, 0.35, false, false, 96);
}

/// Runs LR-ASPP and compares the backbone, the head's stages, the upsampled scores and the class map.
fn check_lraspp(file: Golden, h: usize, w: usize) {
    let config = LrasppConfig::lraspp_mobilenet_v3_large(21);
    let model = Lraspp::load(&GeneratedWeights, config).expect("generated weights fit");
    let mut seen = 0;
    // The head's sums run over 960 channels whose own error is a thousandth.
    let mut compare = |name: &str, output: &Tensor| {
        file.check(name, output, 2e-3, 2e-3);
        seen += 1;
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let picture = normalised(&mut cx.workspace, h, w);
    let scores = model.scores(&mut cx, &picture);
    let mut mask = vec![0; h * w];
    model.argmax(&mut cx, &scores, (h, w), &mut mask);
    let out = model.upsample(&mut cx, &scores, (h, w));
    drop(cx);
    file.check("out", &out, 2e-3, 2e-3);
    assert_eq!(seen, file.stages("backbone.") + file.stages("classifier."), "every stage was seen");
    let want = file.bytes_of("argmax");
    let same = mask.iter().zip(&want).filter(|(a, b)| a == b).count();
    // Where two classes' scores differ by less than the tolerance either may win.
    assert!(same * 1000 >= want.len() * 999, "{same} of {} pixels have TorchVision's class", want.len());
}

#[test]
fn lraspp_mobilenet_v3_large() {
    check_lraspp(golden!("lraspp_mobilenet_v3_large"), 320, 320);
}

#[test]
fn lraspp_mobilenet_v3_large_rect() {
    check_lraspp(golden!("lraspp_mobilenet_v3_large_rect"), 226, 331);
}

/// All three steps on `image`.
fn run(model: &dyn Model, cx: &mut Context, image: Image) -> Output {
    let mut output = Output::default();
    let input = model.preprocess(cx, image);
    let size = input.size;
    let raw = model.forward(cx, input, &Options::default());
    model.postprocess(cx, raw, size, (image.height, image.width), &mut output);
    output
}

/// A tensor with its halo, copied.
fn copy(x: &Tensor) -> Tensor {
    let mut out = Workspace::default().tensor(x.h, x.w, x.c, x.halo);
    out.data_mut().copy_from_slice(x.data());
    out
}

/// How many of `found` have a partner in `want` that `same` accepts.
fn matched<T>(found: &[T], want: &[T], same: impl Fn(&T, &T) -> bool) -> usize {
    found.iter().filter(|f| want.iter().any(|w| same(f, w))).count()
}

fn boxes_of(floats: &[f32]) -> Vec<Box2d> {
    floats.as_chunks().0.to_vec()
}

/// Runs the detector and compares the stages as far as the RPN, then proposals and boxes as sets, since their scores are close
/// to one another by construction: a sum in another order may swap two.
fn check_fasterrcnn(file: Golden, h: usize, w: usize) {
    let config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(91);
    let model = FasterRcnn::load(&GeneratedWeights, config.clone()).expect("generated weights fit");
    let (mut seen, mut features, mut proposals) = (0, None, Vec::new());
    let mut compare = |name: &str, output: &Tensor| match name {
        "rpn.proposals" => proposals = boxes_of(&output.to_vec()),
        _ if name.starts_with("roi_heads.") => {}
        _ => {
            // Sums over 2,304 and 960 channels of a backbone whose own error is a thousandth.
            file.check(name, output, 2e-3, 2e-3);
            seen += 1;
            if name == "features.0" {
                features = Some(copy(output));
            }
        }
    };
    let rgba = picture(h, w);
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let found = run(&model, &mut cx, Image::new(&rgba, w, h).expect("a picture")).detections;
    drop(cx);
    assert_eq!(seen, file.stages("") - file.stages("roi_heads."), "every stage was seen");
    let want = boxes_of(&file.floats("rpn.proposals"));
    assert_eq!(proposals.len(), want.len());
    let same = matched(&proposals, &want, |a, b| iou(*a, *b) >= 0.99);
    assert!(same * 100 >= want.len() * 98, "{same} of {} proposals are TorchVision's", want.len());

    let size: [usize; 2] = [0, 1].map(|i| file.integers("transform.image_size")[i] as usize);
    check_roi_heads(&file, &features.expect("level 0"), &want, size);

    let (boxes, scores) = (boxes_of(&file.floats("boxes")), file.floats("scores"));
    let labels = file.integers("labels");
    let want: Vec<(Box2d, f32, i64)> = (0..scores.len()).map(|i| (boxes[i], scores[i], labels[i])).collect();
    let found: Vec<(Box2d, f32, i64)> = found.iter().map(|d| (d.b, d.score, d.group as i64)).collect();
    assert_eq!(found.len(), want.len());
    let same = matched(&found, &want, |f, w| f.2 == w.2 && (f.1 - w.1).abs() <= 1e-3 && iou(f.0, w.0) >= 0.99);
    assert!(same * 100 >= want.len() * 98, "{same} of {} boxes are TorchVision's", want.len());
}

/// Runs the box head on TorchVision's own proposals, whose order is then the golden's.
fn check_roi_heads(file: &Golden, features: &Tensor, proposals: &[Box2d], size: [usize; 2]) {
    let heads = RoiHeads::load(&GeneratedWeights, 256, 1024, 91).expect("generated weights fit");
    let config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(91).boxes;
    let mut seen = 0;
    let mut compare = |name: &str, output: &Tensor| {
        let (rows, c) = (output.w, output.c);
        let values = output.to_vec();
        seen += 1;
        match name {
            // A row is (c, y, x) in TorchVision and (y, x, c) here.
            "roi_heads.box_roi_pool" => {
                let index = |i: usize| i / c * c + i % c % 49 * (c / 49) + i % c / 49;
                file.check_by(name, &[rows, c / 49, 7, 7], &values, index, (2e-3, 2e-3));
            }
            _ => file.check_by(name, &[rows, c], &values, |i| i, (5e-3, 5e-3)),
        }
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    heads.forward(&mut cx, features, proposals, (size[0], size[1]), &config, None);
    drop(cx);
    assert_eq!(seen, file.stages("roi_heads."), "every stage of the heads was seen");
}

#[test]
fn fasterrcnn_mobilenet_v3_large_320_fpn() {
    check_fasterrcnn(golden!("fasterrcnn_mobilenet_v3_large_320_fpn"), 480, 640);
}

#[test]
fn fasterrcnn_mobilenet_v3_large_320_fpn_tall() {
    check_fasterrcnn(golden!("fasterrcnn_mobilenet_v3_large_320_fpn_tall"), 700, 250);
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
        let found = run(&*model, &mut cx, Image::new(&picture, w, h).unwrap()).detections;
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
        let input = model.preprocess(&mut cx, Image::new(&picture, w, h).unwrap());
        let size = input.size;
        assert_eq!(size, (want.height() as usize, want.width() as usize), "{name}");
        let raw = model.forward(&mut cx, input, &Options::default());
        model.postprocess(&mut cx, raw, size, size, &mut output);
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
