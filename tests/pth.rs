//! PyTorch's checkpoints: what torch saved is read exactly.
#![cfg(feature = "cli")]

mod checkpoint;
mod generator;

use checkpoint::{Pickle, View, checkpoint, floats, state_dict, whole};
use generator::GeneratedWeights;
use half::{bf16, f16};
use mobilesight::weights::{PthFile, StateDict, Weights};
use safetensors::SafeTensors;

fn golden(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn every_tensor_of_a_float_checkpoint_is_as_torch_saved_it() {
    let bytes = golden("mobilenet_v3_small_w035.pth");
    let file = PthFile::new(&bytes).unwrap();
    let tensors = file.tensors();
    assert_eq!(tensors.len(), 244, "entries of TorchVision's state_dict");
    for tensor in tensors {
        let got = file.f32(&tensor.name, &tensor.shape).unwrap();
        let want = match tensor.name.ends_with("num_batches_tracked") {
            true => vec![0.0],
            false => GeneratedWeights.f32(&tensor.name, &tensor.shape).unwrap(),
        };
        assert!(got == want, "{} differs", tensor.name);
    }
}

#[test]
fn a_quantisation_aware_checkpoint_has_its_weights_and_observers() {
    let bytes = golden("mobilenet_v3_large_w035_qat.pth");
    let file = PthFile::new(&bytes).unwrap();
    let tensors = file.tensors();
    assert_eq!(tensors.len(), 1571, "entries of TorchVision's state_dict");
    let observer =
        |name: &str| ["fake_quant", "activation_post_process", ".bn."].iter().any(|part| name.contains(part));
    let weights: Vec<_> = tensors.iter().filter(|tensor| !observer(&tensor.name)).collect();
    assert!(weights.len() > 60, "{} weights", weights.len());
    for tensor in weights {
        let got = file.f32(&tensor.name, &tensor.shape).unwrap();
        assert!(got == GeneratedWeights.f32(&tensor.name, &tensor.shape).unwrap(), "{} differs", tensor.name);
    }
    let converted = golden("mobilenet_v3_large_w035_qnnpack.safetensors");
    let converted = SafeTensors::deserialize(&converted).unwrap();
    let qparams = converted.tensor("features.0.qparams").unwrap();
    let [scale, zero_point] = *qparams.data().as_chunks().0 else { panic!("a scale and a zero point") };
    // The observer's own scale was never set; torch computes it from the range, which includes zero.
    let range = |leaf| file.f32(&format!("features.0.2.activation_post_process.activation_post_process.{leaf}"), &[]);
    let (min, max) = (range("min_val").unwrap()[0].min(0.0), range("max_val").unwrap()[0].max(0.0));
    assert_eq!((max - min) / 255.0, f64::from_le_bytes(scale) as f32);
    assert_eq!((-min / ((max - min) / 255.0)).round(), f64::from_le_bytes(zero_point) as f32);
    assert_eq!(file.f32("quant.activation_post_process.fake_quant_enabled", &[1]).unwrap(), [1.0]);
}

#[test]
fn views_read_their_part_of_a_shared_storage() {
    let view = |offset, shape, strides| View { offset, shape, strides, ..whole(6) };
    let bytes = checkpoint(
        &state_dict(&[
            ("rows", view(0, &[2, 3], &[3, 1])),
            ("transposed", view(0, &[3, 2], &[1, 3])),
            ("tail", view(4, &[2], &[1])),
            ("every_other", view(1, &[3], &[2])),
            ("repeated", view(2, &[2, 2], &[0, 1])),
            ("scalar", view(5, &[], &[])),
            ("empty", view(0, &[0, 3], &[3, 1])),
        ]),
        &[&floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])],
    );
    let file = PthFile::new(&bytes).unwrap();
    assert_eq!(file.f32("rows", &[2, 3]).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(file.f32("transposed", &[3, 2]).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(file.f32("tail", &[2]).unwrap(), [4.0, 5.0]);
    assert_eq!(file.f32("every_other", &[3]).unwrap(), [1.0, 3.0, 5.0]);
    assert_eq!(file.f32("repeated", &[2, 2]).unwrap(), [2.0, 3.0, 2.0, 3.0]);
    assert_eq!(file.f32("scalar", &[]).unwrap(), [5.0]);
    assert!(file.f32("empty", &[0, 3]).unwrap().is_empty());
    let mut seen = Vec::new();
    file.rows("transposed", &[3, 2], &mut |i, row| seen.push((i, row.to_vec()))).unwrap();
    assert_eq!(seen, [(0, vec![0.0, 3.0]), (1, vec![1.0, 4.0]), (2, vec![2.0, 5.0])]);
}

#[test]
fn every_dtype_becomes_f32() {
    let halves: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let brains: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect();
    let doubles: Vec<u8> = [1.5f64, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let longs: Vec<u8> = [7i64, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
    let ints: Vec<u8> = [7i32, -2].iter().flat_map(|v| v.to_le_bytes()).collect();
    for (kind, data, want) in [
        ("FloatStorage", &floats(&[1.5, -2.0]), [1.5, -2.0]),
        ("HalfStorage", &halves, [1.5, -2.0]),
        ("BFloat16Storage", &brains, [1.5, -2.0]),
        ("DoubleStorage", &doubles, [1.5, -2.0]),
        ("LongStorage", &longs, [7.0, -2.0]),
        ("IntStorage", &ints, [7.0, -2.0]),
        ("ByteStorage", &vec![1, 255], [1.0, 255.0]),
    ] {
        let bytes = checkpoint(&state_dict(&[("a", View { kind, ..whole(2) })]), &[data]);
        assert_eq!(PthFile::new(&bytes).unwrap().f32("a", &[2]).unwrap(), want, "{kind}");
    }
}

#[test]
fn a_training_checkpoint_has_its_state_dict_found() {
    for key in ["model", "state_dict", "model_state_dict"] {
        let metadata = Pickle::new().raw(b"}").text("epoch").int(70_000).raw(b"s");
        let metadata =
            metadata.text("seed").int(1 << 40).raw(b"s").text("lr").raw(b"G\x3f\xb9\x99\x99\x99\x99\x99\x9as");
        let metadata = metadata.text("milestones").raw(b"](").int(-1).raw(b"N\x88\x89e").int(5).raw(b"as");
        let metadata = metadata.text("huge").raw(b"\x8a\x09\x01\0\0\0\0\0\0\0\x01s").text("pair").raw(b"NN\x86s");
        let tensors = metadata.text(key).raw(b"}q\x07").text("a").tensor(&whole(2)).raw(b"s");
        let parameter = tensors.text("b").global("torch._utils", "_rebuild_parameter").tensor(&whole(2));
        let pickle = parameter.raw(b"\x88").ordered_dict().raw(b"\x87Rss");
        // The memoised dictionary again, with what torch puts in its __dict__.
        let pickle = pickle.text("again").raw(b"h\x07}").text("_metadata").raw(b"}sbs").stop();
        let bytes = checkpoint(&pickle, &[&floats(&[1.0, 2.0])]);
        let file = PthFile::new(&bytes).unwrap_or_else(|e| panic!("{key}: {e}"));
        assert!(file.contains("a") && file.contains("b") && !file.contains("epoch"));
        assert_eq!(file.f32("b", &[2]).unwrap(), [1.0, 2.0]);
    }
}

#[test]
fn a_tensor_that_is_not_as_asked_names_itself() {
    let bytes = checkpoint(&state_dict(&[("a", whole(2))]), &[&floats(&[1.0, f32::NAN])]);
    let file = PthFile::new(&bytes).unwrap();
    for (name, shape, what) in
        [("a", [2], "a holds NaN at 1"), ("a", [3], "a has shape [2], not [3]"), ("b", [2], "b is missing")]
    {
        let message = file.f32(name, &shape).unwrap_err().to_string();
        assert!(message.starts_with(what), "{message}");
    }
}
