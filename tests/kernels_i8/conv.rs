//! Dense layers, and the probe that picks their dot.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::dots::{Pmaddubsw, Sdot, Vnni};
use super::oracle::{ACTIVATIONS, EXTREMES, Feed, Shape, bytes, finish, floats, params, quantise};
use super::{assert_halo, dirty, pixels, tensor_u8};
use mobilesight::kernels::conv_i8::{Conv, conv_i8_with};
use mobilesight::kernels::pack_i8::PackedB;
use mobilesight::kernels::values_i8::{Values, ValuesMut};
use mobilesight::kernels::{Activation, Pixels};
use mobilesight::quant::{Epilogue, QParams, Residual};
use mobilesight::simd::{ByteDot, DotKind, NoByteDot, Scalar, Simd};

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
        let x = tensor_u8(&mut ws, (s.h, s.w), s.padding, &zero, &self.feed.activations(s.h * s.w * s.c));
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
        assert_eq!(out.to_vec(), quantise(&self.epilogues[0], &t, s.n), "{what:?}");
        assert_halo(&out, self.output.zero_point(), &what);
        assert_eq!(floats.to_vec(), finish(&self.epilogues[1], &self.sums, s.n, of), "{what:?}");
    }

    /// Every dot in every instruction set: of i16, the simulated ones of bytes, and the engine's own where it is exact.
    fn check_all(&self, out_halo: usize) {
        fn every_dot<S: Simd>(dense: &Dense, out_halo: usize)
        where
            Vnni: ByteDot<S>,
            Sdot: ByteDot<S>,
        {
            dense.check::<S, NoByteDot>(DotKind::I16, out_halo);
            dense.check::<S, Vnni>(DotKind::I8Unsigned, out_halo);
            dense.check::<S, Sdot>(DotKind::I8Signed, out_halo);
            dense.check::<S, S::Dot>(DotKind::probe::<S, S::Dot>(), out_halo);
        }
        everywhere!(every_dot(self, out_halo));
    }
}

fn pointwise(m: usize, k: usize, n: usize) -> Shape {
    Shape { h: 1, w: m, c: k, n, kernel: 1, stride: 1, padding: 0, dilation: 1 }
}

#[test]
fn conv_at_every_remainder_of_the_tile() {
    let with = [With::Nothing, With::Bytes, With::Floats];
    for m in (1..=12).chain([39, 40, 41, 79, 80, 81, 83, 163]) {
        for n in (1..=9).chain([16, 129]) {
            let i = m + n;
            Dense::new(pointwise(m, 1 + i % 11, n), Feed::Noise, ACTIVATIONS[i % 4], with[i % 3]).check_all(0);
        }
    }
}

#[test]
fn conv_at_every_remainder_of_k_and_of_its_chunks() {
    let of_one = (1..=18).chain([511, 512, 513]).map(|k| (6, k));
    // Chunks of 512 steps for 80 pixels, of 999 for 41 and of 6826 for 6, by pairs and by fours.
    let of_80 = [1023, 1024, 1025, 1030, 2047, 2048, 2049, 2051, 2052, 4099].map(|k| (80, k));
    let of_41 = [1997, 1998, 1999, 3995, 3997, 5001].map(|k| (41, k));
    let of_6 = [13_651, 13_652, 13_653, 16_384].map(|k| (6, k));
    for (m, k) in of_one.chain(of_80).chain(of_41).chain(of_6) {
        Dense::new(pointwise(m, k, 9), Feed::Noise, ACTIVATIONS[k % 4], With::Bytes).check_all(0);
    }
}

#[test]
fn conv_3x3_over_rows_of_pixels_and_halos() {
    for (h, w, c, n) in [(1, 1, 3, 16), (5, 7, 3, 16), (6, 14, 8, 24), (3, 33, 4, 8), (4, 5, 120, 8)] {
        for (stride, out_halo) in [(1, 0), (1, 2), (2, 0), (2, 1)] {
            let s = Shape { h, w, c, n, kernel: 3, stride, padding: 1, dilation: 1 };
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

#[test]
fn probe_tells_the_dots_apart() {
    fn probe<S: Simd>()
    where
        Vnni: ByteDot<S>,
        Sdot: ByteDot<S>,
        Pmaddubsw: ByteDot<S>,
    {
        assert_eq!(DotKind::probe::<S, Vnni>(), DotKind::I8Unsigned);
        assert_eq!(DotKind::probe::<S, Sdot>(), DotKind::I8Signed);
        assert_eq!(DotKind::probe::<S, Pmaddubsw>(), DotKind::I16);
        assert_eq!(DotKind::probe::<S, NoByteDot>(), DotKind::I16);
    }
    everywhere!(probe());
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
    super::at_any_number_of_threads(|| {
        for feed in [Feed::Noise, EXTREMES[0], EXTREMES[3]] {
            // More work than what stays in the caller.
            Dense::new(pointwise(197, 72, 136), feed, Activation::Hardswish, With::Bytes).check_all(0);
        }
    });
}
