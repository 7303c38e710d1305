//! Each int8 kernel against the specification in src/quant.rs, to the integer, at every remainder of its tile and at the
//! largest sums that there are, in every instruction set of the build and with every dot that a CPU may have.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

mod support_i8;

use mobilesight::kernels::conv_i8::{Conv, conv_i8_with};
use mobilesight::kernels::depthwise_i8::{Depthwise, depthwise_i8};
use mobilesight::kernels::elementwise_i8::{Affine, dequantise, quantise, scale_i8};
use mobilesight::kernels::epilogue_i8::{Values, ValuesMut};
use mobilesight::kernels::gemv_f32::Gemv;
use mobilesight::kernels::pack_i8::{PackedB, PackedDepthwise};
use mobilesight::kernels::pool_i8::mean_pool_i8;
use mobilesight::kernels::{Activation, Pixels};
use mobilesight::quant::{Epilogue, QParams, Residual};
use mobilesight::simd::{ByteDot, DotKind, NoByteDot, Scalar, Simd};
use mobilesight::tensor::{Tensor, Workspace};
use support_i8::{ACTIVATIONS, EXTREMES, Feed, Pmaddubsw, Sdot, Shape, Vnni, bytes, finish, floats, params};

/// `$run::<S>(arguments)` in every instruction set of the build.
macro_rules! everywhere {
    ($run:ident($($argument:expr),*)) => {
        $run::<Scalar>($($argument),*);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        $run::<mobilesight::simd::Simd128>($($argument),*);
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        $run::<mobilesight::simd::Relaxed>($($argument),*);
    };
}

/// A workspace of used memory, so that a byte that a kernel forgets is seen.
fn dirty() -> Workspace {
    let mut ws = Workspace::default();
    let (mut floats, mut bytes): (Vec<Vec<f32>>, Vec<Vec<u8>>) = Default::default();
    // Two of every size class.
    while floats.last().is_none_or(|b| b.capacity() < 1 << 14) {
        let len = floats.last().map_or(1, |b| b.capacity() + 1);
        floats.extend([ws.take(len), ws.take(len)]);
        bytes.extend([ws.take(len), ws.take(len)]);
    }
    for (mut floats, mut bytes) in floats.into_iter().zip(bytes) {
        floats.fill(f32::NAN);
        bytes.fill(0xA5);
        ws.give(floats);
        ws.give(bytes);
    }
    ws
}

fn pixels<T: Copy>(t: &Tensor<T>) -> Pixels {
    Pixels { start: t.origin(), row: t.row_pitch(), pixel: t.c }
}

fn tensor_u8(ws: &mut Workspace, (h, w): (usize, usize), halo: usize, zero: &[u8], values: &[u8]) -> Tensor<u8> {
    let mut t = ws.tensor_u8(h, w, halo, zero);
    let len = w * zero.len();
    (0..h).for_each(|y| t.row_mut(y).copy_from_slice(&values[y * len..][..len]));
    t
}

/// All of a tensor's bytes but its inside are its zero points.
fn assert_halo(t: &Tensor<u8>, zero: &[u8], what: &dyn std::fmt::Debug) {
    let mut expected = Workspace::default().tensor_u8(t.h, t.w, t.halo, zero);
    (0..t.h).for_each(|y| expected.row_mut(y).copy_from_slice(t.row(y)));
    assert_eq!(t.data(), expected.data(), "halo of {what:?}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum With {
    Nothing,
    Bytes,
    Floats,
}

/// A dense layer and what the specification makes of its input.
struct Dense {
    s: Shape,
    feed: Feed,
    with: With,
    output: QParams,
    epilogues: [Epilogue; 2],
    sums: Vec<i32>,
}

impl Dense {
    fn new(s: Shape, feed: Feed, activation: Activation, with: With) -> Dense {
        let k = s.kernel * s.kernel * s.c;
        let (output, residual) = (params(6, s.n, 1.0), params(8, s.n, 1.0));
        let weights = feed.weights(s.n * k, s.n, k);
        let added = (with == With::Bytes).then_some(&residual);
        let epilogue =
            |output| Epilogue::new("test", &weights, &floats(10, s.n, -4.0, 4.0), activation, output, added).unwrap();
        let epilogues = [epilogue(Some(&output)), epilogue(None)];
        let input = feed.input(s.c);
        let sums = s.dense(&feed.activations(s.h * s.w * s.c), input.zero_point(), weights.weight());
        Dense { s, feed, with, output, epilogues, sums }
    }

    /// Runs the kernel with `kind` and `D`, to bytes and to floats, and compares.
    fn check<S: Simd, D: ByteDot<S>>(&self, kind: DotKind, out_halo: usize) {
        let (s, (h, w), mut ws) = (self.s, self.s.out(), dirty());
        let k = s.kernel * s.kernel * s.c;
        let zero = self.feed.input(s.c).zero_point().to_vec();
        let b = PackedB::new(kind, &self.feed.weights(s.n * k, s.n, k), &zero);
        let x = tensor_u8(&mut ws, (s.h, s.w), s.padding(), &zero, &self.feed.activations(s.h * s.w * s.c));
        let added = (bytes(11, h * w * s.n), floats(12, h * w * s.n, -9.0, 9.0));
        let at = Pixels { start: 0, row: w * s.n, pixel: s.n };
        let residual = match self.with {
            With::Nothing => None,
            With::Bytes => Some((Values::U8(&added.0), at)),
            With::Floats => Some((Values::F32(&added.1), at)),
        };
        let taps: Vec<usize> = (0..s.kernel).map(|ky| ky * x.row_pitch()).collect();
        let conv = |epilogue, c| Conv {
            size: (h, w),
            a: (x.data(), Pixels { start: 0, row: s.stride * x.row_pitch(), pixel: s.stride * s.c }),
            taps: &taps,
            segment: s.kernel * s.c,
            b: &b,
            epilogue,
            residual,
            c,
        };
        let of = |i: usize| match self.with {
            With::Nothing => None,
            With::Bytes => Some(Residual::U8(added.0[i])),
            With::Floats => Some(Residual::F32(added.1[i])),
        };
        let what = (S::NAME, kind, s, self.feed, self.with, self.epilogues[0].activation());
        let mut out = ws.tensor_u8(h, w, out_halo, self.output.zero_point());
        let mut floats = ws.tensor(h, w, s.n, out_halo);
        let at = (pixels(&out), pixels(&floats));
        conv_i8_with::<S, D>(conv(&self.epilogues[0], (ValuesMut::U8(out.data_mut()), at.0)));
        conv_i8_with::<S, D>(conv(&self.epilogues[1], (ValuesMut::F32(floats.data_mut()), at.1)));
        let t = finish(&self.epilogues[0], &self.sums, s.n, of);
        assert_eq!(out.to_vec(), support_i8::quantise(&self.epilogues[0], &t, s.n), "{what:?}");
        assert_halo(&out, self.output.zero_point(), &what);
        assert_eq!(floats.to_vec(), finish(&self.epilogues[1], &self.sums, s.n, of), "{what:?}");
    }

    /// Every dot: i16 in every instruction set, the simulated ones, and the engine's own where it is exact.
    fn check_all(&self, out_halo: usize) {
        fn pairs<S: Simd>(dense: &Dense, out_halo: usize) {
            dense.check::<S, NoByteDot>(DotKind::I16, out_halo);
            dense.check::<S, S::Dot>(DotKind::probe::<S, S::Dot>(), out_halo);
        }
        everywhere!(pairs(self, out_halo));
        self.check::<Scalar, Vnni>(DotKind::I8Unsigned, out_halo);
        self.check::<Scalar, Sdot>(DotKind::I8Signed, out_halo);
    }
}

fn pointwise(m: usize, k: usize, n: usize) -> Shape {
    Shape { h: 1, w: m, c: k, n, kernel: 1, stride: 1, dilation: 1 }
}

#[test]
fn conv_at_every_remainder_of_the_tile() {
    let with = [With::Nothing, With::Bytes, With::Floats];
    for m in (1..=12).chain([39, 40, 41, 83]) {
        for n in (1..=9).chain([16, 129]) {
            let i = m + n;
            Dense::new(pointwise(m, 1 + i % 11, n), Feed::Noise, ACTIVATIONS[i % 5], with[i % 3]).check_all(0);
        }
    }
}

#[test]
fn conv_at_every_remainder_of_k_and_of_its_chunks() {
    for k in (1..=18).chain([511, 512, 513, 1023, 1025, 1030, 2051]) {
        Dense::new(pointwise(6, k, 9), Feed::Noise, ACTIVATIONS[k % 5], With::Bytes).check_all(0);
    }
}

#[test]
fn conv_3x3_over_rows_of_pixels_and_halos() {
    for (h, w, c, n) in [(1, 1, 3, 16), (5, 7, 3, 16), (6, 14, 8, 24), (3, 33, 4, 8), (4, 5, 120, 8)] {
        for (stride, out_halo) in [(1, 0), (1, 2), (2, 0), (2, 1)] {
            let s = Shape { h, w, c, n, kernel: 3, stride, dilation: 1 };
            Dense::new(s, Feed::Noise, Activation::Hardswish, With::Nothing).check_all(out_halo);
        }
    }
}

#[test]
fn conv_of_the_largest_sums() {
    for feed in EXTREMES {
        for (m, n) in (1..=12).flat_map(|m| (1..=9).map(move |n| (m, n))) {
            // Every remainder of k, too.
            Dense::new(pointwise(m, 64 + (m + n) % 8, n), feed, Activation::Identity, With::Nothing).check_all(0);
        }
        for k in [7, 64, 12544] {
            Dense::new(pointwise(6, k, 8), feed, Activation::Identity, With::Nothing).check_all(0);
        }
    }
}

fn check_depthwise<S: Simd>(s: Shape, feed: Feed, activation: Activation, out_halo: usize) {
    let (mut ws, (h, w), taps) = (dirty(), s.out(), s.kernel * s.kernel);
    let (input, output, weights) = (feed.input(s.c), params(6, s.c, 1.0), feed.weights(taps * s.c, s.c, taps));
    let x = feed.activations(s.h * s.w * s.c);
    let tensor = tensor_u8(&mut ws, (s.h, s.w), s.padding(), input.zero_point(), &x);
    let sums = s.depthwise(&x, input.zero_point(), weights.weight());
    let packed = PackedDepthwise::new(&weights, s.kernel, input.zero_point());
    let bias = floats(10, s.c, -4.0, 4.0);
    let depthwise = |epilogue, c, row_sums| Depthwise {
        size: (h, w),
        stride: s.stride,
        dilation: s.dilation,
        a: (tensor.data(), Pixels { start: 0, row: tensor.row_pitch(), pixel: s.c }),
        weights: &packed,
        epilogue,
        c,
        row_sums,
    };
    let what = (S::NAME, s, feed, activation);
    let epilogue = |output| Epilogue::new("test", &weights, &bias, activation, output, None).unwrap();
    let (e, to_floats) = (epilogue(Some(&output)), epilogue(None));
    let mut out = ws.tensor_u8(h, w, out_halo, output.zero_point());
    let mut floats = ws.tensor(h, w, s.c, out_halo);
    let (at, mut row_sums) = ((pixels(&out), pixels(&floats)), vec![u32::MAX; h * s.c]);
    depthwise_i8::<S>(depthwise(&e, (ValuesMut::U8(out.data_mut()), at.0), Some(&mut row_sums)));
    depthwise_i8::<S>(depthwise(&to_floats, (ValuesMut::F32(floats.data_mut()), at.1), None));

    let want = support_i8::quantise(&e, &finish(&e, &sums, s.c, |_| None), s.c);
    assert_eq!(out.to_vec(), want, "{what:?}");
    assert_halo(&out, output.zero_point(), &what);
    assert_eq!(floats.to_vec(), finish(&to_floats, &sums, s.c, |_| None), "{what:?}");
    for (y, sums) in row_sums.chunks_exact(s.c).enumerate() {
        let row = &want[y * w * s.c..][..w * s.c];
        let naive = |c: usize| row.iter().skip(c).step_by(s.c).map(|q| u32::from(*q)).sum::<u32>();
        assert_eq!(sums, (0..s.c).map(naive).collect::<Vec<_>>(), "row sums of {what:?}");
    }
}

#[test]
fn depthwise_at_every_remainder_of_the_tile() {
    for kernel in [3, 5] {
        for (stride, dilation) in [(1, 1), (2, 1), (1, 2), (1, 3)] {
            for w in 1..=18 {
                let s = Shape { h: 1 + w % 5, w, c: 8 * (1 + w % 3), n: 0, kernel, stride, dilation };
                everywhere!(check_depthwise(s, Feed::Noise, ACTIVATIONS[w % 5], w % 3));
            }
        }
    }
}

#[test]
fn depthwise_of_the_largest_sums() {
    for feed in EXTREMES {
        for kernel in [3, 5] {
            for w in 1..=18 {
                let s = Shape { h: 1 + w % 6, w, c: 8 * (1 + w % 3), n: 0, kernel, stride: 1 + w % 2, dilation: 1 };
                everywhere!(check_depthwise(s, feed, Activation::Identity, 0));
            }
        }
    }
}

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
}

#[test]
fn mean_is_of_the_real_values() {
    let (c, pixels) = (16, 35);
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

#[test]
fn gemv_adds_in_order_and_never_fuses() {
    for (k, n) in [(1, 1), (9, 15), (72, 16), (40, 33)] {
        let (weight, bias, x) = (floats(50, n * k, -1.0, 1.0), floats(51, n, -1.0, 1.0), floats(52, k, -1.0, 1.0));
        for activation in ACTIVATIONS {
            let mut out = vec![f32::NAN; n];
            Gemv::new(&weight, &bias, activation).run(&x, &mut out);
            for (o, out) in out.iter().enumerate() {
                let mut sum = bias[o];
                for (w, x) in weight[o * k..][..k].iter().zip(&x) {
                    let product = w * x;
                    sum += product;
                }
                assert_eq!(*out, mobilesight::quant::activate(activation, sum), "{k} {n} {o}");
            }
        }
    }
}

#[test]
fn probe_tells_the_dots_apart() {
    assert_eq!(DotKind::probe::<Scalar, Vnni>(), DotKind::I8Unsigned);
    assert_eq!(DotKind::probe::<Scalar, Sdot>(), DotKind::I8Signed);
    assert_eq!(DotKind::probe::<Scalar, Pmaddubsw>(), DotKind::I16);
    assert_eq!(DotKind::probe::<Scalar, NoByteDot>(), DotKind::I16);
}

#[test]
#[should_panic(expected = "a is too short")]
fn conv_refuses_a_short_input() {
    let weights = Feed::Noise.weights(64, 8, 8);
    let epilogue = Epilogue::new("test", &weights, &[0.0; 8], Activation::Identity, None, None).unwrap();
    let dense = Pixels { start: 0, row: 8, pixel: 8 };
    conv_i8_with::<Scalar, NoByteDot>(Conv {
        size: (1, 2),
        a: (&[0; 15], dense),
        taps: &[0],
        segment: 8,
        b: &PackedB::new(DotKind::I16, &weights, &[0; 8]),
        epilogue: &epilogue,
        residual: None,
        c: (ValuesMut::F32(&mut [0.0; 16]), dense),
    });
}

#[cfg(feature = "threads")]
#[test]
fn any_number_of_threads_gives_the_same_integers() {
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            for feed in [Feed::Noise, EXTREMES[0], EXTREMES[3]] {
                Dense::new(pointwise(97, 40, 136), feed, Activation::Hardswish, With::Bytes).check_all(0);
            }
            let s = Shape { h: 9, w: 11, c: 16, n: 0, kernel: 5, stride: 1, dilation: 1 };
            check_depthwise::<Scalar>(s, Feed::Noise, Activation::Hardswish, 1);
        });
    }
}
