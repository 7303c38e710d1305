//! Depthwise convolution, 3x3 and 5x5, at stride 1 or 2 and any dilation:
//! c[y, x, ch] = activation(bias[ch] + sum of a[y * stride + ky * d, x * stride + kx * d, ch] * weight[ky, kx, ch]).
//!
//! Four output pixels of a row and four channels are computed together: at 5x5 and stride 1 that is 65 loads for 100
//! multiplies where one pixel at a time takes 50 for 25. With dilation d the four pixels lie d apart, so that they share inputs too.
//! A row is done a block of channels at a time, so that neighbouring runs find their shared pixels in the first-level cache: with all of
//! 960 channels at once each run would stream 150 KB.
//!
//! The sums of the outputs over a row feed squeeze-excite's pool without another pass; they are kept a row, and
//! added up in the order of rows, so that the result does not depend on threads.

use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;
use std::ops::Range;

/// What to compute; the channel count must be a multiple of 4.
pub struct Depthwise<'a> {
    /// Output rows and columns.
    pub size: (usize, usize),
    /// Channels.
    pub channels: usize,
    /// 3 or 5.
    pub kernel: usize,
    /// 1 or 2; more than 1 only without dilation.
    pub stride: usize,
    /// Pixels between taps.
    pub dilation: usize,
    /// The input and where the first tap of input pixel (y, x) lies.
    pub a: (&'a [f32], Pixels),
    /// [kernel, kernel, channels].
    pub weight: &'a [f32],
    /// [channels].
    pub bias: &'a [f32],
    /// Applied to the sum.
    pub activation: Activation,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
    /// Receives the sums of each output row, [h, channels].
    pub row_sums: Option<&'a mut [f32]>,
}

/// Bytes of input that a row of a block of channels may take of a first-level cache of 32 KB.
const BLOCK_BYTES: usize = 24 << 10;
/// Least channels of a block: two cache lines of a pixel.
const MIN_BLOCK: usize = 32;

struct Job<'a> {
    d: &'a Depthwise<'a>,
    c: Shared,
    sums: Option<Shared>,
}

/// Runs `d` with the words of `S`.
///
/// # Panics
/// When a slice is too short, the channels are no multiple of 4, or the kernel and stride are not of the list.
pub fn depthwise_f32<S: Simd>(mut d: Depthwise) {
    let (h, w) = d.size;
    if h == 0 || w == 0 {
        return;
    }
    let reach = (d.kernel - 1) * d.dilation;
    let (rows, cols) = ((h - 1) * d.stride + reach + 1, (w - 1) * d.stride + reach + 1);
    assert!(d.channels.is_multiple_of(4), "channels come in fours");
    assert!(d.stride == 1 || d.dilation == 1, "stride and dilation do not meet");
    assert_eq!(d.weight.len(), d.kernel * d.kernel * d.channels, "weight is [kernel, kernel, channels]");
    assert_eq!(d.bias.len(), d.channels, "bias is [channels]");
    assert!(d.a.1.end(rows, cols, d.channels) <= d.a.0.len(), "a is too short");
    assert!(d.c.1.end(h, w, d.channels) <= d.c.0.len(), "c is too short");
    assert!(d.row_sums.as_ref().is_none_or(|s| s.len() == h * d.channels), "row sums are [h, channels]");
    let row = match (d.kernel, d.stride) {
        (3, 1) => Job::row::<S, 3, 1>,
        (3, 2) => Job::row::<S, 3, 2>,
        (5, 1) => Job::row::<S, 5, 1>,
        (5, 2) => Job::row::<S, 5, 2>,
        other => panic!("no depthwise kernel for size and stride {other:?}"),
    };
    let c = Shared(std::mem::take(&mut d.c.0).as_mut_ptr());
    let sums = d.row_sums.take().map(|s| {
        s.fill(0.0);
        Shared(s.as_mut_ptr())
    });
    let job = Job { d: &d, c, sums };
    // SAFETY: the asserts above cover every tap, output and sum of every row; each task writes a row of its own.
    parallel::for_each(h, |y| unsafe { row(&job, y) });
}

impl Job<'_> {
    /// Output row `y`, in runs of 4, 2 and 1 pixels that lie a dilation apart.
    ///
    /// # Safety
    /// Every tap of the row must lie in a, and the row in c and the sums.
    #[inline(never)]
    unsafe fn row<S: Simd, const K: usize, const STRIDE: usize>(&self, y: usize) {
        let (width, step) = (self.d.size.1, self.d.dilation);
        let columns = (width - 1) * STRIDE + (K - 1) * step + 1;
        let block = (BLOCK_BYTES / (4 * K * columns) / 4 * 4).max(MIN_BLOCK);
        for first in (0..self.d.channels).step_by(block) {
            let channels = first..self.d.channels.min(first + block);
            for phase in 0..step.min(width) {
                let mut x = phase;
                while x < width {
                    let c = channels.clone();
                    // SAFETY: the caller's; each run ends before the row does.
                    x += step
                        * unsafe {
                            match (width - x).div_ceil(step) {
                                4.. => self.run::<S, K, STRIDE, 4>(y, x, c),
                                2.. => self.run::<S, K, STRIDE, 2>(y, x, c),
                                _ => self.run::<S, K, STRIDE, 1>(y, x, c),
                            }
                        };
                }
            }
        }
    }

    /// `T` pixels from (y, x), some channels; returns `T`.
    ///
    /// # Safety
    /// As for [`Job::row`], for the pixels x, x + dilation, …
    #[inline(always)]
    unsafe fn run<S: Simd, const K: usize, const STRIDE: usize, const T: usize>(
        &self,
        y: usize,
        x: usize,
        channels: Range<usize>,
    ) -> usize {
        let d = self.d;
        let (step_x, step_y) = (d.a.1.pixel * d.dilation, d.a.1.row * d.dilation);
        let step_c = d.c.1.pixel * d.dilation;
        // SAFETY: the caller's: all of these pixels and their taps exist, with `channels` floats each.
        unsafe {
            let a = d.a.0.as_ptr().add(d.a.1.at(y * STRIDE, x * STRIDE));
            let c = self.c.0.add(d.c.1.at(y, x));
            for ch in channels.step_by(4) {
                let mut acc = [S::load(d.bias.as_ptr().add(ch)); T];
                for ky in 0..K {
                    let w: [S::F32; K] =
                        std::array::from_fn(|kx| S::load(d.weight.as_ptr().add((ky * K + kx) * d.channels + ch)));
                    for column in 0..(T - 1) * STRIDE + K {
                        let v = S::load(a.add(ky * step_y + column * step_x + ch));
                        for (t, acc) in acc.iter_mut().enumerate() {
                            if column >= t * STRIDE && column < t * STRIDE + K {
                                *acc = S::madd(v, w[column - t * STRIDE], *acc);
                            }
                        }
                    }
                }
                let out = acc.map(|v| d.activation.apply::<S>(v));
                for (t, v) in out.iter().enumerate() {
                    S::store(c.add(t * step_c + ch), *v);
                }
                if let Some(sums) = self.sums {
                    let p = sums.0.add(y * d.channels + ch);
                    S::store(p, out.into_iter().fold(S::load(p), |sum, v| S::add(sum, v)));
                }
            }
        }
        T
    }
}
