//! The int8 specification: how far it is from the real numbers, how it rounds, and what it refuses.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

use mobilesight::Error;
use mobilesight::kernels::Activation;
use mobilesight::quant::{Epilogue, QParams, QWeights, dot, round};

fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, word: &str) {
    match result {
        Err(Error::WeightsMismatch(message)) => {
            assert!(message.contains("layer.act") && message.contains(word), "{message}");
        }
        other => panic!("should be refused for its {word}: {other:?}"),
    }
}

#[test]
fn params_refuse_scales_that_are_no_scales() {
    for scale in [0.0, -0.1, f32::NAN, f32::INFINITY, 1e-40, 1e-20, 1e20] {
        assert_refused(QParams::new("layer.act", 2, vec![0.1, scale], vec![0, 0]), "scale");
    }
}

#[test]
fn params_refuse_another_number_of_channels() {
    assert_refused(QParams::new("layer.act", 3, vec![0.1; 2], vec![0; 3]), "3 scales");
    assert_refused(QParams::new("layer.act", 3, vec![0.1; 3], vec![0; 4]), "3 scales");
    assert_refused(QParams::new("layer.act", 3, vec![], vec![0; 3]), "3 scales");
}

#[test]
fn one_scale_holds_for_all_channels() {
    let p = QParams::new("layer.act", 3, vec![0.5], vec![7]).unwrap();
    assert_eq!((p.scale(), p.zero_point()), (&[0.5; 3][..], &[7; 3][..]));
}

#[test]
fn weights_refuse_minus_128_and_bad_scales() {
    assert_refused(QWeights::new("layer.act", vec![3, -128], vec![0.1]), "-128");
    assert_refused(QWeights::new("layer.act", vec![3, 4], vec![f32::NAN]), "scale");
}

#[test]
fn epilogue_refuses_what_does_not_fit_its_layer() {
    let weights = QWeights::new("layer.act", vec![1, 2], vec![0.1, 0.1]).unwrap();
    let new = |bias: &[f32], output| Epilogue::new("layer.act", &weights, bias, Activation::Identity, output, None);
    assert_refused(new(&[0.0; 3], None), "2 biases");
    assert_refused(new(&[0.0, f32::NAN], None), "bias");
    assert_refused(new(&[0.0, 1e30], None), "bias");
    let three = QParams::new("layer.act", 3, vec![0.1], vec![0]).unwrap();
    assert_refused(new(&[0.0; 2], Some(&three)), "2 biases");
}

#[test]
fn rounding_is_to_nearest_with_ties_to_even_and_clamps() {
    let cases = [(0.5, 0, 0), (1.5, 0, 2), (2.5, 0, 2), (0.5, 1, 2), (1.5, 1, 2), (-0.5, 1, 0), (-1.5, 3, 2)];
    for (t, zero_point, q) in cases {
        assert_eq!(round(t, zero_point), q, "{t} + {zero_point}");
    }
    assert_eq!((round(-1e30, 255), round(1e30, 0), round(-255.4, 255), round(255.4, 0)), (0, 255, 0, 255));
    assert_eq!(round(0.500_000_06, 0), 1);
}

#[test]
fn a_layer_is_as_near_to_the_real_one_as_its_roundings_allow() {
    let (n, c) = (3, 20);
    let float = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
    let weight: Vec<f32> = (0..n * c).map(float).collect();
    let bias: Vec<f32> = (0..n).map(|o| float(o + 500)).collect();
    let input = QParams::new(
        "in",
        c,
        (0..c).map(|i| 0.01 + 0.001 * i as f32).collect(),
        (0..c as u8).map(|i| i * 12).collect(),
    )
    .unwrap();
    let output = QParams::new("out", n, vec![0.05], vec![128]).unwrap();
    let weights = QWeights::dense(&weight, n, input.scale());
    let e = Epilogue::new("layer", &weights, &bias, Activation::Hardswish, Some(&output), None).unwrap();
    let q: Vec<u8> = (0..c).map(|i| (i * 89 % 256) as u8).collect();
    for o in 0..n {
        let values = q.iter().zip(input.zero_point()).map(|(q, z)| (*q, *z));
        let acc = dot(weights.weight()[o * c..][..c].iter().copied(), values);
        let got = output.dequantise(e.quantise(e.apply(acc, o, None), o), o);
        let x = |i: usize| f64::from(input.dequantise(q[i], i));
        let sum: f64 = (0..c).map(|i| x(i) * f64::from(weight[o * c + i])).sum::<f64>() + f64::from(bias[o]);
        let real = sum * ((sum + 3.0).clamp(0.0, 6.0) / 6.0);
        // Each weight is off by half of its scale at most; hard-swish's slope is at most 1.5; then the output's half.
        let above_zero = (0..c).map(|i| (i32::from(q[i]) - i32::from(input.zero_point()[i])).unsigned_abs());
        let bound = 1.5 * 0.5 * f64::from(weights.scale()[o]) * f64::from(above_zero.sum::<u32>()) + 0.025;
        assert!((f64::from(got) - real).abs() <= bound + 1e-4, "{o}: {got} for {real}, allowed {bound}");
    }
}

#[test]
fn weights_reach_127_and_dead_channels_stay_zero() {
    let weights = QWeights::dense(&[0.5, -1.0, 0.0, 0.0], 2, &[1.0, 1.0]);
    assert_eq!(weights.weight(), [64, -127, 0, 0]);
    let weights = QWeights::depthwise(&[0.5, 0.0, -1.0, 0.0], &[2.0, 1.0]);
    assert_eq!((weights.weight(), weights.scale()[0]), (&[64, 0, -127, 0][..], 2.0 / 127.0));
}
