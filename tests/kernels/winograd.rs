//! winograd_f32 against the naive loops, at every remainder of its tiles.

use crate::oracle::{self, Shape, assert_close, noise};
use mobilesight::kernels::winograd_f32::{PackedWinograd, Winograd, winograd_f32};
use mobilesight::kernels::{Activation, Pixels};
use mobilesight::simd::{Best, Scalar, Simd};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn run<S: Simd>((h, w): (usize, usize), c: usize, n: usize, activation: Activation) {
    let (x, weight, bias) = (noise(1, h * w * c), noise(2, n * 9 * c), noise(3, n));
    let mut b = PackedWinograd::new(&bias, c);
    (0..n).for_each(|n| b.set_output(n, |tap, ch| weight[(n * 9 + tap) * c + ch]));
    let row = (w + 2) * c;
    let mut a = vec![0.0; (h + 2) * row];
    for (y, pixels) in x.chunks_exact(w * c).enumerate() {
        a[(y + 1) * row + c..][..w * c].copy_from_slice(pixels);
    }
    // Nothing is read before it is written, and nothing is written round the picture.
    let mut scratch = vec![f32::NAN; b.scratch((h, w))];
    let mut out = vec![f32::NAN; (h * w + 2) * n];
    let to = Pixels { start: n, row: w * n, pixel: n };
    let a = (&a[..], Pixels { start: 0, row, pixel: c });
    winograd_f32::<S>(Winograd { size: (h, w), a, b: &b, activation, c: (&mut out, to) }, &mut scratch);
    let shape = Shape { h, w, c, n, kernel: 3, stride: 1, padding: 1, dilation: 1 };
    let want = oracle::conv(shape, &x, &weight, &bias, activation);
    assert_close(&out[n..][..h * w * n], &want, &(S::NAME, shape, activation));
    assert!(out[..n].iter().chain(&out[(h * w + 1) * n..]).all(|v| v.is_nan()), "{shape:?}");
}

#[test]
fn every_remainder_of_the_tiles() {
    for h in 1..=5 {
        for w in 1..=5 {
            run::<Best>((h, w), 8, 12, Activation::Relu);
        }
    }
}

#[test]
fn channels_in_fours_and_every_activation() {
    use Activation::{Hardswish, Identity, Relu, Relu6};
    for (i, activation) in [Identity, Relu, Relu6, Hardswish].into_iter().enumerate() {
        run::<Best>((7, 10), 4 * (i + 1), 4 * (6 - i), activation);
        run::<Scalar>((4, 3), 4, 4, activation);
    }
}

/// Bands of three rows of tiles with a last one of two, and of one row, wider than a band should be.
#[test]
fn bands_of_tiles() {
    run::<Best>((21, 34), 4, 8, Activation::Relu);
    run::<Best>((5, 139), 8, 4, Activation::Hardswish);
}

#[test]
fn as_many_pixels_and_channels_as_a_pyramid() {
    run::<Best>((13, 17), 64, 72, Activation::Identity);
}

#[test]
#[should_panic(expected = "c is too short")]
fn a_short_output_is_refused() {
    let b = PackedWinograd::new(&[0.0; 4], 4);
    let at = |row| Pixels { start: 0, row, pixel: 4 };
    let (size, mut scratch) = ((2, 2), vec![0.0; b.scratch((2, 2))]);
    let x =
        Winograd { size, a: (&[0.0; 64], at(16)), b: &b, activation: Activation::Identity, c: (&mut [0.0; 15], at(8)) };
    winograd_f32::<Scalar>(x, &mut scratch);
}
