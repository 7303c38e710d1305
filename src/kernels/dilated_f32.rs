//! Dense convolution with dilation, stride 1, and zeros outside of the picture; no halo:
//! c[y, x, n] = activation(bias[n] + sum of a[y + (ky - r) * d, x + (kx - r) * d, k] * b[ky, kx, k, n]), r = (kernel - 1) / 2.
//!
//! DeepLab's rates of 12, 24 and 36 meet maps of some 33 pixels a side: most taps lie outside, and a halo of 36 would be ten
//! times the map. Pixels that see the same taps are rectangles, three a side at 3x3, and each is a call of
//! [`super::conv_f32`] with those taps only: at rate 36 the nine taps are one.

use super::conv_f32::{Conv, Tap};
use super::{Activation, Pixels};
use std::ops::Range;

/// Taps of the largest kernel, 3x3.
const MAX_TAPS: usize = 9;

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
    /// Panels, as [`super::pack_f32::PackedB`] lays them out, of weights in the order [ky, kx, channel].
    pub b: &'a [f32],
    /// Output channels.
    pub n: usize,
    /// Applied to the sum.
    pub activation: Activation,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
}

/// Pixels that see the same taps.
pub(super) struct Rectangle {
    /// Rows and columns.
    pub size: (usize, usize),
    /// Where the first tap of the first pixel lies in the input.
    pub a: usize,
    /// Where the first pixel lies in the output.
    pub c: usize,
    /// How many taps there are.
    pub count: usize,
    /// The taps' offsets from the first.
    pub offsets: [usize; MAX_TAPS],
    /// The taps' numbers, [ky, kx].
    pub taps: [usize; MAX_TAPS],
}

/// Runs `d` by `conv`, a [`conv_f32`](super::conv_f32::conv_f32). One body for all words.
///
/// # Panics
/// When a slice is too short for the pixels that it is said to hold, or the kernel is neither 1 nor 3.
pub fn dilated_f32(d: Dilated, conv: fn(Conv)) {
    let Dilated { channels, n, activation, a, b, c: (c, at), .. } = d;
    rectangles(d.size, (d.kernel, d.dilation), (a.1, at), &mut |r| {
        conv(Conv {
            size: r.size,
            a: (a.0, Pixels { start: r.a, ..a.1 }),
            taps: &std::array::from_fn::<_, MAX_TAPS, _>(|i| Tap { a: r.offsets[i], b: r.taps[i] * channels })
                [..r.count],
            segment: channels,
            b,
            k: d.kernel * d.kernel * channels,
            n,
            activation,
            residual: None,
            c: (&mut *c, Pixels { start: r.c, ..at }),
        });
    });
}

/// Calls `each` with the rectangles of a picture of `size`, whose input lies as `a` and output as `c` say. One body for all kernels.
pub(super) fn rectangles(
    size: (usize, usize),
    (kernel, step): (usize, usize),
    (a, c): (Pixels, Pixels),
    each: &mut dyn FnMut(&Rectangle),
) {
    let reach = (kernel - 1) / 2 * step;
    for (rows, ky) in runs(size.0, kernel, step) {
        for (columns, kx) in runs(size.1, kernel, step) {
            let mut rectangle = Rectangle {
                size: (rows.len(), columns.len()),
                a: a.at(rows.start + ky.start * step - reach, columns.start + kx.start * step - reach),
                c: c.at(rows.start, columns.start),
                count: 0,
                offsets: [0; MAX_TAPS],
                taps: [0; MAX_TAPS],
            };
            for y in ky.clone() {
                for x in kx.clone() {
                    let i = rectangle.count;
                    rectangle.offsets[i] = (y - ky.start) * step * a.row + (x - kx.start) * step * a.pixel;
                    rectangle.taps[i] = y * kernel + x;
                    rectangle.count += 1;
                }
            }
            each(&rectangle);
        }
    }
}

/// The positions of an axis of `len` in runs that see the same taps: positions, taps. The first tap of three is inside from one dilation
/// on, the last up to one dilation before the end.
fn runs(len: usize, kernel: usize, dilation: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    assert!(kernel == 1 || kernel == 3, "a kernel of 1 or 3");
    let reach = (kernel - 1) / 2 * dilation;
    let (first, last) = (reach.min(len), len.saturating_sub(reach));
    let cuts = [0, first.min(last), first.max(last), len];
    (0..3).map(move |i| cuts[i]..cuts[i + 1]).filter(|run| !run.is_empty()).map(move |run| {
        let taps = usize::from(run.start < reach)..kernel - usize::from(run.start + reach >= len);
        (run, taps)
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
