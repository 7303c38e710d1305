//! A checkpoint as .safetensors: the same tensors, the same bytes each time, and no float that F16 cannot hold.
#![cfg(feature = "cli")]

mod checkpoint;

use checkpoint::{View, checkpoint, floats, state_dict, whole};
use half::f16;
use mobilesight::convert::{FloatType, convert};
use mobilesight::weights::{Metadata, PthFile, SafeTensorsFile, StateDict, Weights};
use safetensors::Dtype;
use serde_json::{Value, json};

fn metadata() -> Metadata {
    Metadata {
        arch: "mobilenet_v3_small".to_string(),
        labels: vec!["cat".to_string(), "dog".to_string()],
        config: json!({ "num_classes": 2 }),
        preset: Value::Null,
        source: Some("x.pth".to_string()),
        license: None,
    }
}

fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A checkpoint of one tensor.
fn one(kind: &str, data: &[u8]) -> Vec<u8> {
    checkpoint(&state_dict(&[("a.weight", View { kind, ..whole(2) })]), &[data])
}

#[test]
fn a_whole_checkpoint_is_converted() {
    let bytes = golden("mobilenet_v3_small_w035.pth");
    let source = PthFile::new(&bytes).unwrap();
    for (dtype, stored) in [(FloatType::F32, Dtype::F32), (FloatType::F16, Dtype::F16)] {
        let written = convert(&source, dtype, &metadata()).unwrap();
        assert!(written == convert(&source, dtype, &metadata()).unwrap(), "the same bytes each time");
        let file = SafeTensorsFile::new(&written).unwrap();
        assert_eq!(file.metadata().unwrap(), Some(metadata()));
        let kept = source.tensors().into_iter().filter(|t| !t.name.ends_with("num_batches_tracked"));
        let kept: Vec<_> = kept.collect();
        assert_eq!(file.tensors().len(), kept.len());
        for tensor in kept {
            let got = file.f32(&tensor.name, &tensor.shape).unwrap();
            let want = source.f32(&tensor.name, &tensor.shape).unwrap().into_iter();
            let want: Vec<f32> = match dtype {
                FloatType::F32 => want.collect(),
                FloatType::F16 => want.map(|v| f16::from_f32(v).to_f32()).collect(),
            };
            assert!(got == want, "{} differs", tensor.name);
        }
        assert!(file.tensors().iter().all(|tensor| tensor.dtype == stored));
        assert!(written == convert(&file, dtype, &metadata()).unwrap(), "a converted file stays as it is");
    }
}

#[test]
fn f16_refuses_what_it_cannot_hold() {
    let (fits, over) = (floats(&[65504.0, -65519.0]), floats(&[0.0, -65520.0]));
    let bytes = one("FloatStorage", &fits);
    let written = convert(&PthFile::new(&bytes).unwrap(), FloatType::F16, &metadata()).unwrap();
    assert_eq!(SafeTensorsFile::new(&written).unwrap().f32("a.weight", &[2]).unwrap(), [65504.0, -65504.0]);
    let bytes = one("FloatStorage", &over);
    let source = PthFile::new(&bytes).unwrap();
    let error = convert(&source, FloatType::F16, &metadata()).unwrap_err().to_string();
    assert!(error.starts_with("a.weight") && error.contains("-65520") && error.contains("F32"), "{error}");
    assert!(convert(&source, FloatType::F32, &metadata()).is_ok());
}

#[test]
fn what_is_no_finite_float_is_refused_by_name() {
    for (kind, data, what) in [
        ("IntStorage", &[0; 8][..], "it holds I32"),
        ("FloatStorage", &floats(&[1.0, f32::INFINITY]), "holds inf at 1"),
        ("DoubleStorage", &[1e300f64, 1.0].map(f64::to_le_bytes).concat(), "holds inf at 0"),
    ] {
        let bytes = one(kind, data);
        let error = convert(&PthFile::new(&bytes).unwrap(), FloatType::F32, &metadata()).unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("a.weight") && message.contains(what), "{message}");
        assert_eq!(error.code(), "E_WEIGHTS_MISMATCH");
    }
    let bytes = golden("mobilenet_v3_large_w035_qat.pth");
    let error = convert(&PthFile::new(&bytes).unwrap(), FloatType::F16, &metadata()).unwrap_err().to_string();
    assert!(error.contains("quantize"), "{error}");
}
