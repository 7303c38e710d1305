//! [`super::dilated_f32`] in int8: the same rectangles of pixels that see the same taps, each a call of [`conv_i8`](super::conv_i8)
//! with those taps only. A tap outside of the picture is a pixel of zero points, which adds nothing: it is left out of the sums and of what
//! they start at.

use super::Pixels;
use super::conv_i8::{Conv, Part, conv_i8_part};
use super::dilated_f32::rectangles;
use super::pack_i8::PackedB;
use super::values_i8::ValuesMut;
use crate::quant::Epilogue;
use crate::simd::{ByteDot, Simd};

/// What to compute.
pub struct Dilated<'a> {
    /// Rows and columns of both pictures.
    pub size: (usize, usize),
    /// Side of the kernel, 1 or 3.
    pub kernel: usize,
    /// Pixels between taps.
    pub dilation: usize,
    /// The input; channels come in fours.
    pub a: (&'a [u8], Pixels),
    /// The weights, [n, ky, kx, channel], packed for the dot that is to run.
    pub b: &'a PackedB,
    /// [`PackedB::tap_starts`] of them.
    pub tap_starts: &'a [i32],
    /// From sums to outputs.
    pub epilogue: &'a Epilogue,
    /// The output: bytes with the epilogue's parameters, or floats.
    pub c: (ValuesMut<'a>, Pixels),
}

/// Runs `d` with the words of `S` and its own dot of bytes; `room` holds a tap's starts.
///
/// # Panics
/// When a slice is too short for the pixels that it is said to hold, or the kernel is neither 1 nor 3.
pub fn dilated_i8<S: Simd>(d: Dilated, room: &mut [i32]) {
    dilated_i8_with::<S, S::Dot>(d, room);
}

/// [`dilated_i8`] with another dot of bytes, which must be what the weights are packed for.
///
/// # Panics
/// As for [`dilated_i8`].
pub fn dilated_i8_with<S: Simd, D: ByteDot<S>>(mut d: Dilated, room: &mut [i32]) {
    let (a, c) = (d.a.1, d.c.1);
    rectangles(d.size, (d.kernel, d.dilation), (a, c), &mut |r| {
        room.fill(0);
        for tap in &r.taps[..r.count] {
            let starts = &d.tap_starts[tap * room.len()..][..room.len()];
            room.iter_mut().zip(starts).for_each(|(sum, start)| *sum += start);
        }
        let conv = Conv {
            size: r.size,
            a: (d.a.0, Pixels { start: r.a, ..a }),
            taps: &r.offsets[..r.count],
            segment: d.b.k / (d.kernel * d.kernel),
            b: d.b,
            epilogue: d.epilogue,
            residual: None,
            c: (d.c.0.reborrow(), Pixels { start: r.c, ..c }),
        };
        conv_i8_part::<S, D>(conv, Some(Part { taps: &r.taps[..r.count], starts: room }));
    });
}
