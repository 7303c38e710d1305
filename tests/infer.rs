//! The architecture of a state_dict from its names and shapes.
#![cfg(feature = "cli")]

use mobilesight::Result;
use mobilesight::models::detection::faster_rcnn::{FasterRcnn, FasterRcnnConfig};
use mobilesight::models::infer::{Inferred, infer};
use mobilesight::models::labels::labels;
use mobilesight::models::mobilenetv3::{
    Arch, InvertedResidualConfig, MobileNetV3, inverted_residual_setting, make_divisible,
};
use mobilesight::models::registry::{REGISTRY, describe_state_dict};
use mobilesight::models::segmentation::lraspp::{Lraspp, LrasppConfig};
use mobilesight::weights::Metadata;
use mobilesight::weights::{SafeTensorsFile, StateDict, TensorInfo, Weights};
use safetensors::Dtype;
use serde_json::{Value, json};
use std::cell::RefCell;

/// A state_dict of zeros with what a builder asks for.
#[derive(Default)]
struct Recorder(RefCell<Vec<TensorInfo>>);

impl Recorder {
    fn add(&self, name: impl Into<String>, shape: &[usize]) {
        self.0.borrow_mut().push(TensorInfo { name: name.into(), shape: shape.to_vec(), dtype: Dtype::F32 });
    }

    /// The same tensors with each name changed.
    fn renamed(&self, rename: impl Fn(&str) -> String) -> Recorder {
        let renamed = |tensor: &TensorInfo| TensorInfo { name: rename(&tensor.name), ..tensor.clone() };
        Recorder(RefCell::new(self.0.borrow().iter().map(renamed).collect()))
    }
}

impl Weights for Recorder {
    fn contains(&self, _name: &str) -> bool {
        true
    }

    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        self.add(name, shape);
        // A scale of zero is refused.
        let value = if name.ends_with("scale") { 1.0 } else { 0.0 };
        let row = vec![value; shape[1..].iter().product()];
        (0..shape[0]).for_each(|i| each(i, &row));
        Ok(())
    }

    fn byte_rows(&self, name: &str, shape: &[usize], _: Dtype, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.add(name, shape);
        let row = vec![0; shape[1..].iter().product()];
        (0..shape[0]).for_each(|i| each(i, &row));
        Ok(())
    }
}

impl StateDict for Recorder {
    fn tensors(&self) -> Vec<TensorInfo> {
        self.0.borrow().clone()
    }
}

/// What a backbone's builder asks for, under `prefix`.
fn backbone(prefix: &str, setting: &[InvertedResidualConfig]) -> Recorder {
    let recorder = Recorder::default();
    MobileNetV3::load(&recorder, prefix, setting, 0.001).unwrap();
    recorder
}

/// A classifier's state_dict.
fn classifier(setting: &[InvertedResidualConfig], last_channel: usize, num_classes: usize) -> Recorder {
    let recorder = backbone("features", setting);
    recorder.add("classifier.0.weight", &[last_channel, 6 * setting.last().unwrap().out_channels]);
    recorder.add("classifier.3.weight", &[num_classes, last_channel]);
    recorder
}

/// The rows as the file's metadata has them.
fn rows(setting: &[InvertedResidualConfig]) -> Value {
    let row = |r: &InvertedResidualConfig| {
        let activation = format!("{:?}", r.activation);
        let activation = if activation == "Hardswish" { "HS" } else { "RE" };
        let channels = (r.input_channels, r.kernel, r.expanded_channels, r.out_channels);
        json!([channels.0, channels.1, channels.2, channels.3, r.use_se, activation, r.stride, r.dilation])
    };
    setting.iter().map(row).collect()
}

fn check(found: &Inferred, arch: &str, setting: &[InvertedResidualConfig], rest: &[(&str, usize)]) {
    assert_eq!(found.arch, arch);
    assert_eq!(found.config["inverted_residual_setting"], rows(setting), "{arch}");
    for (key, value) in rest {
        assert_eq!(found.config[*key], json!(value), "{arch}: {key}");
    }
    assert_eq!(found.config.as_object().unwrap().len(), rest.len() + 2, "{arch} has no other keys: {}", found.config);
}

#[test]
fn the_shipped_weights_are_what_they_say() {
    for name in ["coco-fasterrcnn-mobilenetv3-320.f16", "street-lraspp-mobilenetv3.f16"] {
        let path = format!("{}/www/models/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let file = SafeTensorsFile::new(&bytes).unwrap();
        let said = file.metadata().unwrap().unwrap();
        let found = infer(&file, None).unwrap();
        assert_eq!(found.arch, said.arch);
        let found = found.config.as_object().unwrap();
        assert!(found.len() > 3, "{found:?}");
        for (key, value) in found {
            assert_eq!(*value, said.config[key], "{name}: {key}");
        }
    }
}

#[test]
fn classifiers_of_any_width_and_number_of_classes_are_found() {
    for (arch, name, last_channel) in
        [(Arch::Large, "mobilenet_v3_large", 1280), (Arch::Small, "mobilenet_v3_small", 1024)]
    {
        for (width, reduced_tail) in [(1.0, false), (0.35, false), (0.75, true)] {
            let setting = inverted_residual_setting(arch, width, reduced_tail, false);
            let last_channel = make_divisible(f64::from(last_channel) * width);
            let weights = classifier(&setting, last_channel, 7);
            let expected = [("num_classes", 7), ("last_channel", last_channel)];
            check(&infer(&weights, None).unwrap(), name, &setting, &expected);
            assert_eq!(infer(&weights, Some(name)).unwrap(), infer(&weights, None).unwrap());
        }
    }
}

#[test]
fn kernels_and_squeeze_excites_of_ones_own_are_found() {
    let mut setting = inverted_residual_setting(Arch::Large, 1.0, false, false);
    for (i, row) in setting.iter_mut().enumerate() {
        row.use_se = i % 3 == 0;
        row.kernel = if i % 2 == 0 { 5 } else { 3 };
    }
    // A block that does not widen has no expansion.
    setting[4].expanded_channels = setting[4].input_channels;
    let found = infer(&classifier(&setting, 1280, 1000), None).unwrap();
    check(&found, "mobilenet_v3_large", &setting, &[("num_classes", 1000), ("last_channel", 1280)]);
}

#[test]
fn detectors_are_found_and_a_name_chooses_the_preset() {
    let mut config = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(7);
    config.representation_size = 256;
    let setting = config.inverted_residual_setting.clone();
    let weights = Recorder::default();
    FasterRcnn::load(&weights, config).unwrap();
    let expected = [("num_classes", 7), ("representation_size", 256)];
    check(&infer(&weights, None).unwrap(), "fasterrcnn_mobilenet_v3_large_320_fpn", &setting, &expected);
    let named = infer(&weights, Some("fasterrcnn_mobilenet_v3_large_fpn")).unwrap();
    check(&named, "fasterrcnn_mobilenet_v3_large_fpn", &setting, &expected);
    let error = infer(&weights, Some("lraspp_mobilenet_v3_large")).unwrap_err().to_string();
    assert!(error.contains("fasterrcnn_mobilenet_v3_large_fpn, not of lraspp"), "{error}");
}

/// SSDlite's names for the classifier's: block 13 is cut after its expansion.
fn ssdlite_name(name: &str) -> String {
    let (index, rest) = name.strip_prefix("features.").unwrap().split_once('.').unwrap();
    match index.parse::<usize>().unwrap() {
        13 => match rest.strip_prefix("block.0.") {
            Some(expansion) => format!("backbone.features.0.13.{expansion}"),
            None => format!("backbone.features.1.0.{}", rest.strip_prefix("block.").unwrap()),
        },
        index @ 0..13 => format!("backbone.features.0.{index}.{rest}"),
        index => format!("backbone.features.1.{}.{rest}", index - 13),
    }
}

#[test]
fn ssdlite_is_found() {
    let setting = inverted_residual_setting(Arch::Large, 1.0, true, false);
    let weights = backbone("features", &setting).renamed(ssdlite_name);
    weights.add("backbone.extra.0.0.0.weight", &[256, 480, 1, 1]);
    weights.add("head.classification_head.module_list.0.1.weight", &[6 * 7, 672, 1, 1]);
    weights.add("head.regression_head.module_list.0.1.weight", &[6 * 4, 672, 1, 1]);
    check(&infer(&weights, None).unwrap(), "ssdlite320_mobilenet_v3_large", &setting, &[("num_classes", 7)]);
}

#[test]
fn segmenters_are_found_with_a_dilated_backbone() {
    let setting = inverted_residual_setting(Arch::Large, 1.0, false, true);
    let weights = Recorder::default();
    Lraspp::load(&weights, LrasppConfig { inter_channels: 64, ..LrasppConfig::lraspp_mobilenet_v3_large(7) }).unwrap();
    let expected = [("num_classes", 7), ("inter_channels", 64)];
    check(&infer(&weights, None).unwrap(), "lraspp_mobilenet_v3_large", &setting, &expected);
    for (arch, head, shape) in [
        ("deeplabv3_mobilenet_v3_large", "classifier.0.convs.0.0.weight", [256, 960, 1, 1]),
        ("fcn_mobilenet_v3_large", "classifier.0.weight", [240, 960, 3, 3]),
    ] {
        let weights = backbone("backbone", &setting);
        weights.add(head, &shape);
        weights.add("classifier.4.weight", &[7, shape[0], 1, 1]);
        check(&infer(&weights, None).unwrap(), arch, &setting, &[("num_classes", 7)]);
    }
}

#[test]
fn what_cannot_be_told_is_refused_in_words() {
    let refused = |weights: &Recorder| {
        let error = infer(weights, None).unwrap_err();
        assert_eq!(error.code(), "E_WEIGHTS_MISMATCH");
        error.to_string()
    };
    let setting = inverted_residual_setting(Arch::Large, 1.0, false, false);
    let short = refused(&classifier(&setting[..13], 1280, 1000));
    assert!(short.contains("13 inverted residuals") && short.contains("--config"), "{short}");
    let resnet = Recorder::default();
    resnet.add("conv1.weight", &[64, 3, 7, 7]);
    assert!(refused(&resnet).contains("conv1.weight"));
    let headless = refused(&backbone("features", &setting));
    assert!(headless.contains("have no classifier.0.weight"), "{headless}");
    for (name, shape, what) in [
        ("features.3.block.2.0.weight", &[24, 80, 1, 1][..], "block 3"),
        ("features.3.block.0.0.weight", &[72, 32, 1, 1], "block 3"),
        ("features.3.block.1.0.weight", &[72], "no convolution's"),
        ("features.0.0.weight", &[], "no convolution's"),
    ] {
        let weights = classifier(&setting, 1280, 1000);
        weights.0.borrow_mut().retain(|tensor| tensor.name != name);
        weights.add(name, shape);
        assert!(refused(&weights).contains(what), "{name}: {}", refused(&weights));
    }
}

#[test]
fn torchs_own_checkpoints_are_found() {
    for (file, arch, name, expected) in [
        ("mobilenet_v3_small_w035", Arch::Small, "mobilenet_v3_small", [("num_classes", 1000), ("last_channel", 360)]),
        (
            "mobilenet_v3_large_w035_qat",
            Arch::Large,
            "quantized_mobilenet_v3_large",
            [("num_classes", 100), ("last_channel", 448)],
        ),
    ] {
        let path = format!("{}/tests/golden/{file}.pth", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let weights = mobilesight::weights::PthFile::new(&bytes).unwrap();
        let setting = inverted_residual_setting(arch, 0.35, false, false);
        check(&infer(&weights, None).unwrap(), name, &setting, &expected);
    }
}

/// A state_dict of each row of the registry is found and loads again, without metadata.
#[test]
fn every_model_of_the_registry_is_found_by_its_names_and_shapes() {
    for row in REGISTRY {
        let labels = labels(row.labels, row.labels.lines().count());
        let (arch, config, preset) = (row.arch.to_string(), Value::Null, Value::Null);
        let asked = Recorder::default();
        let metadata = Metadata { arch, labels, config, preset, source: None, license: None };
        (row.load)(&asked, &metadata).unwrap();
        let found = describe_state_dict(&asked, Some(row.arch), None).unwrap();
        assert_eq!((found.arch.as_str(), &found.labels), (row.arch, &metadata.labels));
        let again = Recorder::default();
        (row.load)(&again, &found).unwrap();
        assert_eq!(again.tensors(), asked.tensors(), "{}", row.arch);
    }
}
