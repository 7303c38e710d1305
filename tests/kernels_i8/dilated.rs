//! Dense layers with dilation.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::dots::{Sdot, Vnni};
use super::oracle::{ACTIVATIONS, EXTREMES, Feed, Shape, finish, floats, params, quantise};
use super::{assert_halo, dirty, pixels, tensor_u8};
use mobilesight::kernels::Activation;
use mobilesight::kernels::dilated_i8::{Dilated, dilated_i8_with};
use mobilesight::kernels::pack_i8::PackedB;
use mobilesight::kernels::values_i8::ValuesMut;
use mobilesight::quant::Epilogue;
use mobilesight::simd::{ByteDot, DotKind, NoByteDot, Simd};

/// Runs the kernel with `kind` and `D`, to bytes and to floats, and compares.
fn check<S: Simd, D: ByteDot<S>>(
    kind: DotKind,
    (s, feed, activation): (Shape, Feed, Activation),
    (halo, out_halo): (usize, usize),
    sums: &[i32],
) {
    let (mut ws, k, (h, w)) = (dirty(), s.kernel * s.kernel * s.c, (s.h, s.w));
    let (weights, output) = (feed.weights(s.n * k, s.n, k), params(6, s.n, 1.0));
    let zero = feed.input(s.c).zero_point().to_vec();
    let b = PackedB::new(kind, &weights, &zero);
    let tap_starts = b.tap_starts(&zero);
    // A halo that is read by mistake is seen.
    let wrong: Vec<u8> = zero.iter().map(|z| z ^ 0x55).collect();
    let x = tensor_u8(&mut ws, (h, w), halo, &wrong, &feed.activations(h * w * s.c));
    let mut out = ws.tensor_u8(h, w, out_halo, output.zero_point());
    let mut values = ws.tensor(h, w, s.n, out_halo);
    let at = (pixels(&out), pixels(&values));
    let epilogue = |output| Epilogue::new("test", &weights, &floats(10, s.n, -4.0, 4.0), activation, output, None);
    let epilogues = [epilogue(Some(&output)).unwrap(), epilogue(None).unwrap()];
    let mut room = vec![-1; s.n.next_multiple_of(8)];
    let to = [(ValuesMut::U8(out.data_mut()), at.0), (ValuesMut::F32(values.data_mut()), at.1)];
    for (epilogue, c) in epilogues.iter().zip(to) {
        let (kernel, dilation, a) = (s.kernel, s.dilation, (x.data(), pixels(&x)));
        let dilated = Dilated { size: (h, w), kernel, dilation, a, b: &b, tap_starts: &tap_starts, epilogue, c };
        dilated_i8_with::<S, D>(dilated, &mut room);
    }
    let what = (S::NAME, kind, s, feed);
    let t = finish(&epilogues[0], sums, s.n, |_| None);
    assert_eq!(out.to_vec(), quantise(&epilogues[0], &t, s.n), "{what:?}");
    assert_halo(&out, output.zero_point(), &what);
    assert_eq!(values.to_vec(), finish(&epilogues[1], sums, s.n, |_| None), "{what:?}");
}

fn check_all(s: Shape, feed: Feed, activation: Activation, halos: (usize, usize)) {
    fn every_dot<S: Simd>(of: (Shape, Feed, Activation), halos: (usize, usize), sums: &[i32])
    where
        Vnni: ByteDot<S>,
        Sdot: ByteDot<S>,
    {
        check::<S, NoByteDot>(DotKind::I16, of, halos, sums);
        check::<S, Vnni>(DotKind::I8Unsigned, of, halos, sums);
        check::<S, Sdot>(DotKind::I8Signed, of, halos, sums);
        check::<S, S::Dot>(DotKind::probe::<S, S::Dot>(), of, halos, sums);
    }
    let (of, k) = ((s, feed, activation), s.kernel * s.kernel * s.c);
    let (x, zero) = (feed.activations(s.h * s.w * s.c), feed.input(s.c));
    let sums = s.dense(&x, zero.zero_point(), feed.weights(s.n * k, s.n, k).weight());
    everywhere!(every_dot(of, halos, &sums));
}

/// Dilations below, at and above the sides, so that rectangles of all tap sets come up, at every remainder of the tile.
#[test]
fn dilated_at_every_remainder_of_the_tile() {
    for w in (1..=14).chain([25, 57]) {
        for dilation in [1, 2, 3, 6, 12] {
            for n in [1, 7, 8, 9, 17] {
                let (h, c) = (1 + (w + n) % 7, 4 * (1 + (w + dilation) % 3));
                let s = Shape { h, w, c, n, kernel: 3, stride: 1, padding: dilation, dilation };
                check_all(s, Feed::Noise, ACTIVATIONS[(w + n + dilation) % 4], (w % 2, n % 3));
            }
        }
    }
}

/// Taps of one chunk of steps and, by pairs, of more, and the largest sums.
#[test]
fn dilated_over_chunks_and_with_the_largest_sums() {
    let small = [(508, 2), (512, 3), (516, 2), (1028, 5), (1456, 1), (1820, 1)].map(|of| (3, 4, of));
    for (h, w, (c, dilation)) in small.into_iter().chain([(12, 12, (1820, 1))]) {
        let s = Shape { h, w, c, n: 9, kernel: 3, stride: 1, padding: dilation, dilation };
        for feed in EXTREMES.into_iter().chain([Feed::Noise]) {
            check_all(s, feed, Activation::Identity, (0, 0));
        }
    }
}

#[cfg(feature = "threads")]
#[test]
fn any_number_of_threads_gives_the_same_integers() {
    super::at_any_number_of_threads(|| {
        let s = Shape { h: 20, w: 19, c: 40, n: 136, kernel: 3, stride: 1, padding: 6, dilation: 6 };
        check_all(s, Feed::Noise, Activation::Relu, (1, 0));
    });
}
