//! Conversions and squeeze-excite's parts.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::oracle::{ACTIVATIONS, bytes, floats, params};
use super::{assert_halo, dirty, tensor_u8};
use mobilesight::kernels::elementwise_i8::{Affine, dequantise, quantise, scale_i8};
use mobilesight::kernels::gemv_f32::Gemv;
use mobilesight::kernels::pool_i8::mean_pool_i8;
use mobilesight::kernels::weighted_sum_f32::{weighted_sum_f32, weighted_sum_u8};
use mobilesight::simd::Simd;

fn check_elementwise<S: Simd>(h: usize, w: usize, c: usize) {
    let (mut ws, p) = (dirty(), params(20, c, 0.1));
    let (affine, zero) = (Affine::new(&p), p.zero_point());
    // Halves of a quantum, to meet ties, and values far outside.
    let mut x = ws.tensor(h, w, c, 1);
    for y in 0..h {
        for (i, x) in x.row_mut(y).iter_mut().enumerate() {
            let step = (y * 37 + i * 11) % 640;
            *x = match step {
                // Added to the rounding constant, this is a small negative float, whose bits are a large integer.
                0 => -1.5e7 * p.scale()[i % c],
                639 => 1e20,
                _ => (step as f32 - 320.0) * 0.5 * p.scale()[i % c],
            };
        }
    }
    let mut q = ws.tensor_u8(h, w, 1, zero);
    quantise::<S>(&x, &affine, &mut q);
    let want: Vec<u8> = x.to_vec().iter().enumerate().map(|(i, x)| p.quantise(*x, i % c)).collect();
    assert_eq!(q.to_vec(), want, "{} {h} {w} {c}", S::NAME);
    assert_halo(&q, zero, &(h, w, c));

    dequantise::<S>(&q, &affine, &mut x);
    let want: Vec<f32> = want.iter().enumerate().map(|(i, q)| p.dequantise(*q, i % c)).collect();
    assert_eq!(x.to_vec(), want, "{} {h} {w} {c}", S::NAME);
}

#[test]
fn quantise_and_dequantise_rows_of_any_channels() {
    for c in [1, 3, 7, 8, 16, 24] {
        for w in 1..=9 {
            everywhere!(check_elementwise(2, w, c));
        }
    }
}

fn check_weighted_sum<S: Simd>(c: usize) {
    let (p, x) = (params(24, c, 0.1), floats(25, 9 * c, -4.0, 4.0));
    let terms = [(0, 0.5), (8 * c, -1.25), (3 * c, 2.0)];
    let (mut floats, mut bytes) = (vec![f32::NAN; c], vec![0xA5; c]);
    weighted_sum_f32::<S>(&x, &terms, &mut floats);
    weighted_sum_u8::<S>(&x, &terms, &Affine::new(&p), &mut bytes);
    let want: Vec<u8> = floats.iter().enumerate().map(|(i, x)| p.quantise(*x, i)).collect();
    assert_eq!(bytes, want, "{} {c}", S::NAME);
}

#[test]
fn weighted_sums_as_bytes_are_those_of_the_floats() {
    for c in (8..=56).step_by(8) {
        everywhere!(check_weighted_sum(c));
    }
}

fn check_squeeze_excite<S: Simd>(h: usize, w: usize, c: usize) {
    let (mut ws, from, to) = (dirty(), params(30, c, 0.1), params(32, c, 0.1));
    let x = bytes(34, h * w * c);
    let gate: Vec<f32> = (0..c).map(|c| (c % 9) as f32 / 8.0).collect();
    let mut t = tensor_u8(&mut ws, (h, w), 1, from.zero_point(), &x);
    scale_i8::<S>(&mut t, &Affine::new(&from), &gate, &Affine::new(&to), &mut vec![0.0; c]);
    let want = |i: usize| {
        let c = i % c;
        let above_zero = (i32::from(x[i]) - i32::from(from.zero_point()[c])) as f32;
        let product = from.scale()[c] * (1.0 / to.scale()[c]) * gate[c];
        mobilesight::quant::round(above_zero * product, to.zero_point()[c])
    };
    assert_eq!(t.to_vec(), (0..x.len()).map(want).collect::<Vec<_>>(), "{} {h} {w} {c}", S::NAME);
}

#[test]
fn squeeze_excite_scales_by_channel() {
    for c in [8, 16, 40] {
        for w in 1..=5 {
            everywhere!(check_squeeze_excite(3, w, c));
        }
    }
    // Rows of several runs, the last one shorter.
    everywhere!(check_squeeze_excite(2, 50, 960));
}

#[test]
fn mean_is_of_the_real_values() {
    [1, 16, 64, 72, 131].into_iter().for_each(check_mean);
}

fn check_mean(c: usize) {
    let pixels = 35;
    let p = params(40, c, 0.1);
    let x = bytes(42, pixels * c);
    // Rows of 7 pixels.
    let row_sums: Vec<u32> = (0..5 * c)
        .map(|i| x[i / c * 7 * c..][..7 * c].iter().skip(i % c).step_by(c).map(|q| u32::from(*q)).sum())
        .collect();
    let mut mean = vec![f32::NAN; c];
    mean_pool_i8(&row_sums, pixels, &p, &mut mean);
    for (c0, mean) in mean.iter().enumerate() {
        let sum: f64 = x.iter().skip(c0).step_by(c).map(|q| f64::from(p.dequantise(*q, c0))).sum();
        assert!((f64::from(*mean) - sum / pixels as f64).abs() < 1e-6, "channel {c0}: {mean}");
    }
}

fn check_gemv<S: Simd>(k: usize, n: usize) {
    let (weight, bias, x) = (floats(50, n * k, -1.0, 1.0), floats(51, n, -1.0, 1.0), floats(52, k, -1.0, 1.0));
    let int8: Vec<i8> = bytes(53, n * k).iter().map(|q| *q as i8).collect();
    let scale = floats(54, n, 0.01, 0.1);
    let of_int8: Vec<f32> = int8.iter().map(|w| f32::from(*w)).collect();
    for activation in ACTIVATIONS {
        let check = |gemv: Gemv, weight: &[f32], scale: &[f32]| {
            let mut out = vec![f32::NAN; n];
            gemv.run::<S>(&x, &mut out);
            for (o, out) in out.iter().enumerate() {
                let mut sum = 0.0;
                for (w, x) in weight[o * k..][..k].iter().zip(&x) {
                    let product = w * x;
                    sum += product;
                }
                let scaled = sum * scale[o];
                let want = mobilesight::quant::activate(activation, scaled + bias[o]);
                assert_eq!(*out, want, "{} {k} {n} {o}", S::NAME);
            }
        };
        check(Gemv::new(&weight, bias.clone(), activation), &weight, &vec![1.0; n]);
        check(Gemv::int8(&int8, scale.clone(), bias.clone(), activation), &of_int8, &scale);
    }
}

#[test]
fn gemv_adds_in_order_and_never_fuses() {
    for (k, n) in [(1, 1), (9, 15), (72, 16), (40, 33)] {
        everywhere!(check_gemv(k, n));
    }
}
