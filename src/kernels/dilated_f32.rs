//! Dense convolution with dilation, stride 1, and zeros outside of the picture; no halo:
//! c[y, x, n] = activation(bias[n] + sum of a[y + (ky - r) * d, x + (kx - r) * d, k] * b[ky, kx, k, n]), r = (kernel - 1) / 2.
//!
//! DeepLab's rates of 12, 24 and 36 meet maps of some 33 pixels a side: most taps lie outside, and a halo of 36 would be ten
//! times the map. Pixels that see the same taps are rectangles, three a side at 3x3, and each is a call of
//! [`conv_f32`] with those taps only: at rate 36 the nine taps are one.

use super::conv_f32::{Conv, Tap, conv_f32};
use super::{Activation, Pixels};
use crate::simd::Simd;
use std::ops::Range;

/// Taps of the largest kernel, 3x3.
pub(super) const MAX_TAPS: usize = 9;

/// What to compute.
pub struct Dilated<'a> {
    /// Rows and columns of both pictures.
    pub size: (usize, usize),
    /// Input channels.
    pub channels: usize,
    /// Side of the kernel, 1 or 3.
    pub kernel: usize,
    /// Pixels between taps.
    pub dilation: usize,
    /// The input.
    pub a: (&'a [f32], Pixels),
    /// Panels, as [`super::conv_f32::PackedB`] lays them out, of weights in the order [ky, kx, channel].
    pub b: &'a [f32],
    /// Output channels.
    pub n: usize,
    /// Applied to the sum.
    pub activation: Activation,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
}

/// Runs `d` with the words of `S`.
///
/// # Panics
/// When a slice is too short for the pixels that it is said to hold, or the kernel is larger than 3.
pub fn dilated_f32<S: Simd>(d: Dilated) {
    let (reach, step) = ((d.kernel - 1) / 2 * d.dilation, d.dilation);
    let (a, c) = (d.a.1, d.c.1);
    for (rows, ky) in runs(d.size.0, d.kernel, step) {
        for (columns, kx) in runs(d.size.1, d.kernel, step) {
            let start = a.at(rows.start + ky.start * step - reach, columns.start + kx.start * step - reach);
            let mut taps = [Tap::default(); MAX_TAPS];
            let seen = ky.clone().flat_map(|y| kx.clone().map(move |x| (y, x)));
            for (tap, (y, x)) in taps.iter_mut().zip(seen) {
                tap.a = (y - ky.start) * step * a.row + (x - kx.start) * step * a.pixel;
                tap.b = (y * d.kernel + x) * d.channels;
            }
            conv_f32::<S>(Conv {
                size: (rows.len(), columns.len()),
                a: (d.a.0, Pixels { start, ..a }),
                taps: &taps[..ky.len() * kx.len()],
                segment: d.channels,
                b: d.b,
                k: d.kernel * d.kernel * d.channels,
                n: d.n,
                activation: d.activation,
                residual: None,
                c: (&mut *d.c.0, Pixels { start: c.at(rows.start, columns.start), ..c }),
            });
        }
    }
}

/// The positions of an axis of `len` in runs that see the same taps: positions, taps.
pub(super) fn runs(len: usize, kernel: usize, dilation: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let reach = (kernel - 1) / 2 * dilation;
    let taps = move |i: usize| {
        let first = reach.saturating_sub(i).div_ceil(dilation);
        first..kernel.min((len + reach - i).div_ceil(dilation))
    };
    let mut next = 0;
    std::iter::from_fn(move || {
        let start = next;
        next = (start..len).find(|i| taps(*i) != taps(start)).unwrap_or(len);
        (start < len).then(|| (start..next, taps(start)))
    })
}

#[cfg(test)]
mod tests {
    use super::runs;

    #[test]
    fn runs_skip_the_taps_outside() {
        let of = |len, dilation| runs(len, 3, dilation).collect::<Vec<_>>();
        assert_eq!(of(33, 36), [(0..33, 1..2)]);
        assert_eq!(of(33, 24), [(0..9, 1..3), (9..24, 1..2), (24..33, 0..2)]);
        assert_eq!(of(33, 12), [(0..12, 1..3), (12..21, 0..3), (21..33, 0..2)]);
        assert_eq!(of(24, 12), [(0..12, 1..3), (12..24, 0..2)]);
        assert_eq!(of(1, 1), [(0..1, 1..2)]);
        assert_eq!(of(0, 1), []);
    }
}
