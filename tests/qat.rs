//! TorchVision's checkpoint of quantisation-aware training to int8: the same file each time, and no observer is believed that
//! cannot be.
#![cfg(feature = "cli")]

use mobilesight::models::registry::{describe_state_dict, entry};
use mobilesight::quantize::{convert_qat, is_qat};
use mobilesight::weights::{PthFile, SafeTensorsFile, StateDict, Weights};
use mobilesight::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::BTreeMap;

fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn converted(source: &dyn StateDict) -> Result<Vec<u8>> {
    assert!(is_qat(source));
    convert_qat(source, &describe_state_dict(source, None, None)?)
}

/// What the tests in a browser run.
#[test]
fn the_checkpoint_becomes_the_golden_file() {
    let bytes = golden("mobilenet_v3_large_w035_qat.pth");
    let source = PthFile::new(&bytes).unwrap();
    assert!(converted(&source).unwrap() == golden("quantized_mobilenet_v3_large_w035.safetensors"));
}

#[test]
fn a_float_checkpoint_has_no_observers() {
    let bytes = golden("mobilenet_v3_small_w035.pth");
    assert!(!is_qat(&PthFile::new(&bytes).unwrap()));
}

/// A checkpoint's tensors, to be changed.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The checkpoint's finite floats: a sum that no block makes has an observer that saw nothing.
fn tensors() -> Tensors {
    let bytes = golden("mobilenet_v3_large_w035_qat.pth");
    let source = PthFile::new(&bytes).unwrap();
    let floats = source.tensors().into_iter().filter(|t| t.dtype == Dtype::F32);
    floats.filter_map(|t| Some((t.name.clone(), (t.shape.clone(), source.f32(&t.name, &t.shape).ok()?)))).collect()
}

fn file(tensors: &Tensors) -> Vec<u8> {
    let bytes: Vec<_> =
        tensors.values().map(|(_, v)| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).collect();
    let views = tensors.iter().zip(&bytes);
    let views = views.map(|((name, (shape, _)), data)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), data).expect("the shape's bytes"))
    });
    safetensors::serialize(views, None).unwrap()
}

/// What is said of the checkpoint with `edit` done to it.
fn refused(edit: impl FnOnce(&mut Tensors)) -> String {
    let mut tensors = tensors();
    edit(&mut tensors);
    let bytes = file(&tensors);
    match converted(&SafeTensorsFile::new(&bytes).unwrap()) {
        Err(Error::WeightsMismatch(message)) => message,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it converts"),
    }
}

#[test]
fn observers_of_other_releases_of_torch_are_read() {
    let mut tensors = tensors();
    for (name, (shape, _)) in tensors.iter_mut() {
        if name.ends_with(".min_val") || name.ends_with(".max_val") {
            *shape = vec![1];
        }
    }
    let bytes = file(&tensors);
    let again = converted(&SafeTensorsFile::new(&bytes).unwrap()).unwrap();
    assert!(again == golden("quantized_mobilenet_v3_large_w035.safetensors"));
}

/// TorchVision's own checkpoint is older than the gate's observer: QuantizableSqueezeExcitation makes one up when it loads it. The gate's
/// scale does not come from there.
#[test]
fn a_checkpoint_without_observers_of_the_gates_is_read() {
    let (all, mut tensors) = (tensors(), tensors());
    tensors.retain(|name, _| !name.contains(".scale_activation.activation_post_process."));
    assert!(tensors.len() < all.len());
    let bytes = file(&tensors);
    let again = converted(&SafeTensorsFile::new(&bytes).unwrap()).unwrap();
    assert!(again == golden("quantized_mobilenet_v3_large_w035.safetensors"));
}

#[test]
fn bad_observers_are_refused_by_name() {
    for observer in [
        "quant.activation_post_process.activation_post_process",
        "features.0.0.weight_fake_quant.activation_post_process",
        "features.4.block.2.skip_mul.activation_post_process.activation_post_process",
        "features.3.skip_add.activation_post_process.activation_post_process",
        "classifier.1.activation_post_process.activation_post_process",
    ] {
        let (min, max) = (format!("{observer}.min_val"), format!("{observer}.max_val"));
        for (ends, what) in [
            ([f32::NAN, 1.0], "holds NaN"),
            ([-1.0, f32::NAN], "holds NaN"),
            ([f32::INFINITY, f32::NEG_INFINITY], "holds inf"),
            ([1.5, -1.5], "has a min_val of 1.5 above its max_val of -1.5"),
            ([0.0, 0.0], "no scale"),
            ([f32::MIN, f32::MAX], "scale"),
        ] {
            let message = refused(|tensors| {
                tensors.insert(min.clone(), (vec![], vec![ends[0]]));
                tensors.insert(max.clone(), (vec![], vec![ends[1]]));
            });
            let module =
                observer.split(".activation_post_process").next().unwrap().trim_end_matches(".weight_fake_quant");
            assert!(message.starts_with(module) && message.contains(what), "{ends:?}: {message}");
        }
        let message = refused(|tensors| drop(tensors.remove(&max)));
        assert!(message.starts_with(&max) && message.contains("missing"), "{message}");
        // A range a channel is of another backend.
        let message = refused(|tensors| drop(tensors.insert(max.clone(), (vec![8], vec![1.0; 8]))));
        assert!(message.starts_with(&max) && message.contains("shape"), "{message}");
    }
}

#[test]
fn other_bad_tensors_are_refused_by_name() {
    for (name, shape, value, what) in [
        ("features.0.0.bn.running_var", vec![8], -1.0, "negative variance"),
        ("features.0.0.bn.weight", vec![7], 1.0, "shape"),
        ("features.0.0.bn.bias", vec![8], 1e30, "bias"),
        ("features.2.block.1.0.weight", vec![24, 1, 3, 3], f32::NAN, "holds NaN"),
        ("classifier.3.bias", vec![99], 0.0, "shape"),
    ] {
        let len = shape.iter().product();
        let message = refused(|tensors| drop(tensors.insert(name.to_string(), (shape, vec![value; len]))));
        let module = name.rsplit_once('.').unwrap().0.trim_end_matches(".bn");
        assert!(message.starts_with(module) && message.contains(what), "{message}");
    }
}

#[test]
fn a_checkpoint_does_not_run_before_it_is_converted() {
    let bytes = golden("mobilenet_v3_large_w035_qat.pth");
    let source = PthFile::new(&bytes).unwrap();
    let metadata = describe_state_dict(&source, None, None).unwrap();
    let error = (entry(&metadata.arch).unwrap().load)(&source, &metadata).err().expect("no int8 weights");
    assert!(error.to_string().contains("mobilesight convert"), "{error}");
}

/// The int8 file with tensor `name` replaced.
fn edited(name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
    let bytes = golden("quantized_mobilenet_v3_large_w035.safetensors");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut views: BTreeMap<String, TensorView> = all.tensors().into_iter().collect();
    let old = views.insert(name.to_string(), TensorView::new(dtype, shape.to_vec(), data).unwrap());
    assert!(old.is_some(), "no {name}");
    safetensors::serialize(views, header.metadata().clone()).unwrap()
}

#[test]
fn wrong_files_are_refused_by_name() {
    let float = |v: f32| v.to_le_bytes().to_vec();
    for (name, dtype, shape, data, what) in [
        ("quant.output.scale", Dtype::F32, vec![1], float(0.0), "scale"),
        ("quant.output.scale", Dtype::F32, vec![1], float(f32::NAN), "NaN"),
        ("features.0.0.weight_scale", Dtype::F32, vec![1], float(-1.0), "scale"),
        ("features.0.0.weight_scale", Dtype::F32, vec![1], float(1e-38), "scale"),
        ("features.0.0.weight_scale", Dtype::F32, vec![2], [float(0.1), float(0.1)].concat(), "shape"),
        ("features.0.0.weight", Dtype::U8, vec![8, 3, 3, 3], vec![1; 216], "U8, not I8"),
        ("features.0.0.bias", Dtype::F32, vec![1], float(0.0), "shape"),
        ("features.3.skip_add.output.scale", Dtype::F32, vec![1], float(1e4), "too far"),
        ("classifier.3.output.zero_point", Dtype::I8, vec![1], vec![1], "I8, not U8"),
    ] {
        let bytes = edited(name, dtype, &shape, &data);
        let file = SafeTensorsFile::new(&bytes).unwrap();
        let metadata = file.metadata().unwrap().unwrap();
        let error = (entry(&metadata.arch).unwrap().load)(&file, &metadata).err().expect(name);
        assert_eq!(error.code(), "E_WEIGHTS_MISMATCH");
        let module = name.split(".output").next().unwrap();
        assert!(error.to_string().starts_with(module) && error.to_string().contains(what), "{error}");
    }
}
