//! The rest of the family, every stage against what TorchVision computes on the same generated weights and pictures.

mod checks;
mod generator;
mod support;

use checks::{check_boxes, check_fasterrcnn, check_segmenter, run};
use generator::GeneratedWeights;
use mobilesight::image::Image;
use mobilesight::models::Model;
use mobilesight::models::classification::{Classifier, ClassifierConfig};
use mobilesight::models::detection::faster_rcnn::FasterRcnnConfig;
use mobilesight::models::detection::ssdlite::{Ssdlite, SsdliteConfig};
use mobilesight::models::mobilenetv3::{Arch, inverted_residual_setting};
use mobilesight::models::segmentation::SegmentationConfig;
use mobilesight::models::segmentation::deeplabv3::DeepLabV3;
use mobilesight::models::segmentation::fcn::Fcn;
use mobilesight::nn::Context;
use mobilesight::tensor::Tensor;
use support::{Golden, normalised, picture};

// The same list runs in a browser.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Runs a classifier and compares each `features.i` and the logits.
fn check_classifier(file: Golden, config: ClassifierConfig, size: usize) {
    let model = Classifier::load(&GeneratedWeights, config).expect("generated weights fit");
    let mut seen = 0;
    let mut compare = |name: &str, output: &Tensor| {
        seen += 1;
        match name {
            "logits" => file.check_by(name, &[1, output.c], &output.to_vec(), |i| i, (2e-3, 2e-3)),
            // f32 sums in another order, through up to 17 stages: a thousandth of the value.
            _ => file.check(name, output, 1e-4, 1e-3),
        }
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let picture = normalised(&mut cx.workspace, size, size);
    model.logits(&mut cx, picture);
    assert_eq!(seen, file.stages(""), "every stage was seen");
}

#[test]
fn mobilenet_v3_large() {
    check_classifier(golden!("mobilenet_v3_large"), ClassifierConfig::mobilenet_v3_large(1000), 224);
}

#[test]
fn mobilenet_v3_small() {
    check_classifier(golden!("mobilenet_v3_small"), ClassifierConfig::mobilenet_v3_small(1000), 224);
}

#[test]
fn mobilenet_v3_large_w050_reduced_dilated() {
    let config = ClassifierConfig::new(Arch::Large, 0.5, true, true, 1000);
    check_classifier(golden!("mobilenet_v3_large_w050_reduced_dilated"), config, 160);
}

#[test]
fn mobilenet_v3_small_w035() {
    let config = ClassifierConfig::new(Arch::Small, 0.35, false, false, 1000);
    check_classifier(golden!("mobilenet_v3_small_w035"), config, 96);
}

/// All three steps: the likeliest class first, and probabilities.
#[test]
fn a_classifier_orders_the_classes() {
    let config =
        ClassifierConfig { crop: 64, resize: 64, ..ClassifierConfig::new(Arch::Small, 0.35, false, false, 10) };
    let model = Classifier::load(&GeneratedWeights, config).expect("generated weights fit");
    let rgba = picture(100, 80);
    let image = Image::new(&rgba, 80, 100).expect("a picture");
    let classes = run(&model, &mut Context::default(), image).classes;
    assert!(classes.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{classes:?}");
    let mut indices: Vec<usize> = classes.iter().map(|c| c.0).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..10).collect::<Vec<_>>());
    let sum: f32 = classes.iter().map(|c| c.1).sum();
    assert!((sum - 1.0).abs() <= 1e-5, "{sum}");
}

#[test]
fn a_crop_larger_than_the_resized_picture_is_refused() {
    let config = ClassifierConfig { crop: 224, resize: 200, ..ClassifierConfig::mobilenet_v3_small(1000) };
    let error = Classifier::load(&GeneratedWeights, config).unwrap_err();
    assert!(error.to_string().contains("resize to 224"), "{error}");
}

#[test]
fn fasterrcnn_mobilenet_v3_large_fpn() {
    let config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_fpn(91);
    check_fasterrcnn(golden!("fasterrcnn_mobilenet_v3_large_fpn"), config, 480, 640);
}

#[test]
fn ssdlite320_mobilenet_v3_large() {
    let file = golden!("ssdlite320_mobilenet_v3_large");
    let config = SsdliteConfig::ssdlite320_mobilenet_v3_large(91);
    let model = Ssdlite::load(&GeneratedWeights, config).expect("generated weights fit");
    let mut seen = 0;
    let mut compare = |name: &str, output: &Tensor| {
        // Of the backbone the golden has two maps, features.0 and features.1.
        if name.starts_with("backbone.") {
            return;
        }
        seen += 1;
        match name.starts_with("head.") {
            true => file.check_by(name, &[1, output.w, output.c], &output.to_vec(), |i| i, (2e-3, 2e-3)),
            false => file.check(name, output, 2e-3, 2e-3),
        }
    };
    let rgba = picture(480, 640);
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let found = run(&model, &mut cx, Image::new(&rgba, 640, 480).expect("a picture")).detections;
    drop(cx);
    assert_eq!(seen, file.stages(""), "every stage was seen");
    check_boxes(&file, &found);
}

/// SSDlite reads the expansion of its C4 block.
#[test]
fn a_setting_without_an_expansion_in_c4_is_refused() {
    let mut setting = inverted_residual_setting(Arch::Large, 1.0, true, false);
    setting[12].expanded_channels = setting[12].input_channels;
    let config =
        SsdliteConfig { inverted_residual_setting: setting, ..SsdliteConfig::ssdlite320_mobilenet_v3_large(91) };
    let refused = |config| Ssdlite::load(&GeneratedWeights, config).unwrap_err();
    let error = refused(config);
    assert!(error.to_string().contains("no last row of stride 2 with an expansion"), "{error}");
    let mut setting = inverted_residual_setting(Arch::Large, 1.0, true, false);
    setting.iter_mut().for_each(|row| row.stride = 1);
    let config =
        SsdliteConfig { inverted_residual_setting: setting, ..SsdliteConfig::ssdlite320_mobilenet_v3_large(91) };
    assert_eq!(refused(config), error);
}

#[test]
fn deeplabv3_mobilenet_v3_large() {
    let config = SegmentationConfig::mobilenet_v3_large(21);
    let model = DeepLabV3::load(&GeneratedWeights, config).expect("generated weights fit");
    check_segmenter(golden!("deeplabv3_mobilenet_v3_large"), &model, &["classifier.1", "classifier.2"], 320, 320);
}

#[test]
fn fcn_mobilenet_v3_large() {
    let config = SegmentationConfig::mobilenet_v3_large(21);
    let model = Fcn::load(&GeneratedWeights, config).expect("generated weights fit");
    let folded = ["classifier.0", "classifier.1", "classifier.3"];
    check_segmenter(golden!("fcn_mobilenet_v3_large"), &model, &folded, 320, 320);
}

/// A profile has preprocessing apart, not in the backbone's first layer.
#[test]
fn the_first_stage_of_every_task_is_the_transform() {
    let setting = || inverted_residual_setting(Arch::Small, 0.35, true, false);
    let classifier =
        ClassifierConfig { inverted_residual_setting: setting(), ..ClassifierConfig::mobilenet_v3_small(4) };
    let segmenter = SegmentationConfig {
        inverted_residual_setting: setting(),
        resize: 32,
        ..SegmentationConfig::mobilenet_v3_large(4)
    };
    let models: [Box<dyn Model>; 2] = [
        Box::new(Classifier::load(&GeneratedWeights, classifier).expect("generated weights fit")),
        Box::new(Fcn::load(&GeneratedWeights, segmenter).expect("generated weights fit")),
    ];
    for model in models {
        let mut stages = Vec::new();
        let mut watch = |name: &str, output: &Tensor| stages.push((name.to_string(), output.c));
        let mut cx = Context { observer: Some(&mut watch), ..Context::default() };
        run(&*model, &mut cx, Image::new(&picture(40, 40), 40, 40).expect("a picture"));
        drop(cx);
        assert_eq!(stages[0], ("transform".to_string(), 3));
    }
}
