//! strassen_f32 against the naive loops, at every remainder of its tiles, and what it leaves to conv_f32.

use crate::oracle::{self, Shape, noise};
use crate::{ACTIVATIONS, packed};
use mobilesight::kernels::conv_f32::{Conv, Tap};
use mobilesight::kernels::pack_f32::PackedB;
use mobilesight::kernels::strassen_f32::{scratch, strassen_f32};
use mobilesight::kernels::{Activation, Pixels};
use mobilesight::simd::{Best, Scalar, Simd};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Fewest output channels.
const N: usize = 512;

/// A layer of `m` pixels, with nothing but its values in `a`, `b` and `c`.
fn layer<'a>(m: usize, a: &'a [f32], b: &'a PackedB, activation: Activation, c: &'a mut [f32]) -> Conv<'a> {
    let rows = |pixel| Pixels { start: 0, row: m * pixel, pixel };
    Conv {
        size: (1, m),
        a: (a, rows(b.k)),
        taps: &[Tap { a: 0, b: 0 }],
        segment: b.k,
        b: b.data(),
        k: b.k,
        n: b.n,
        activation,
        residual: None,
        c: (c, rows(b.n)),
    }
}

fn run<S: Simd>(m: usize, k: usize, n: usize, activation: Activation) {
    let (x, weight, bias) = (noise(1, m * k), noise(2, n * k), noise(3, n));
    let panels = packed(&weight, &bias, k);
    // Nothing is read before it is written.
    let mut got = vec![f32::NAN; m * n];
    let conv = layer(m, &x, &panels, activation, &mut got);
    let mut room = vec![f32::NAN; scratch(&conv)];
    strassen_f32::<S>(conv, &mut room);
    let shape = Shape { h: 1, w: m, c: k, n, kernel: 1, stride: 1, padding: 0, dilation: 1 };
    let want = oracle::conv(shape, &x, &weight, &bias, activation);
    // A sum is as exact as the largest ones are, which an activation may cut: its pair's go into it.
    let sums = oracle::conv(shape, &x, &weight, &bias, Activation::Identity);
    let bound = 4e-6 * sums.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!((g - w).abs() <= bound, "{} {shape:?}, {activation:?}: [{i}] is {g}, should be {w}", S::NAME);
    }
}

#[test]
fn every_remainder_of_the_tiles_and_odd_numbers() {
    for (i, m) in (80..=91).enumerate() {
        run::<Best>(m, 264, N, ACTIVATIONS[i % 4]);
    }
    run::<Scalar>(81, 264, N, Activation::Relu);
}

/// More pairs than a chunk may have, and few.
#[test]
fn many_pairs_and_few() {
    run::<Best>(262, 264, N + 16, Activation::Hardswish);
    run::<Best>(32, 640, N, Activation::Identity);
}

/// Passes of equal and of unequal length; 14 pairs are two tiles of five and one of four where a tile has six.
#[test]
fn several_passes() {
    for (m, k) in [(30, 1032), (31, 2048), (28, 4104)] {
        run::<Best>(m, k, N, Activation::Relu);
    }
}

/// Few pixels or channels, channels that come in no halves, kernels of more than a pixel, residuals, and pixels that do not lie side by side.
#[test]
fn other_layers_need_no_scratch() {
    let panels = |k: usize, n: usize| PackedB::new(&vec![0.0; n], k);
    let of = |m: usize, k: usize, n: usize| scratch(&layer(m, &[], &panels(k, n), Activation::Relu, &mut []));
    assert!(of(150, 1024, 1024) > 0);
    for (m, k, n) in [(0, 960, 960), (1, 960, 960), (20, 960, 960), (400, 248, 960), (400, 964, 960), (400, 960, 520)] {
        assert_eq!(of(m, k, n), 0, "{m} {k} {n}");
    }
    let panels = panels(960, 960);
    let but = |change: &dyn Fn(&mut Conv)| {
        let mut nothing = [];
        let mut conv = layer(400, &[], &panels, Activation::Relu, &mut nothing);
        change(&mut conv);
        scratch(&conv)
    };
    assert!(but(&|_| ()) > 0);
    assert_eq!(but(&|conv| conv.taps = &[Tap { a: 0, b: 0 }; 3]), 0);
    assert_eq!(but(&|conv| conv.taps = &[Tap { a: 8, b: 0 }]), 0);
    assert_eq!(but(&|conv| conv.residual = Some((&[], conv.c.1))), 0);
    assert_eq!(but(&|conv| conv.a.1.pixel += 8), 0);
    assert_eq!(but(&|conv| conv.c.1.row += 960), 0);
}

fn refused(out: usize, missing: usize) {
    let panels = PackedB::new(&[0.0; N], 264);
    let (a, mut out) = (vec![0.0; 80 * 264], vec![0.0; out]);
    let conv = layer(80, &a, &panels, Activation::Identity, &mut out);
    let mut room = vec![0.0; scratch(&conv) - missing];
    strassen_f32::<Best>(conv, &mut room);
}

#[test]
#[should_panic(expected = "c is too short")]
fn a_short_output_is_refused() {
    refused(80 * N - 1, 0);
}

#[test]
#[should_panic(expected = "scratch as asked for")]
fn short_scratch_is_refused() {
    refused(80 * N, 1);
}
