//! depthwise_project_f32 against the naive loops, one layer after the other.

use crate::depthwise::filter;
use crate::oracle::{self, Shape, assert_close, noise};
use crate::{dirty, packed, tensor};
use mobilesight::kernels::depthwise_f32::pack_weight;
use mobilesight::kernels::depthwise_project_f32::{DepthwiseProject, Project, depthwise_project_f32, scratch};
use mobilesight::kernels::{Activation, Pixels};
use mobilesight::simd::{Best, Scalar, Simd};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// `s` with `n` channels out; where they and the size stay, the input is added.
fn run<S: Simd>(s: Shape, n: usize, activation: Activation, out_halo: usize) {
    let mut ws = dirty();
    let (h, w) = s.out();
    let (x, weight) = (noise(1, s.h * s.w * s.c), noise(2, s.kernel * s.kernel * s.c));
    let (depthwise, bias) = (pack_weight(s.kernel, &weight), noise(3, s.c));
    let (projection, projection_bias) = (noise(4, n * s.c), noise(5, n));
    let panels = packed(&projection, &projection_bias, s.c);
    let input = tensor(&mut ws, s.h, s.w, s.c, s.padding, &x);
    let adds = (h, w, n) == (s.h, s.w, s.c);
    let at = Pixels { start: input.origin(), row: input.row_pitch(), pixel: s.c };
    let mut out = ws.tensor(h, w, n, out_halo);
    let to = Pixels { start: out.origin(), row: out.row_pitch(), pixel: n };
    let residual = adds.then(|| (input.data(), at));
    let mut room = vec![f32::NAN; scratch(w, s.c)];
    let both = DepthwiseProject {
        size: (h, w),
        a: (input.data(), Pixels { start: 0, ..at }),
        filter: filter(s, &depthwise, &bias, activation),
        project: Project { b: panels.data(), n, activation: Activation::Identity, residual },
        c: (out.data_mut(), to),
    };
    depthwise_project_f32::<S>(both, &mut room);
    let between = oracle::depthwise(s, &x, &weight, &bias, activation);
    let pointwise = Shape { h, w, n, kernel: 1, stride: 1, padding: 0, dilation: 1, ..s };
    let mut want = oracle::conv(pointwise, &between, &projection, &projection_bias, Activation::Identity);
    if adds {
        want.iter_mut().zip(&x).for_each(|(want, x)| *want += x);
    }
    assert_close(&out.to_vec(), &want, &(S::NAME, s, n, activation, out_halo));
}

#[test]
fn every_kernel_at_every_width() {
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
        for w in 1..=22 {
            let s = Shape { h: 1 + w % 6, w, c: 16, n: 0, kernel, stride, padding: (kernel - 1) / 2, dilation: 1 };
            let n = [16, 24, 11][w % 3];
            run::<Best>(s, n, [Activation::Relu, Activation::Hardswish][w % 2], w % 3);
            run::<Best>(Shape { c: 4 * (1 + w % 5), ..s }, n, Activation::Relu6, 0);
            run::<Scalar>(s, n, Activation::Identity, 1);
        }
    }
}

/// Bands of several rows with a shorter last one, and rows wider than a band should be.
#[test]
fn bands() {
    for (h, w) in [(70, 60), (3, 600)] {
        run::<Best>(
            Shape { h, w, c: 16, n: 0, kernel: 3, stride: 1, padding: 1, dilation: 1 },
            16,
            Activation::Relu,
            0,
        );
    }
}
