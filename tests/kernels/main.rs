//! Each kernel against its oracle, at every remainder of its tile.

mod depthwise;
mod depthwise_project;
#[path = "../oracle/mod.rs"]
mod oracle;
mod pictures;
mod strassen;
mod winograd;

use mobilesight::kernels::conv_f32::{Conv, Tap, conv_f32};
use mobilesight::kernels::pack_f32::PackedB;
use mobilesight::kernels::weighted_sum_f32::weighted_sum_f32;
use mobilesight::kernels::{Activation, Pixels};
use mobilesight::simd::{Best, Scalar, Simd};
use mobilesight::tensor::{Tensor, Workspace};
use oracle::{Shape, assert_close, noise};

// The same list runs in a browser.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::Hardswish];

fn tensor(ws: &mut Workspace, h: usize, w: usize, c: usize, halo: usize, values: &[f32]) -> Tensor {
    let mut t = ws.tensor(h, w, c, halo);
    for y in 0..h {
        t.row_mut(y).copy_from_slice(&values[y * w * c..][..w * c]);
    }
    t
}

/// A dirty workspace: memory that was used before, so that a float that a kernel forgets is seen.
fn dirty() -> Workspace {
    let mut ws = Workspace::default();
    // Two of every size class that is a power of two: what needs less gets one of them.
    let buffers: Vec<_> = (4..=14).flat_map(|i| [ws.take(1 << i), ws.take(1 << i)]).collect();
    for mut buffer in buffers {
        buffer.fill(f32::NAN);
        ws.give(buffer);
    }
    ws
}

/// Panels of `weight` [n, k].
fn packed(weight: &[f32], bias: &[f32], k: usize) -> PackedB {
    let mut packed = PackedB::new(bias, k);
    for (n, row) in weight.chunks_exact(k).enumerate() {
        packed.set_column(n, row.iter().copied());
    }
    packed
}

fn run_conv<S: Simd>(s: Shape, act: Activation, out_halo: usize, with_residual: bool) {
    let mut ws = dirty();
    let (h, w) = s.out();
    let k = s.kernel * s.kernel * s.c;
    let (x, weight, bias) = (noise(1, s.h * s.w * s.c), noise(2, s.n * k), noise(3, s.n));
    let input = tensor(&mut ws, s.h, s.w, s.c, s.padding, &x);
    let residual = noise(4, h * w * s.n);
    let panels = packed(&weight, &bias, k);
    let mut out = ws.tensor(h, w, s.n, out_halo);
    let taps: Vec<Tap> = (0..s.kernel).map(|ky| Tap { a: ky * input.row_pitch(), b: ky * s.kernel * s.c }).collect();
    let at = Pixels { start: out.origin(), row: out.row_pitch(), pixel: s.n };
    conv_f32::<S>(Conv {
        size: (h, w),
        a: (input.data(), Pixels { start: 0, row: s.stride * input.row_pitch(), pixel: s.stride * s.c }),
        taps: &taps,
        segment: s.kernel * s.c,
        b: panels.data(),
        k,
        n: s.n,
        activation: act,
        residual: with_residual.then_some((&residual[..], Pixels { start: 0, row: w * s.n, pixel: s.n })),
        c: (out.data_mut(), at),
    });
    let mut want = oracle::conv(s, &x, &weight, &bias, act);
    if with_residual {
        want.iter_mut().zip(&residual).for_each(|(w, r)| *w += r);
    }
    assert_close(&out.to_vec(), &want, &(S::NAME, s, act));
    let inside: f32 = out.to_vec().iter().map(|v| v.abs()).sum();
    let all: f32 = out.data().iter().map(|v| v.abs()).sum();
    assert!((inside - all).abs() <= 1e-4 * all, "the halo stays zero: {s:?}");
}

#[test]
fn conv_simplest() {
    let s = Shape { h: 1, w: 1, c: 1, n: 1, kernel: 1, stride: 1, padding: 0, dilation: 1 };
    run_conv::<Scalar>(s, Activation::Identity, 0, false);
}

/// The sums of the other tests seldom leave -3..3: here they pass every bend of every activation.
#[test]
fn activations_on_both_sides_of_their_bends() {
    let x: Vec<f32> = (-40..=40).map(|i| i as f32 / 4.0).collect();
    let panels = packed(&[1.0], &[0.0], 1);
    let at = Pixels { start: 0, row: x.len(), pixel: 1 };
    for activation in ACTIVATIONS {
        let mut out = vec![f32::NAN; x.len()];
        conv_f32::<Best>(Conv {
            size: (1, x.len()),
            a: (&x, at),
            taps: &[Tap::default()],
            segment: 1,
            b: panels.data(),
            k: 1,
            n: 1,
            activation,
            residual: None,
            c: (&mut out, at),
        });
        let want: Vec<f32> = x.iter().map(|x| oracle::activation(activation, *x)).collect();
        assert_close(&out, &want, &activation);
    }
}

#[test]
fn conv_pointwise_at_every_remainder_of_the_tile() {
    for m in (1..=30).chain([96, 97, 191, 192, 193, 385]) {
        for n in [1, 7, 8, 9, 15, 16, 65, 72] {
            let s = Shape { h: 1, w: m, c: 5, n, kernel: 1, stride: 1, padding: 0, dilation: 1 };
            run_conv::<Best>(s, ACTIVATIONS[(m + n) % 4], 0, m % 2 == 0);
        }
    }
}

/// Tiles that end in a row, at its end and in the next one, where outputs of two rows do not follow each other; and inputs that do not.
#[test]
fn conv_pointwise_over_rows_of_pixels_and_halos() {
    for w in (1..=14).chain([25]) {
        for (stride, out_halo) in [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)] {
            for (n, with_residual) in [(7, true), (8, false), (16, true), (17, false)] {
                let s = Shape { h: 1 + (w + n) % 6, w, c: 4, n, kernel: 1, stride, padding: 0, dilation: 1 };
                run_conv::<Best>(s, ACTIVATIONS[(w + n) % 4], out_halo, with_residual);
                run_conv::<Scalar>(s, Activation::Relu, out_halo, with_residual);
            }
        }
    }
}

#[test]
fn conv_3x3_over_rows_of_pixels_and_halos() {
    for (h, w, c, n) in [(1, 1, 3, 16), (5, 7, 3, 16), (6, 14, 8, 24), (10, 14, 12, 15), (3, 33, 4, 8)] {
        for stride in [1, 2] {
            for out_halo in [0, 1, 2] {
                let s = Shape { h, w, c, n, kernel: 3, stride, padding: 1, dilation: 1 };
                run_conv::<Best>(s, Activation::Hardswish, out_halo, stride == 1);
            }
        }
    }
}

/// A picture's three channels at stride 2, as every model's first layer: rows of less than a tile, at every remainder of it and of several.
#[test]
fn conv_3x3_of_a_picture() {
    for w in (1..=30).chain([160, 161]) {
        for (n, stride, out_halo) in [(8, 2, 0), (16, 2, 1), (24, 2, 2), (15, 2, 0), (16, 1, 0)] {
            let s = Shape { h: 1 + w % 4, w, c: 3, n, kernel: 3, stride, padding: 1, dilation: 1 };
            run_conv::<Best>(s, ACTIVATIONS[(w + n) % 4], out_halo, w % 7 == 0);
            run_conv::<Scalar>(s, Activation::Hardswish, out_halo, false);
        }
    }
}

/// Sums of more than a pass: parts of one tap, and several taps; 12,544 steps are fc6's.
#[test]
fn conv_over_several_passes() {
    for (w, c, n) in [(7, 1025, 9), (13, 1600, 16), (2, 12544, 8)] {
        let s = Shape { h: 1, w, c, n, kernel: 1, stride: 1, padding: 0, dilation: 1 };
        run_conv::<Best>(s, Activation::Relu, 0, true);
    }
    for (h, w, c, n) in [(5, 7, 256, 12), (3, 4, 150, 8), (2, 3, 400, 7)] {
        let s = Shape { h, w, c, n, kernel: 3, stride: 1, padding: 1, dilation: 1 };
        run_conv::<Best>(s, Activation::Identity, 1, true);
    }
}

#[test]
fn weighted_sums_at_every_remainder() {
    let x = noise(20, 64);
    for n in 0..=39 {
        let terms = [(3, 0.5), (64 - n, -2.0), (0, 0.25)];
        let mut out = vec![f32::NAN; n];
        weighted_sum_f32::<Best>(&x, &terms, &mut out);
        let want: Vec<f32> = (0..n).map(|i| terms.iter().map(|(o, w)| w * x[o + i]).sum()).collect();
        assert_close(&out, &want, &n);
    }
}

#[test]
#[should_panic(expected = "x is too short")]
fn weighted_sum_refuses_a_short_input() {
    weighted_sum_f32::<Best>(&[0.0; 8], &[(5, 1.0)], &mut [0.0; 4]);
}

#[test]
fn scaled_panels_scale_the_input() {
    let (k, n) = (12, 11);
    let (weight, bias, scale) = (noise(8, n * k), noise(9, n), noise(10, k));
    let panels = packed(&weight, &bias, k);
    let mut scaled = vec![0.0; panels.data().len()];
    panels.scaled(&scale, &mut scaled);
    let by_hand: Vec<f32> = weight.iter().enumerate().map(|(i, w)| w * scale[i % k]).collect();
    assert_eq!(scaled, packed(&by_hand, &bias, k).data());
}

#[test]
#[should_panic(expected = "a is too short")]
fn conv_refuses_a_short_input() {
    let panels = packed(&[1.0; 8], &[0.0], 8);
    let dense = Pixels { start: 0, row: 8, pixel: 8 };
    conv_f32::<Best>(Conv {
        size: (1, 2),
        a: (&[0.0; 15], dense),
        taps: &[Tap::default()],
        segment: 8,
        b: panels.data(),
        k: 8,
        n: 1,
        activation: Activation::Identity,
        residual: None,
        c: (&mut [0.0; 16], dense),
    });
}

#[test]
fn workspace_lends_the_same_memory_again() {
    let mut ws = Workspace::default();
    let first = ws.tensor(4, 4, 8, 1);
    let address = first.data().as_ptr();
    ws.give_tensor(first);
    let second = ws.tensor(4, 4, 8, 1);
    assert_eq!(second.data().as_ptr(), address);
}
