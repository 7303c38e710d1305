//! Depthwise kernels, dilated ones and those behind an expansion, against the naive loops.

use crate::oracle::{self, Shape, assert_close, noise};
use crate::{ACTIVATIONS, dirty, packed, tensor};
use mobilesight::kernels::conv_f32::conv_f32;
use mobilesight::kernels::depthwise_f32::{Depthwise, Filter, depthwise_f32, pack_weight};
use mobilesight::kernels::dilated_f32::{Dilated, dilated_f32};
use mobilesight::kernels::expand_depthwise_f32::{Bands, Expand, ExpandDepthwise, expand_depthwise_f32};
use mobilesight::kernels::pack_f32::PackedB;
use mobilesight::kernels::{Activation, Pixels};
use mobilesight::simd::{Best, Simd};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn run_dilated<S: Simd>(s: Shape, act: Activation, (halo, out_halo): (usize, usize)) {
    let mut ws = dirty();
    let k = s.kernel * s.kernel * s.c;
    let (x, weight, bias) = (noise(11, s.h * s.w * s.c), noise(12, s.n * k), noise(13, s.n));
    let input = tensor(&mut ws, s.h, s.w, s.c, halo, &x);
    let panels = packed(&weight, &bias, k);
    let mut out = ws.tensor(s.h, s.w, s.n, out_halo);
    let at = Pixels { start: out.origin(), row: out.row_pitch(), pixel: s.n };
    let dilated = Dilated {
        size: (s.h, s.w),
        channels: s.c,
        kernel: s.kernel,
        dilation: s.dilation,
        a: (input.data(), Pixels { start: input.origin(), row: input.row_pitch(), pixel: s.c }),
        b: panels.data(),
        n: s.n,
        activation: act,
        c: (out.data_mut(), at),
    };
    dilated_f32(dilated, conv_f32::<S>);
    assert_close(&out.to_vec(), &oracle::conv(s, &x, &weight, &bias, act), &(S::NAME, s, act));
}

/// Dilations below, at and above the sides, so that rectangles of all tap sets come up, at every remainder of the tile.
#[test]
fn dilated_at_every_remainder_of_the_tile() {
    for w in (1..=14).chain([25, 97]) {
        for dilation in [1, 2, 3, 6, 12] {
            for n in [1, 7, 8, 9, 17] {
                let (h, c) = (1 + (w + n) % 7, 1 + (w + dilation) % 5);
                let s = Shape { h, w, c, n, kernel: 3, stride: 1, padding: dilation, dilation };
                run_dilated::<Best>(s, ACTIVATIONS[(w + n + dilation) % 4], (w % 2, n % 3));
            }
        }
    }
}

pub fn filter<'a>(s: Shape, weight: &'a [f32], bias: &'a [f32], activation: Activation) -> Filter<'a> {
    Filter { kernel: s.kernel, stride: s.stride, dilation: s.dilation, weight, bias, activation }
}

/// `row_sums` [h, c] against the rows of `want` [h, w, c].
fn assert_row_sums(s: Shape, row_sums: &[f32], want: &[f32]) {
    let (h, w) = s.out();
    for y in 0..h {
        let sums: Vec<f32> =
            (0..s.c).map(|c| want[y * w * s.c..][..w * s.c].iter().skip(c).step_by(s.c).sum()).collect();
        assert_close(&row_sums[y * s.c..][..s.c], &sums, &("row sums", s));
    }
}

fn run_depthwise<S: Simd>(s: Shape, act: Activation, out_halo: usize) {
    let mut ws = dirty();
    let (h, w) = s.out();
    let (x, weight) = (noise(5, s.h * s.w * s.c), noise(6, s.kernel * s.kernel * s.c));
    let (packed, bias) = (pack_weight(s.kernel, &weight), noise(7, s.c));
    let input = tensor(&mut ws, s.h, s.w, s.c, s.padding, &x);
    let mut out = ws.tensor(h, w, s.c, out_halo);
    let at = Pixels { start: out.origin(), row: out.row_pitch(), pixel: s.c };
    let mut row_sums = vec![f32::NAN; h * s.c];
    depthwise_f32::<S>(Depthwise {
        size: (h, w),
        a: (input.data(), Pixels { start: 0, row: input.row_pitch(), pixel: s.c }),
        filter: filter(s, &packed, &bias, act),
        c: (out.data_mut(), at),
        row_sums: Some(&mut row_sums),
    });
    let want = oracle::depthwise(s, &x, &weight, &bias, act);
    assert_close(&out.to_vec(), &want, &(S::NAME, s, act));
    assert_row_sums(s, &row_sums, &want);
}

#[test]
fn depthwise_at_every_remainder_of_the_tile() {
    for kernel in [3, 5] {
        for (stride, dilation) in [(1, 1), (2, 1), (1, 2), (1, 3)] {
            for w in 1..=26 {
                let padding = (kernel - 1) / 2 * dilation;
                let padded = |c| Shape { h: 1 + w % 5, w, c, n: 0, kernel, stride, padding, dilation };
                run_depthwise::<Best>(padded(4 * (1 + w % 3)), ACTIVATIONS[w % 4], w % 3);
                // Distances between neighbours that the kernel is compiled for: 16 and 32.
                [16, 32].into_iter().for_each(|c| run_depthwise::<Best>(padded(c), ACTIVATIONS[w % 4], w % 3));
            }
        }
    }
}

/// More channels than a block has, and a last block that is shorter.
#[test]
fn depthwise_over_blocks_of_channels() {
    for (kernel, stride, dilation, c) in [(3, 1, 1, 72), (3, 2, 1, 100), (5, 1, 2, 36), (5, 2, 1, 960)] {
        let padding = (kernel - 1) / 2 * dilation;
        let s = Shape { h: 3, w: 21, c, n: 0, kernel, stride, padding, dilation };
        run_depthwise::<Best>(s, Activation::Hardswish, 0);
    }
}

fn run_expand_depthwise<S: Simd>(s: Shape, k: usize, act: Activation) {
    let mut ws = dirty();
    let (h, w) = s.out();
    let (x, weight) = (noise(8, s.h * s.w * k), noise(9, s.kernel * s.kernel * s.c));
    let (bias, wide_weight, wide_bias) = (noise(10, s.c), noise(11, s.c * k), noise(12, s.c));
    let mut panels = PackedB::new(&wide_bias, k);
    (0..s.c).for_each(|n| panels.set_column(n, wide_weight[n * k..][..k].iter().copied()));
    let mut out = ws.tensor(h, w, s.c, 0);
    let mut row_sums = vec![f32::NAN; h * s.c];
    let packed = pack_weight(s.kernel, &weight);
    let filter = filter(s, &packed, &bias, act);
    let mut scratch = vec![f32::NAN; Bands::new((s.h, s.w), &filter).scratch()];
    let pixels = |pitch, pixel| Pixels { start: 0, row: pitch, pixel };
    let (to, size) = (pixels(out.row_pitch(), s.c), (s.h, s.w));
    let expand = Expand { size, a: &x, b: panels.data(), k, activation: act };
    let both = ExpandDepthwise { expand, filter, c: (out.data_mut(), to), row_sums: Some(&mut row_sums) };
    expand_depthwise_f32::<S>(both, &mut scratch);
    let pointwise = Shape { c: k, n: s.c, kernel: 1, stride: 1, padding: 0, dilation: 1, ..s };
    let wide = oracle::conv(pointwise, &x, &wide_weight, &wide_bias, act);
    let want = oracle::depthwise(s, &wide, &weight, &bias, act);
    assert_close(&out.to_vec(), &want, &(S::NAME, s, k, act));
    assert_row_sums(s, &row_sums, &want);
}

#[test]
fn expand_depthwise_at_every_remainder_of_the_tile() {
    for kernel in [3, 5] {
        for (stride, dilation) in [(1, 1), (2, 1), (1, 2)] {
            for w in 1..=26 {
                let padding = (kernel - 1) / 2 * dilation;
                let s = Shape { h: 1 + w % 5, w, c: 8 * (1 + w % 5), n: 0, kernel, stride, padding, dilation };
                run_expand_depthwise::<Best>(s, 1 + w % 4, ACTIVATIONS[w % 4]);
            }
        }
    }
}

/// Tall pictures, whose bands see rows of each other, and one as wide as a band of a single row.
#[test]
fn expand_depthwise_over_bands() {
    let shapes = [(230, 33, 3, 1, 1), (231, 50, 5, 2, 1), (120, 61, 5, 1, 2), (200, 30, 3, 2, 1), (3, 2700, 3, 1, 1)];
    for (h, w, kernel, stride, dilation) in shapes {
        let padding = (kernel - 1) / 2 * dilation;
        let s = Shape { h, w, c: 24, n: 0, kernel, stride, padding, dilation };
        run_expand_depthwise::<Best>(s, 3, Activation::Hardswish);
    }
}
