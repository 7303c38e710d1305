//! Each kernel against its oracle, at every remainder of its tile.

mod depthwise_project;
#[path = "../oracle/mod.rs"]
mod oracle;
mod winograd;

use mobilesight::image::Image;
use mobilesight::kernels::argmax_f32::{Cell, Spans, argmax_rows};
use mobilesight::kernels::conv_f32::{Conv, Tap, conv_f32};
use mobilesight::kernels::depthwise_f32::{Depthwise, Filter, depthwise_f32, pack_weight};
use mobilesight::kernels::dilated_f32::{Dilated, dilated_f32};
use mobilesight::kernels::expand_depthwise_f32::{Bands, Expand, ExpandDepthwise, expand_depthwise_f32};
use mobilesight::kernels::pack_f32::PackedB;
use mobilesight::kernels::resize_f32::bilinear_row;
use mobilesight::kernels::resize_u8::{Normalise, Target, antialias, antialias_room, bilinear, bilinear_room};
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

fn filter<'a>(s: Shape, weight: &'a [f32], bias: &'a [f32], activation: Activation) -> Filter<'a> {
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
    let input = tensor(&mut ws, s.h, s.w, k, 0, &x);
    let mut out = ws.tensor(h, w, s.c, 0);
    let mut row_sums = vec![f32::NAN; h * s.c];
    let packed = pack_weight(s.kernel, &weight);
    let filter = filter(s, &packed, &bias, act);
    let mut scratch = vec![f32::NAN; Bands::new((s.h, s.w), &filter).scratch()];
    let pixels = |pitch, pixel| Pixels { start: 0, row: pitch, pixel };
    let (to, size) = (pixels(out.row_pitch(), s.c), (s.h, s.w));
    let expand = Expand { size, a: (input.data(), pixels(input.row_pitch(), k)), b: panels.data(), k, activation: act };
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

/// Against the picture resized in all classes and then searched: growing, staying and shrinking, with equal classes and with one
/// that is best in most of the picture.
#[test]
fn argmax_of_a_resized_picture() {
    let sizes = [((1, 1), (1, 1)), ((2, 1), (5, 9)), ((3, 3), (3, 3)), ((4, 5), (33, 40)), ((7, 7), (9, 30))];
    let more = [((5, 6), (3, 13)), ((9, 9), (4, 4)), ((8, 40), (64, 320))];
    for (classes, lead) in [(1, 0.0), (2, 0.0), (5, 3.0), (21, 0.0), (21, 6.0), (256, 2.0)] {
        for ((h, columns), (height, width)) in sizes.into_iter().chain(more) {
            let mut x = noise(30, h * columns * classes);
            x.iter_mut().for_each(|v| *v = (*v * 4.0).round());
            x.iter_mut().skip(classes / 2).step_by(classes).for_each(|v| *v += lead);
            let pitch = classes.next_multiple_of(4);
            let mut padded = vec![f32::MIN; h * columns * pitch];
            padded
                .chunks_exact_mut(pitch)
                .zip(x.chunks_exact(classes))
                .for_each(|(to, x)| to[..classes].copy_from_slice(x));
            let mut ws = dirty();
            let scores = tensor(&mut ws, h, columns, classes, 0, &x);
            let padded = tensor(&mut ws, h, columns, pitch, 0, &padded);
            let axes = [(h, height), (columns, width)];
            let mut starts = axes.map(|(from, to)| vec![7; Spans::room(from, to).0]);
            let mut fractions = axes.map(|(from, to)| vec![f32::NAN; Spans::room(from, to).1]);
            let spans = starts.iter_mut().zip(&mut fractions).zip(axes);
            let spans: Vec<_> =
                spans.map(|((starts, fractions), (from, to))| Spans::new(from, to, starts, fractions)).collect();
            let mut room = vec![f32::NAN; Cell::room(pitch)];
            let mut cell = Cell::new(pitch, &mut room);
            let mut got = vec![255; height * width];
            let (above, below) = got.split_at_mut(height / 3 * width);
            argmax_rows::<Best>(&padded, (&spans[0], &spans[1]), 0..height / 3, &mut cell, above);
            argmax_rows::<Best>(&padded, (&spans[0], &spans[1]), height / 3..height, &mut cell, below);
            let (mut column, mut row) = (vec![0.0; columns * classes], vec![0.0; width * classes]);
            for (y, got) in got.chunks_exact(width).enumerate() {
                bilinear_row(&scores, (height, width), y, &mut column, &mut row);
                let want: Vec<u8> = row.chunks_exact(classes).map(first_of_the_largest).collect();
                assert_eq!(got, want, "{classes} classes, {h} x {columns} to {height} x {width}, row {y}");
            }
        }
    }
}

fn first_of_the_largest(pixel: &[f32]) -> u8 {
    let largest = pixel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    pixel.iter().position(|v| *v == largest).unwrap() as u8
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

/// Made larger, smaller and kept, at every remainder: [h, w] before and after.
const RESIZES: [((usize, usize), (usize, usize)); 7] = [
    ((1, 1), (3, 2)),
    ((5, 7), (5, 7)),
    ((6, 9), (3, 4)),
    ((3, 5), (8, 13)),
    ((40, 30), (7, 6)),
    ((7, 90), (130, 20)),
    ((300, 8), (70, 5)),
];

/// RGBA noise of `size`.
fn picture(seed: u64, size: (usize, usize)) -> Vec<u8> {
    noise(seed, size.0 * size.1 * 4).iter().map(|v| ((v + 1.0) * 127.5) as u8).collect()
}

/// Against the definition in f64.
#[test]
fn bilinear_pictures() {
    let normalise = Normalise::new([0.5, 0.25, 0.0], [0.5, 1.0, 2.0]);
    for (from, to) in RESIZES {
        let rgba = picture(21, from);
        let image = Image::new(&rgba, from.1, from.0).unwrap();
        let mut out = vec![f32::NAN; to.0 * to.1 * 3];
        let at = Pixels { start: 0, row: to.1 * 3, pixel: 3 };
        let mut room = vec![u32::MAX; bilinear_room(to.1)];
        bilinear::<Best>(image, Target { size: to, normalise, out: (&mut out, at) }, &mut room);
        let want = oracle::bilinear(&rgba, from, to, [0.5, 0.25, 0.0], [0.5, 1.0, 2.0]);
        assert_close(&out, &want, &(from, to));
    }
}

/// Without a change of size the antialiased resize is the identity; a constant stays; halves are means of their windows.
#[test]
fn antialiased_pictures() {
    let normalise = Normalise::new([0.0; 3], [1.0; 3]);
    for (from, to) in RESIZES {
        let rgba = picture(22, from);
        let image = Image::new(&rgba, from.1, from.0).unwrap();
        let mut out = vec![f32::NAN; to.0 * to.1 * 3];
        let mut room = vec![0; antialias_room(from, to)];
        let at = Pixels { start: 0, row: to.1 * 3, pixel: 3 };
        antialias::<Best>(image, Target { size: to, normalise, out: (&mut out, at) }, &mut room);
        for (i, (got, want)) in out.iter().zip(oracle::antialias(&rgba, from, to)).enumerate() {
            // Two roundings to 8 bits, with weights of 15 bits.
            assert!(
                (got * 255.0 - want).abs() <= 1.1,
                "{from:?} to {to:?}: [{i}] is {}, should be {want}",
                got * 255.0
            );
        }
        if from == to {
            let same = out.iter().enumerate().all(|(i, v)| (v * 255.0).round() == f32::from(rgba[i / 3 * 4 + i % 3]));
            assert!(same, "the identity");
        }
    }
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
