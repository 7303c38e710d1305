//! Pictures resized on their way in, and class maps on their way out, against their definitions.

use crate::oracle::{self, assert_close, noise};
use crate::{dirty, tensor};
use mobilesight::image::Image;
use mobilesight::kernels::Pixels;
use mobilesight::kernels::antialias_u8::{antialias, antialias_room};
use mobilesight::kernels::argmax_f32::{Cell, Spans, argmax_rows};
use mobilesight::kernels::elementwise_i8::{Affine, quantise};
use mobilesight::kernels::resize_f32::bilinear_row;
use mobilesight::kernels::resize_u8::{Crop, Normalise, Out, Target, bilinear, bilinear_room};
use mobilesight::quant::QParams;
use mobilesight::simd::Best;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

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
            let mut row = vec![0.0; width * classes];
            for (y, got) in got.chunks_exact(width).enumerate() {
                bilinear_row(&scores, (height, width), y, &mut row);
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

/// Made larger, smaller and kept, at every remainder, the last ones in strips: [h, w] before and after.
const RESIZES: [((usize, usize), (usize, usize)); 10] = [
    ((1, 1), (3, 2)),
    ((5, 7), (5, 7)),
    ((6, 9), (3, 4)),
    ((3, 5), (8, 13)),
    ((40, 30), (7, 6)),
    ((7, 90), (130, 20)),
    ((300, 8), (70, 5)),
    ((260, 513), (130, 171)),
    ((1024, 255), (256, 17)),
    ((140, 601), (140, 601)),
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
        let mut room = vec![u32::MAX; bilinear_room(from, to)];
        bilinear::<Best>(image, Target { size: to, normalise, out: (Out::F32(&mut out), at) }, &mut room);
        let want = oracle::bilinear(&rgba, from, to, [0.5, 0.25, 0.0], [0.5, 1.0, 2.0]);
        assert_close(&out, &want, &(from, to));
    }
}

/// Rows shorter and longer than what is quantised at once, and as long.
#[test]
fn bytes_are_the_floats_quantised() {
    let normalise = Normalise::new([0.5, 0.25, 0.0], [0.5, 1.0, 2.0]);
    let params = QParams::new("input", 3, vec![0.01, 0.02, 0.003], vec![128, 7, 0]).unwrap();
    let affine = Affine::new(&params);
    for (from, to) in RESIZES.into_iter().chain([((9, 70), (4, 64)), ((9, 70), (5, 192)), ((5, 129), (5, 129))]) {
        let rgba = picture(22, from);
        let image = Image::new(&rgba, from.1, from.0).unwrap();
        let at = Pixels { start: 0, row: to.1 * 3, pixel: 3 };
        let resized = |antialiased: bool, out: Out| {
            let target = Target { size: to, normalise, out: (out, at) };
            match antialiased {
                true => antialias::<Best>(image, Crop::whole(to), target, &mut vec![0; antialias_room(from, to, to)]),
                false => bilinear::<Best>(image, target, &mut vec![0; bilinear_room(from, to)]),
            }
        };
        for antialiased in [false, true] {
            let (mut floats, mut bytes) = (vec![f32::NAN; to.0 * to.1 * 3], vec![0xaa; to.0 * to.1 * 3]);
            resized(antialiased, Out::F32(&mut floats));
            resized(antialiased, Out::U8(&mut bytes, &affine));
            let mut ws = dirty();
            let mut want = ws.tensor_u8(to.0, to.1, 0, params.zero_point());
            quantise::<Best>(&tensor(&mut ws, to.0, to.1, 3, 0, &floats), &affine, &mut want);
            assert_eq!(bytes, want.data(), "{from:?} to {to:?}, antialiased: {antialiased}");
        }
    }
}

/// `size` pixels of `rgba`, `from` = [h, w], resized as `crop` says, [h, w, 3] of 0 to 1.
fn antialiased(rgba: &[u8], from: (usize, usize), crop: Crop, size: (usize, usize)) -> Vec<f32> {
    let mut out = vec![f32::NAN; size.0 * size.1 * 3];
    let mut room = vec![0; antialias_room(from, crop.of, size)];
    let at = Pixels { start: 0, row: size.1 * 3, pixel: 3 };
    let target = Target { size, normalise: Normalise::new([0.0; 3], [1.0; 3]), out: (Out::F32(&mut out), at) };
    antialias::<Best>(Image::new(&rgba, from.1, from.0).unwrap(), crop, target, &mut room);
    out
}

/// Without a change of size the antialiased resize is the identity; a constant stays; halves are means of their windows.
#[test]
fn antialiased_pictures() {
    for (from, to) in RESIZES {
        let rgba = picture(22, from);
        let out = antialiased(&rgba, from, Crop::whole(to), to);
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

/// A crop is the same pixels as the whole has there, to the last bit.
#[test]
fn crops_are_of_the_whole() {
    for (from, to) in RESIZES {
        let rgba = picture(23, from);
        let whole = antialiased(&rgba, from, Crop::whole(to), to);
        for corner in [(0, 0), (to.0 / 3, to.1 / 2), (to.0 - 1, 0), (0, to.1 - 1)] {
            let size = (to.0 - corner.0, (to.1 - corner.1).min(4));
            let crop = antialiased(&rgba, from, Crop { of: to, corner }, size);
            for (y, row) in crop.chunks_exact(3 * size.1).enumerate() {
                let at = ((corner.0 + y) * to.1 + corner.1) * 3;
                assert_eq!(row, &whole[at..][..row.len()], "{from:?} to {to:?}, {corner:?}: row {y}");
            }
        }
    }
}
