//! The kernels of QNNPACK's maps, bytes to bytes, against naive arithmetic in f64, for every byte that there is.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

use mobilesight::kernels::add_u8::add_u8;
use mobilesight::kernels::lookup_u8::lookup_u8;
use mobilesight::qnnpack::{Addition, Table, hardsigmoid, hardswish, mean};
use mobilesight::quant::QParams;
use mobilesight::tensor::{Tensor, Workspace};

fn params(scale: f32, zero_point: u8) -> QParams {
    QParams::new("test", 1, vec![scale], vec![zero_point]).unwrap()
}

fn real(p: &QParams, q: u8) -> f64 {
    (f64::from(q) - f64::from(p.zero_point()[0])) * f64::from(p.scale()[0])
}

/// Asserts that byte `got` is the nearest to the real `value`; where two are as near to a thousandth, either.
fn assert_nearest(got: u8, value: f64, to: &QParams, what: &str) {
    let q = value / f64::from(to.scale()[0]) + f64::from(to.zero_point()[0]);
    let away = (f64::from(got) - q.clamp(0.0, 255.0)).abs();
    assert!(away <= 0.501, "{what}: {got}, should be {q}");
}

/// A map of `h` rows of `w` bytes with a halo, whose bytes are `value(i)`.
fn map(h: usize, w: usize, halo: (usize, u8), value: impl Fn(usize) -> u8) -> Tensor<u8> {
    let mut map = Workspace::default().tensor_u8(h, w, halo.0, &[halo.1]);
    (0..h).for_each(|y| map.row_mut(y).iter_mut().enumerate().for_each(|(x, q)| *q = value(y * w + x)));
    map
}

/// The sums of every pair of bytes.
fn sums(a: &QParams, b: &QParams, to: &QParams) -> Vec<u8> {
    let (left, right) = (map(256, 256, (0, 0), |i| (i / 256) as u8), map(256, 256, (1, 9), |i| i as u8));
    let mut out = map(256, 256, (2, 77), |_| 0);
    add_u8(&Addition::new("test", a, b, to).unwrap(), &left, &right, &mut out);
    let inside = out.to_vec();
    let halo = out.data().iter().filter(|q| **q == 77).count() - inside.iter().filter(|q| **q == 77).count();
    assert_eq!(halo, out.data().len() - inside.len(), "the halo is as it was");
    inside
}

#[test]
fn sums_are_the_nearest_bytes() {
    for (a, b, to) in [
        (params(0.0471, 171), params(0.0526, 143), params(0.06, 150)),
        (params(0.5, 0), params(0.01, 255), params(0.02, 128)),
        (params(0.0005, 3), params(0.02, 90), params(0.01, 255)),
        (params(1.0, 128), params(1.0, 128), params(500.0, 0)),
    ] {
        for (i, got) in sums(&a, &b, &to).into_iter().enumerate() {
            let value = real(&a, (i / 256) as u8) + real(&b, i as u8);
            assert_nearest(got, value, &to, &format!("{i} of {a:?} + {b:?}"));
        }
    }
}

#[test]
fn halves_of_a_sum_go_away_from_zero() {
    let got = sums(&params(1.0, 100), &params(1.0, 50), &params(2.0, 128));
    for (i, got) in got.into_iter().enumerate() {
        let sum = (i / 256) as f64 - 100.0 + (i % 256) as f64 - 50.0;
        // f64::round, too, goes away from zero.
        assert_eq!(f64::from(got), ((sum / 2.0).round() + 128.0).clamp(0.0, 255.0), "{sum}");
    }
}

#[test]
fn scales_too_far_apart_are_not_added() {
    for (a, b, to) in [(1.0, 300.0, 1.0), (1e-6, 1.0, 1.0), (1.0, 1.0, 1000.0)] {
        let error = Addition::new("features.3.skip_add", &params(a, 0), &params(b, 0), &params(to, 0)).unwrap_err();
        assert_eq!(error.code(), "E_WEIGHTS_MISMATCH");
        assert!(error.to_string().starts_with("features.3.skip_add"), "{error}");
    }
}

#[test]
fn tables_hold_the_nearest_bytes() {
    let relu6 = |x: f64| x.clamp(0.0, 6.0);
    for (from, to) in [(params(0.053, 111), params(0.0315, 12)), (params(0.001, 0), params(0.2, 255))] {
        let swish = hardswish(&from, &to);
        let gate = hardsigmoid(&from);
        for q in 0..=255u8 {
            let x = real(&from, q);
            assert_nearest(swish[usize::from(q)], x * relu6(x + 3.0) / 6.0, &to, "hardswish");
            assert_nearest(gate[usize::from(q)], relu6(x + 3.0) / 6.0, &params(1.0 / 256.0, 0), "hardsigmoid");
        }
        assert_eq!(swish[usize::from(from.zero_point()[0])], to.zero_point()[0], "a halo of zeros stays one");
    }
}

#[test]
fn a_lookup_is_of_every_byte_and_of_the_halo() {
    let table: Table = std::array::from_fn(|q| (q * 7 + 3) as u8);
    for (h, w, halo) in [(1, 1, 0), (3, 5, 1), (16, 16, 2)] {
        let mut x = map(h, w, (halo, 200), |i| i as u8);
        let want: Vec<u8> = x.data().iter().map(|q| table[usize::from(*q)]).collect();
        lookup_u8(&table, &mut x);
        assert_eq!(x.data(), want, "{h} {w} {halo}");
    }
}

#[test]
fn a_mean_is_the_nearest_byte_and_halves_go_to_the_even_distance_from_zero() {
    let p = params(0.037, 3);
    for pixels in [1, 9, 49, 196] {
        for sum in 0..=255 * pixels as u32 {
            let away = f64::from(mean(sum, pixels, &p)) - f64::from(sum) / pixels as f64;
            assert!(away.abs() <= 0.501, "{sum} of {pixels}: {away}");
        }
    }
    // 4.5, 5.5 and 6.5 are 1.5, 2.5 and 3.5 above the zero point.
    assert_eq!([9, 11, 13].map(|sum| mean(sum, 2, &p)), [5, 5, 7]);
}
