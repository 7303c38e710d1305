//! int8: the equations, once, in plain Rust. The kernels compute the same integers, which the tests hold them to.
//!
//! ```text
//! real value            (q - zp[c]) * s[c]                  q: u8, a scale and a zero point a channel
//! weights               w[o, c, ..] * s[c] ~ wq * m[o]      wq: -127..=127; the input's scale is in them
//! sum, i32, exact       acc = sum of wq * (q - zp[c])       padding is a pixel of zero points
//! in output quanta      x = acc * M[o] + B[o]               M = m / s', B = bias / s'; s' the output's scale
//! activation            Identity: x;  Relu: max(x, 0);  Relu6: min of it and 6 / s';
//!                       Hardswish: x * hardsigmoid(x * s')
//! residual              t = activation + (r - zp_r) * R     R = s_r / s'
//! output                q' = round(t + zp'), ties to even, clamped to 0..=255;  or t itself as f32, where s' = 1
//! ```
//! Every float operation above is one rounded f32 operation in the order written (multiply, then add: never fused), so that
//! all builds agree to the bit. t + zp' is rounded once: zp' is added together with [`ROUND`], at which a float's step is 1.
//!
//! Weights are symmetric per output channel; activations per channel, since the epilogue has a vector there anyway and the
//! next layer's weights take the scales in: free at run time, and as accurate as one scale a tensor is not.
//!
//! A file has, for an int8 layer x, named as in the state_dict: `x.weight` I8 in TorchVision's shape, BatchNorm and the input's
//! scales folded in, `x.weight_scale` F32 [n] (m) and `x.bias` F32 [n]. A layer left in f32 has `x.weight` F32 or F16 and `x.bias`,
//! BatchNorm folded. An activation P has `P.scale` F32 and `P.zero_point` U8, [c] or [1]; P is `x.output` for what layer x makes (a
//! block's output is its last layer's, the sum included), `input` for the normalised picture, and by the module's name where no
//! layer makes it: a squeeze-excite's product, `roi_heads.box_roi_pool.output`, `avgpool.output`. Squeeze-excite's fc1 and fc2
//! may be I8 with `weight_scale` and are computed in f32 all the same.
//!
//! One rule says what is bytes: an int8 layer writes bytes where its output has parameters and floats where not, a layer in
//! f32 writes floats, and a layer that gets the other form than it computes with converts it (src/nn/map.rs).
//!
//! What always stays in f32, whatever a file asks for: squeeze-excite's two layers and gates; LR-ASPP's gate and the classifier that it
//! multiplies; atrous convolutions whose channels do not come in fours; dense layers of sums of over 16,384 products, and depthwise ones whose
//! channels do not come in eights; and what is no layer: RoIAlign, the resizes of maps, softmax and sigmoid, the decoding of boxes and NMS. A layer whose output
//! one of these reads writes floats. Which others stay, the sensitive ones, the quantiser measures (src/quantize), and the file says.
//!
//! What is equal in all modules, on every CPU, with any number of threads: every byte and sum of an int8 model, since its f32
//! layers never fuse a multiplication with an addition ([`crate::simd::Exact`]), nor do the resize of the picture, the gates
//! and RoIAlign. The exponentials (sigmoid, softmax, box decoding) are the same code in all modules; natively they are the
//! platform's, so that there the proposals, and what is pooled from them, may differ in a last bit. LR-ASPP's gate comes after all
//! bytes: the classifier that it multiplies is always in f32.

use crate::kernels::Activation;
use crate::{Error, Result};

/// 1.5 * 2^23: a float of this size has no fraction bits, so adding it rounds to an integer in the low bits.
pub const ROUND: f32 = 12_582_912.0;

/// t is not let below this before it is rounded: with any zero point it is 0 already, and [`ROUND`] needs a bound.
pub const LOWEST: f32 = -256.0;

/// Scales and multipliers lie within this and its inverse, so that no finite sum can become infinite or NaN.
const LIMIT: f32 = (1u64 << 40) as f32;

pub(crate) fn mismatch(name: &str, what: &str) -> Error {
    Error::WeightsMismatch(format!("{name} {what}; quantise the model again"))
}

pub(crate) fn check_scales(name: &str, scales: &[f32]) -> Result<()> {
    if scales.iter().all(|s| (1.0 / LIMIT..=LIMIT).contains(s)) {
        return Ok(());
    }
    Err(mismatch(name, "has a scale that is not a positive normal number of a usable size"))
}

pub(crate) fn check_bias(name: &str, bias: &[f32]) -> Result<()> {
    if bias.iter().all(|b| b.abs() <= LIMIT) {
        return Ok(());
    }
    Err(mismatch(name, "has a bias that is not a finite number of a usable size"))
}

/// How an activation is quantised: a scale and a zero point a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct QParams {
    scale: Vec<f32>,
    zero_point: Vec<u8>,
}

impl QParams {
    /// Of `channels` channels; a vector of one entry holds for all.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`], naming the activation, for another length or a scale outside of 2^-40..=2^40.
    pub fn new(name: &str, channels: usize, mut scale: Vec<f32>, mut zero_point: Vec<u8>) -> Result<QParams> {
        if scale.len() == 1 && channels > 1 {
            scale = vec![scale[0]; channels];
        }
        if zero_point.len() == 1 && channels > 1 {
            zero_point = vec![zero_point[0]; channels];
        }
        if (scale.len(), zero_point.len()) != (channels, channels) {
            return Err(mismatch(name, &format!("needs {channels} scales and zero points, or one of each")));
        }
        check_scales(name, &scale)?;
        Ok(QParams { scale, zero_point })
    }

    /// The same for `times` pixels side by side as one.
    pub fn repeated(&self, times: usize) -> QParams {
        QParams { scale: self.scale.repeat(times), zero_point: self.zero_point.repeat(times) }
    }

    /// [channels].
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// [channels].
    pub fn zero_point(&self) -> &[u8] {
        &self.zero_point
    }

    /// `x` of channel `c` as a byte.
    pub fn quantise(&self, x: f32, c: usize) -> u8 {
        round(x * (1.0 / self.scale[c]), self.zero_point[c])
    }

    /// The value of byte `q` of channel `c`.
    pub fn dequantise(&self, q: u8, c: usize) -> f32 {
        (i32::from(q) - i32::from(self.zero_point[c])) as f32 * self.scale[c]
    }
}

/// round(t + zero_point), ties to even, clamped to a byte.
pub fn round(t: f32, zero_point: u8) -> u8 {
    let sum = f64::from(t.max(LOWEST)) + f64::from(zero_point);
    sum.round_ties_even().clamp(0.0, 255.0) as u8
}

/// A layer's integer weights, [n, taps, c] or, depthwise, [taps, n].
#[derive(Clone, Debug, PartialEq)]
pub struct QWeights {
    weight: Vec<i8>,
    scale: Vec<f32>,
}

impl QWeights {
    /// Weights from a file, with `scale` [n].
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`], naming the weight, for a scale outside of 2^-40..=2^40, or for -128, which the dots of
    /// pairs could not hold.
    pub fn new(name: &str, weight: Vec<i8>, scale: Vec<f32>) -> Result<QWeights> {
        if weight.contains(&i8::MIN) {
            return Err(mismatch(name, "holds -128; int8 weights are symmetric, -127 to 127"));
        }
        Self::full_range(name, weight, scale)
    }

    /// Weights that may be -128, as QNNPACK's are. Only the dot of
    /// signed bytes cannot hold it: two products of -128 by -128 leave the i16 that some Arm CPUs add them in.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`], naming the weight, for a scale outside of 2^-40..=2^40.
    pub fn full_range(name: &str, weight: Vec<i8>, scale: Vec<f32>) -> Result<QWeights> {
        check_scales(name, &scale)?;
        Ok(QWeights { weight, scale })
    }

    /// `weight` [n, taps, c] of a dense layer whose input has the scales `input` [c]: they go in before the rounding.
    pub fn dense(weight: &[f32], n: usize, input: &[f32]) -> QWeights {
        Self::dense_rows(weight, n, |_, i| input[i % input.len()])
    }

    /// `weight` [n, k], where the input of output `o`'s `i`-th weight has the scale `input(o, i)`.
    pub fn dense_rows(weight: &[f32], n: usize, input: impl Fn(usize, usize) -> f32) -> QWeights {
        let k = weight.len() / n;
        let folded: Vec<f32> = weight.iter().enumerate().map(|(i, w)| w * input(i / k, i % k)).collect();
        let scale: Vec<f32> = folded.chunks_exact(k).map(|row| symmetric_scale(row.iter())).collect();
        let weight = folded.iter().enumerate().map(|(i, w)| symmetric(*w, scale[i / k])).collect();
        QWeights { weight, scale }
    }

    /// `weight` [taps, c] of a depthwise layer.
    pub fn depthwise(weight: &[f32], input: &[f32]) -> QWeights {
        let c = input.len();
        let folded: Vec<f32> = weight.iter().zip(input.iter().cycle()).map(|(w, s)| w * s).collect();
        let scale: Vec<f32> = (0..c).map(|c0| symmetric_scale(folded.iter().skip(c0).step_by(c))).collect();
        let weight = folded.iter().enumerate().map(|(i, w)| symmetric(*w, scale[i % c])).collect();
        QWeights { weight, scale }
    }

    /// The integers.
    pub fn weight(&self) -> &[i8] {
        &self.weight
    }

    /// m, [n].
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }
}

/// The scale that takes the largest weight to 127; weights that are all (nearly) zero take 1.
fn symmetric_scale<'a>(weights: impl Iterator<Item = &'a f32>) -> f32 {
    let scale = weights.fold(0.0f32, |largest, w| largest.max(w.abs())) / 127.0;
    if scale >= 1.0 / LIMIT { scale } else { 1.0 }
}

fn symmetric(w: f32, scale: f32) -> i8 {
    (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8
}

/// sum of w * (q - zero_point).
pub fn dot(w: impl Iterator<Item = i8>, q: impl Iterator<Item = (u8, u8)>) -> i32 {
    w.zip(q).map(|(w, (q, zp))| i32::from(w) * (i32::from(q) - i32::from(zp))).sum()
}

/// `activation` of a float that is not in quanta.
pub fn activate(activation: Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => x * hardsigmoid(x),
    }
}

/// min(max(x + 3, 0), 6) / 6: the gate of squeeze-excite.
pub fn hardsigmoid(x: f32) -> f32 {
    (x * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)
}

/// What a residual is before the addition: a byte with the parameters given to [`Epilogue::new`], or a float.
#[derive(Clone, Copy, Debug)]
pub enum Residual {
    /// A quantised value.
    U8(u8),
    /// A value.
    F32(f32),
}

/// From a layer's sums to its outputs: the constants of the equations above, one a channel, and zeros up to a multiple of
/// eight channels for the kernels' vectors.
#[derive(Clone, Debug)]
pub struct Epilogue {
    pub(crate) activation: Activation,
    /// M.
    pub(crate) multiplier: Vec<f32>,
    /// B.
    pub(crate) bias: Vec<f32>,
    /// s' / 6 for Hardswish, 6 / s' for Relu6.
    pub(crate) gate: Vec<f32>,
    /// R, or 1 / s' for an f32 residual.
    pub(crate) residual_scale: Vec<f32>,
    /// zp_r, or zero.
    pub(crate) residual_zero: Vec<i32>,
    /// zp' + [`ROUND`].
    pub(crate) round: Vec<f32>,
}

impl Epilogue {
    /// For the layer `name` with `weights`, `bias` [n], an `output` in f32 where there are no parameters, and a `residual`
    /// in f32 or none at all where there are no parameters.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`], naming the layer, where a length differs or a bias is not finite or beyond 2^40.
    pub fn new(
        name: &str,
        weights: &QWeights,
        bias: &[f32],
        activation: Activation,
        output: Option<&QParams>,
        residual: Option<&QParams>,
    ) -> Result<Epilogue> {
        let n = weights.scale.len();
        if bias.len() != n || [output, residual].into_iter().flatten().any(|p| p.scale.len() != n) {
            return Err(mismatch(name, &format!("needs {n} biases, scales and zero points")));
        }
        check_bias(name, bias)?;
        let scale = output.map_or(vec![1.0; n], |p| p.scale.clone());
        let all = |f: &dyn Fn(usize) -> f32| {
            let mut constants: Vec<f32> = (0..n).map(f).collect();
            constants.resize(n.next_multiple_of(8), 0.0);
            constants
        };
        Ok(Epilogue {
            activation,
            multiplier: all(&|o| weights.scale[o] * (1.0 / scale[o])),
            bias: all(&|o| bias[o] * (1.0 / scale[o])),
            gate: match activation {
                Activation::Relu6 => all(&|o| 6.0 / scale[o]),
                _ => all(&|o| scale[o] / 6.0),
            },
            residual_scale: all(&|o| residual.map_or(1.0, |r| r.scale[o]) * (1.0 / scale[o])),
            residual_zero: all(&|o| residual.map_or(0.0, |r| f32::from(r.zero_point[o])))
                .iter()
                .map(|z| *z as i32)
                .collect(),
            round: all(&|o| ROUND + output.map_or(0.0, |p| f32::from(p.zero_point[o]))),
        })
    }

    /// Which activation.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// t of channel `o`, in quanta of the output: the output itself where that is f32.
    pub fn apply(&self, acc: i32, o: usize, residual: Option<Residual>) -> f32 {
        let x = acc as f32 * self.multiplier[o] + self.bias[o];
        let t = match self.activation {
            Activation::Identity | Activation::Relu => activate(self.activation, x),
            Activation::Relu6 => x.clamp(0.0, self.gate[o]),
            Activation::Hardswish => x * (x * self.gate[o] + 0.5).clamp(0.0, 1.0),
        };
        match residual {
            None => t,
            Some(Residual::F32(r)) => t + r * self.residual_scale[o],
            Some(Residual::U8(r)) => t + (i32::from(r) - self.residual_zero[o]) as f32 * self.residual_scale[o],
        }
    }

    /// The byte of channel `o` for `t`.
    pub fn quantise(&self, t: f32, o: usize) -> u8 {
        round(t, (self.round[o] - ROUND) as u8)
    }
}
