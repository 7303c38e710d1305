//! The int8 oracle: naive loops over the specification in src/quant.rs, and values to feed it.

#[path = "../oracle/shape.rs"]
mod shape;

use mobilesight::kernels::Activation;
use mobilesight::quant::{Epilogue, QParams, QWeights, Residual, dot};
pub use shape::Shape;

pub const ACTIVATIONS: [Activation; 4] =
    [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::Hardswish];

/// `n` values of SplitMix64 that differ with `seed`.
pub fn bits(seed: u64, n: usize) -> impl Iterator<Item = u64> {
    (1..=n as u64).map(move |i| {
        let z = (seed << 32).wrapping_add(i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^ (z >> 31)
    })
}

pub fn bytes(seed: u64, n: usize) -> Vec<u8> {
    bits(seed, n).map(|b| (b >> 40) as u8).collect()
}

/// `n` floats in `low`..`high`.
pub fn floats(seed: u64, n: usize, low: f32, high: f32) -> Vec<f32> {
    bits(seed, n).map(|b| low + (high - low) * ((b >> 40) as f32 / (1u64 << 24) as f32)).collect()
}

pub fn params(seed: u64, channels: usize, largest: f32) -> QParams {
    let scale = floats(seed, channels, largest / 8.0, largest);
    QParams::new("test", channels, scale, bytes(seed + 1, channels)).unwrap()
}

/// What a test feeds: noise, or the largest sums that there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feed {
    Noise,
    /// Weights of the sign times 127; activations of 255 over a zero point of 0, or 0 over 255.
    Extreme {
        weight: i8,
        zero_point: u8,
    },
}

pub const EXTREMES: [Feed; 4] = [
    Feed::Extreme { weight: 127, zero_point: 0 },
    Feed::Extreme { weight: -127, zero_point: 0 },
    Feed::Extreme { weight: 127, zero_point: 255 },
    Feed::Extreme { weight: -127, zero_point: 255 },
];

impl Feed {
    pub fn activations(self, n: usize) -> Vec<u8> {
        match self {
            Feed::Noise => bytes(1, n),
            Feed::Extreme { zero_point, .. } => vec![255 - zero_point; n],
        }
    }

    pub fn input(self, c: usize) -> QParams {
        match self {
            Feed::Noise => params(2, c, 0.1),
            Feed::Extreme { zero_point, .. } => QParams::new("test", c, vec![0.1], vec![zero_point]).unwrap(),
        }
    }

    /// `len` weights whose sums of `k` are some hundred quanta of an output scale of 1.
    pub fn weights(self, len: usize, n: usize, k: usize) -> QWeights {
        let weight = match self {
            Feed::Noise => bytes(4, len).into_iter().map(|b| (b as i8).max(-127)).collect(),
            Feed::Extreme { weight, .. } => vec![weight; len],
        };
        let size = match self {
            Feed::Noise => 128.0 / (k as f32).sqrt() / 64.0 / 64.0,
            Feed::Extreme { .. } => 128.0 / k as f32 / 255.0 / 127.0,
        };
        QWeights::new("test", weight, floats(5, n, size / 2.0, size)).unwrap()
    }
}

impl Shape {
    /// (q, zp) of channel `c` at `tap` of output pixel `out`: the zero point where it is outside.
    fn at(&self, x: &[u8], zero: &[u8], out: (usize, usize), tap: (usize, usize), c: usize) -> (u8, u8) {
        (self.source(out, tap).map_or(zero[c], |pixel| x[pixel * self.c + c]), zero[c])
    }

    /// Sums of a dense convolution with weights [n, kernel, kernel, c]: [h, w, n].
    pub fn dense(&self, x: &[u8], zero: &[u8], weight: &[i8]) -> Vec<i32> {
        let ((h, w), k) = (self.out(), self.kernel * self.kernel * self.c);
        let mut out = Vec::new();
        for (y, z, o) in (0..h * w * self.n).map(|i| (i / self.n / w, i / self.n % w, i % self.n)) {
            let values = (0..k).map(|i| {
                let tap = i / self.c;
                self.at(x, zero, (y, z), (tap / self.kernel, tap % self.kernel), i % self.c)
            });
            out.push(dot(weight[o * k..][..k].iter().copied(), values));
        }
        out
    }

    /// Sums of a depthwise convolution with weights [kernel, kernel, c]: [h, w, c].
    pub fn depthwise(&self, x: &[u8], zero: &[u8], weight: &[i8]) -> Vec<i32> {
        let ((h, w), taps) = (self.out(), self.kernel * self.kernel);
        let mut out = Vec::new();
        for (y, z, c) in (0..h * w * self.c).map(|i| (i / self.c / w, i / self.c % w, i % self.c)) {
            let values = (0..taps).map(|tap| self.at(x, zero, (y, z), (tap / self.kernel, tap % self.kernel), c));
            out.push(dot((0..taps).map(|tap| weight[tap * self.c + c]), values));
        }
        out
    }
}

/// The outputs t of sums [pixels, n], with the residual of each.
pub fn finish(e: &Epilogue, sums: &[i32], n: usize, residual: impl Fn(usize) -> Option<Residual>) -> Vec<f32> {
    sums.iter().enumerate().map(|(i, sum)| e.apply(*sum, i % n, residual(i))).collect()
}

/// The bytes of outputs t.
pub fn quantise(e: &Epilogue, t: &[f32], n: usize) -> Vec<u8> {
    t.iter().enumerate().map(|(i, t)| e.quantise(*t, i % n)).collect()
}
