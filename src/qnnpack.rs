//! QNNPACK's int8 where it differs from [`crate::quant`], once, in plain Rust: aten/src/ATen/native/quantized/cpu/qnnpack of
//! PyTorch, which TorchVision's quantised models run on.
//!
//! ```text
//! real value            (q - zp) * s                        q: u8, one scale and zero point a tensor
//! weights               w[o, c, ..] ~ wq * s_w              wq: -128..=127
//! convolution, linear   as quant.rs, with m = s * s_w; the bias is rounded to a multiple of m; Identity or Relu
//! a function of a byte  table[q] = round(f(real value of q) / s' + zp'): Hardswish, Hardsigmoid
//! mean of n pixels      round(sum of (q - zp) * (s / (s * n))) + zp
//! gate times a map      as quant.rs's squeeze-excite product, by the gate's bytes
//! sum                   round((a - zp_a) * A + (b - zp_b) * B, by 2^shift) + zp'; A and B have 22 bits; ties go away from zero
//! ```
//! QNNPACK adds the zero point after it has rounded and takes s * s_w / s' in another order: last bits of a float, which may take a
//! byte one step off. None of the golden's samples is off.
//!
//! A file has, for a layer x, `x.weight` I8 in TorchVision's shape, BatchNorm folded in, `x.weight_scale` F32 [1] (s_w, which has
//! not the input's scale in it) and `x.bias` F32 [n]; for what module x makes `x.output.scale` F32 [1] and `x.output.zero_point`
//! U8 [1]: a convolution (with its ReLU), linear layer or Hardswish, `quant` (the picture), `skip_mul` (squeeze-excite's product),
//! `skip_add` (a block's sum). The gate has always 1 / 256 and 0; the mean has its input's.

use crate::Result;
use crate::quant::{QParams, mismatch};

/// One output for each byte.
pub type Table = [u8; 256];

/// The scale of Hardsigmoid's output, whose zero point is 0.
pub const GATE_SCALE: f32 = 1.0 / 256.0;

/// Hardswish of each byte of `from`, as a byte of `to`, one scale and zero point each.
pub fn hardswish(from: &QParams, to: &QParams) -> Table {
    table(from, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0, (to.scale()[0], to.zero_point()[0]))
}

/// Hardsigmoid of each byte of `from`, in [`GATE_SCALE`].
pub fn hardsigmoid(from: &QParams) -> Table {
    table(from, |x| (x + 3.0).clamp(0.0, 6.0) / 6.0, (GATE_SCALE, 0))
}

fn table(from: &QParams, f: impl Fn(f32) -> f32, (scale, zero_point): (f32, u8)) -> Table {
    let quantum = |q: u8| f(from.dequantise(q, 0)) * (1.0 / scale) + f32::from(zero_point);
    std::array::from_fn(|q| quantum(q as u8).clamp(0.0, 255.0).round_ties_even() as u8)
}

/// The byte of the mean of `pixels` pixels whose bytes sum to `sum`, in the scale and zero point of `params`.
pub fn mean(sum: u32, pixels: usize, params: &QParams) -> u8 {
    let (scale, zero) = (params.scale()[0], i64::from(params.zero_point()[0]));
    let above_zero = (i64::from(sum) - pixels as i64 * zero) as f32;
    let mean = (above_zero * (scale / (scale * pixels as f32))).round_ties_even();
    (mean as i64 + zero).clamp(0, 255) as u8
}

/// The constants of a sum of two maps.
#[derive(Clone, Copy, Debug)]
pub struct Addition {
    a: i32,
    b: i32,
    /// -(zp_a * A + zp_b * B).
    start: i32,
    shift: u32,
    zero_point: i32,
}

impl Addition {
    /// The sum `name` of maps with the parameters `a` and `b`, in those of `to`, one scale and zero point each.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`], naming the sum, for scales that QNNPACK does not add: their ratios to the output's must
    /// lie in 2^-14..2^8, the larger from 2^-9 on.
    pub fn new(name: &str, a: &QParams, b: &QParams, to: &QParams) -> Result<Addition> {
        let ratios = [a, b].map(|p| p.scale()[0] / to.scale()[0]);
        let largest = ratios[0].max(ratios[1]);
        if !ratios.iter().all(|r| (1.0 / 16384.0..256.0).contains(r)) || largest < 1.0 / 512.0 {
            return Err(mismatch(name, "adds maps whose scales are too far from the sum's"));
        }
        // The larger ratio takes the 22 bits whole, so that two products and the start fit an i32.
        let exponent = (largest.to_bits() >> 23) as i32 - 127;
        let shift = (21 - exponent) as u32;
        let [a_times, b_times] = ratios.map(|r| (r * (1u64 << shift) as f32).round_ties_even() as i32);
        let zero = |p: &QParams| i32::from(p.zero_point()[0]);
        let start = -(a_times * zero(a) + b_times * zero(b));
        Ok(Addition { a: a_times, b: b_times, start, shift, zero_point: zero(to) })
    }

    /// The byte of a sum.
    #[inline(always)]
    pub fn apply(&self, a: u8, b: u8) -> u8 {
        let sum = self.start + i32::from(a) * self.a + i32::from(b) * self.b;
        let mask = (1 << self.shift) - 1;
        // Halves go away from zero: down where the sum is negative.
        let rounded = (sum >> self.shift) + i32::from((sum & mask) - i32::from(sum < 0) > mask >> 1);
        (rounded + self.zero_point).clamp(0, 255) as u8
    }
}
