//! Depthwise layers, alone and behind an expansion.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::dots::{Sdot, Vnni};
use super::oracle::{ACTIVATIONS, EXTREMES, Feed, Shape, finish, floats, params, quantise};
use super::{assert_halo, dirty, pixels, tensor_u8};
use mobilesight::kernels::depthwise_i8::{Depthwise, depthwise_i8};
use mobilesight::kernels::expand_depthwise_f32::Bands;
use mobilesight::kernels::expand_depthwise_i8::{Expand, ExpandDepthwise, expand_depthwise_i8_with, scratch};
use mobilesight::kernels::pack_i8::{PackedB, PackedDepthwise};
use mobilesight::kernels::values_i8::ValuesMut;
use mobilesight::kernels::{Activation, Pixels};
use mobilesight::quant::{Epilogue, QParams, QWeights};
use mobilesight::simd::{ByteDot, DotKind, NoByteDot, Simd};

/// A depthwise layer's numbers: rows, columns and channels, kernel, stride and dilation, "same" padding.
fn depthwise((h, w, c): (usize, usize, usize), (kernel, stride, dilation): (usize, usize, usize)) -> Shape {
    Shape { h, w, c, n: 0, kernel, stride, padding: (kernel - 1) / 2 * dilation, dilation }
}

fn assert_row_sums(s: Shape, row_sums: &[u32], want: &[u8]) {
    for (y, sums) in row_sums.chunks_exact(s.c).enumerate() {
        let row = &want[y * s.out().1 * s.c..][..s.out().1 * s.c];
        let naive = |c: usize| row.iter().skip(c).step_by(s.c).map(|q| u32::from(*q)).sum::<u32>();
        assert_eq!(sums, (0..s.c).map(naive).collect::<Vec<_>>(), "row sums of {s:?}");
    }
}

/// A depthwise layer's constants: its epilogues, to bytes of `output` and to floats.
struct Layer {
    weights: QWeights,
    output: QParams,
    epilogues: [Epilogue; 2],
}

impl Layer {
    fn new(s: Shape, feed: Feed, activation: Activation) -> Layer {
        let (output, taps) = (params(6, s.c, 1.0), s.kernel * s.kernel);
        let (weights, bias) = (feed.weights(taps * s.c, s.c, taps), floats(10, s.c, -4.0, 4.0));
        let epilogue = |output| Epilogue::new("test", &weights, &bias, activation, output, None).unwrap();
        let epilogues = [epilogue(Some(&output)), epilogue(None)];
        Layer { weights, output, epilogues }
    }

    /// Has `run` write to bytes and to floats, and compares with what `sums` give.
    fn check(
        &self,
        s: Shape,
        sums: &[i32],
        out_halo: usize,
        what: &dyn std::fmt::Debug,
        run: impl Fn(&Epilogue, (ValuesMut, Pixels), Option<&mut [u32]>),
    ) {
        let ([e, to_floats], mut ws, (h, w)) = (&self.epilogues, dirty(), s.out());
        let mut out = ws.tensor_u8(h, w, out_halo, self.output.zero_point());
        let mut floats = ws.tensor(h, w, s.c, out_halo);
        let (at, mut row_sums) = ((pixels(&out), pixels(&floats)), vec![u32::MAX; h * s.c]);
        run(e, (ValuesMut::U8(out.data_mut()), at.0), Some(&mut row_sums));
        run(to_floats, (ValuesMut::F32(floats.data_mut()), at.1), None);

        let want = quantise(e, &finish(e, sums, s.c, |_| None), s.c);
        assert_eq!(out.to_vec(), want, "{what:?}");
        assert_halo(&out, self.output.zero_point(), what);
        assert_eq!(floats.to_vec(), finish(to_floats, sums, s.c, |_| None), "{what:?}");
        assert_row_sums(s, &row_sums, &want);
    }
}

fn check_depthwise<S: Simd>(s: Shape, feed: Feed, activation: Activation, out_halo: usize) {
    let (mut ws, input, layer) = (dirty(), feed.input(s.c), Layer::new(s, feed, activation));
    let x = feed.activations(s.h * s.w * s.c);
    let tensor = tensor_u8(&mut ws, (s.h, s.w), s.padding, input.zero_point(), &x);
    let sums = s.depthwise(&x, input.zero_point(), layer.weights.weight());
    let packed = PackedDepthwise::new(&layer.weights, s.kernel, input.zero_point());
    layer.check(s, &sums, out_halo, &(S::NAME, s, feed, activation), |epilogue, c, row_sums| {
        depthwise_i8::<S>(Depthwise {
            size: s.out(),
            stride: s.stride,
            dilation: s.dilation,
            a: (tensor.data(), Pixels { start: 0, row: tensor.row_pitch(), pixel: s.c }),
            weights: &packed,
            epilogue,
            c,
            row_sums,
        });
    });
}

#[test]
fn depthwise_at_every_remainder_of_the_tile() {
    for kernel in [3, 5] {
        for (stride, dilation) in [(1, 1), (2, 1), (1, 2), (1, 3)] {
            for w in 1..=18 {
                let s = depthwise((1 + w % 5, w, 8 * (1 + w % 3)), (kernel, stride, dilation));
                everywhere!(check_depthwise(s, Feed::Noise, ACTIVATIONS[w % 4], w % 3));
            }
        }
    }
}

#[test]
fn depthwise_of_the_largest_sums() {
    for feed in EXTREMES {
        for kernel in [3, 5] {
            for w in 1..=18 {
                let s = depthwise((1 + w % 6, w, 8 * (1 + w % 3)), (kernel, 1 + w % 2, 1));
                everywhere!(check_depthwise(s, feed, Activation::Identity, 0));
            }
        }
    }
}

/// Rows that are longer than the sums that wait, and rows of them in one task.
#[test]
fn depthwise_over_parts_of_rows() {
    for (h, w) in [(2, 64), (3, 65), (2, 131), (9, 30)] {
        for (kernel, stride, dilation) in [(3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 1)] {
            let s = depthwise((h, w, 72), (kernel, stride, dilation));
            everywhere!(check_depthwise(s, Feed::Noise, Activation::Hardswish, 1));
        }
    }
}

/// An expansion of `k` channels to `s.c` and the depthwise layer of `s` on it.
#[derive(Clone, Copy)]
struct Both {
    s: Shape,
    k: usize,
    feed: Feed,
    activation: Activation,
}

impl Both {
    /// Runs the kernel with `kind` and `D`, to bytes and to floats, and compares.
    fn check<S: Simd, D: ByteDot<S>>(&self, kind: DotKind) {
        let (Both { s, k, feed, activation }, mut ws) = (*self, dirty());
        let (input, between, layer) = (feed.input(k), feed.input(s.c), Layer::new(s, feed, activation));
        let (wide, bias) = (feed.weights(s.c * k, s.c, k), floats(10, s.c, -4.0, 4.0));
        let expansion = Epilogue::new("wide", &wide, &bias, activation, Some(&between), None).unwrap();

        let x = feed.activations(s.h * s.w * k);
        let pointwise = Shape { c: k, n: s.c, kernel: 1, stride: 1, padding: 0, dilation: 1, ..s };
        let sums = pointwise.dense(&x, input.zero_point(), wide.weight());
        let map = quantise(&expansion, &finish(&expansion, &sums, s.c, |_| None), s.c);
        let sums = s.depthwise(&map, between.zero_point(), layer.weights.weight());

        let x = tensor_u8(&mut ws, (s.h, s.w), 0, input.zero_point(), &x);
        let panels = PackedB::new(kind, &wide, input.zero_point());
        let packed = PackedDepthwise::new(&layer.weights, s.kernel, between.zero_point());
        let expand = Expand { size: (s.h, s.w), a: (x.data(), pixels(&x)), b: &panels, epilogue: &expansion };
        let filter = packed.filter(s.stride, s.dilation);
        let room = scratch(&Bands::new(expand.size, &filter));
        layer.check(s, &sums, 1, &(S::NAME, kind, s, k, feed, activation), |epilogue, c, row_sums| {
            let both = ExpandDepthwise { expand, filter, epilogue, c, row_sums };
            expand_depthwise_i8_with::<S, D>(both, &mut vec![0xA5; expand.packed()], &mut vec![f32::NAN; room]);
        });
    }

    /// Every dot, as for dense layers.
    fn check_all(&self) {
        fn every_dot<S: Simd>(both: &Both)
        where
            Vnni: ByteDot<S>,
            Sdot: ByteDot<S>,
        {
            both.check::<S, NoByteDot>(DotKind::I16);
            both.check::<S, Vnni>(DotKind::I8Unsigned);
            both.check::<S, Sdot>(DotKind::I8Signed);
            both.check::<S, S::Dot>(DotKind::probe::<S, S::Dot>());
        }
        everywhere!(every_dot(self));
    }
}

#[test]
fn expand_depthwise_at_every_remainder_of_the_tile() {
    for kernel in [3, 5] {
        for (stride, dilation) in [(1, 1), (2, 1), (1, 2)] {
            for w in 1..=19 {
                let s = depthwise((1 + w % 5, w, 8 * (1 + w % 5)), (kernel, stride, dilation));
                Both { s, k: 1 + w % 7, feed: Feed::Noise, activation: ACTIVATIONS[w % 4] }.check_all();
            }
        }
    }
}

#[test]
fn expand_depthwise_of_the_largest_sums() {
    for feed in EXTREMES {
        for kernel in [3, 5] {
            for w in 1..=9 {
                let s = depthwise((1 + w % 6, w, 8 * (1 + w % 3)), (kernel, 1 + w % 2, 1));
                Both { s, k: 64 + w, feed, activation: Activation::Identity }.check_all();
            }
        }
    }
}

/// Tall pictures, whose bands see rows of each other, and one as wide as a band of a single row.
#[test]
fn expand_depthwise_over_bands() {
    for (h, w, kernel, stride, dilation) in
        [(230, 33, 3, 1, 1), (120, 61, 5, 1, 2), (200, 30, 5, 2, 1), (3, 2700, 3, 1, 1)]
    {
        let s = depthwise((h, w, 24), (kernel, stride, dilation));
        Both { s, k: 3, feed: Feed::Noise, activation: Activation::Hardswish }.check_all();
    }
}

#[cfg(feature = "threads")]
#[test]
fn any_number_of_threads_gives_the_same_integers() {
    super::at_any_number_of_threads(|| {
        // More work than what stays in the caller.
        let s = depthwise((39, 41, 80), (5, 1, 1));
        everywhere!(check_depthwise(s, Feed::Noise, Activation::Hardswish, 1));
        Both { s, k: 24, feed: Feed::Noise, activation: Activation::Hardswish }.check_all();
    });
}
