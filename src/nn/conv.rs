//! torchvision/ops/misc.py's Conv2dNormActivation: convolution, BatchNorm and activation as one kernel call.
//!
//! y = act((conv(x) - mean) / sqrt(var + eps) * gamma + beta), folded into the weights and bias at load.

use super::Context;
use crate::kernels::conv_f32::{Conv, PackedB, Tap, conv_f32};
use crate::kernels::depthwise_f32::{Depthwise, depthwise_f32};
use crate::kernels::{Activation, Pixels};
use crate::simd::Best;
use crate::tensor::Tensor;
use crate::weights::Weights;
use crate::{Error, Result};

/// An affine map of a layer's output: y * scale + shift, one a channel.
struct Fold {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

impl Fold {
    /// A bias alone.
    fn bias(shift: Vec<f32>) -> Fold {
        Fold { scale: vec![1.0; shift.len()], shift }
    }

    /// Reads the BatchNorm `name`, of `channels` channels.
    fn load(weights: &dyn Weights, name: &str, channels: usize, eps: f32) -> Result<Fold> {
        let read = |leaf: &str| weights.f32(&format!("{name}.{leaf}"), &[channels]);
        let (gamma, beta, mean, var) = (read("weight")?, read("bias")?, read("running_mean")?, read("running_var")?);
        if var.iter().any(|v| v + eps <= 0.0) {
            let message = format!("{name}.running_var has a negative variance; export the weights of the model again");
            return Err(Error::WeightsMismatch(message));
        }
        let scale: Vec<f32> = gamma.iter().zip(&var).map(|(g, v)| g / (v + eps).sqrt()).collect();
        let shift = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Ok(Fold { scale, shift })
    }
}

/// A dense convolution with bias and activation, "same" padding (k - 1) / 2.
#[derive(Debug)]
pub struct Conv2d {
    packed: PackedB,
    in_channels: usize,
    kernel: usize,
    stride: usize,
    activation: Activation,
}

impl Conv2d {
    /// A convolution with bias and no BatchNorm at stride 1: `name.weight`, `name.bias`.
    pub fn load(
        weights: &dyn Weights,
        name: &str,
        (in_channels, out_channels): (usize, usize),
        kernel: usize,
        activation: Activation,
    ) -> Result<Conv2d> {
        let fold = Fold::bias(weights.f32(&format!("{name}.bias"), &[out_channels])?);
        let layer = Conv2d { packed: PackedB::new(&[], 0), in_channels, kernel, stride: 1, activation };
        layer.pack(weights, &format!("{name}.weight"), &fold)
    }

    /// A 1x1 convolution with neither bias nor BatchNorm: `name.weight`.
    pub fn without_bias(weights: &dyn Weights, name: &str, in_channels: usize, out_channels: usize) -> Result<Conv2d> {
        let activation = Activation::Identity;
        let layer = Conv2d { packed: PackedB::new(&[], 0), in_channels, kernel: 1, stride: 1, activation };
        layer.pack(weights, &format!("{name}.weight"), &Fold::bias(vec![0.0; out_channels]))
    }

    /// nn.Linear of [pixels, pool * pool * in_channels]: the file has a row's features in the order (c, y, x), and
    /// [`Conv2d::forward`] takes them as (y, x, c).
    pub fn linear(
        weights: &dyn Weights,
        name: &str,
        (in_channels, out_channels): (usize, usize),
        pool: usize,
        activation: Activation,
    ) -> Result<Conv2d> {
        let (k, name_of) = (pool * pool * in_channels, |leaf: &str| format!("{name}.{leaf}"));
        let fold = Fold::bias(weights.f32(&name_of("bias"), &[out_channels])?);
        let packed = pack(weights, &name_of("weight"), &[out_channels, k], in_channels, &fold)?;
        Ok(Conv2d { packed, in_channels: k, kernel: 1, stride: 1, activation })
    }

    /// Reads the weight [n, c, kernel, kernel] (PyTorch's order), scaled by `fold`.
    fn pack(self, weights: &dyn Weights, name: &str, fold: &Fold) -> Result<Conv2d> {
        let shape = [fold.shift.len(), self.in_channels, self.kernel, self.kernel];
        Ok(Conv2d { packed: pack(weights, name, &shape, self.in_channels, fold)?, ..self })
    }

    /// Output channels.
    pub fn out_channels(&self) -> usize {
        self.packed.n
    }

    /// Zeros that the input needs round it.
    pub fn padding(&self) -> usize {
        (self.kernel - 1) / 2
    }

    /// Runs on `input` [h, w, c] with a halo of at least [`Conv2d::padding`], adding `residual` of the output's shape.
    ///
    /// `scale` multiplies the input by channel (1x1 only): squeeze-excite's gate.
    pub fn forward(
        &self,
        cx: &mut Context,
        input: &Tensor,
        out_halo: usize,
        residual: Option<&Tensor>,
        scale: Option<&[f32]>,
    ) -> Tensor {
        assert_eq!(input.c, self.in_channels, "the input's channels");
        let (stride, c) = (self.stride, input.c);
        let (h, w) = (input.h.div_ceil(stride), input.w.div_ceil(stride));
        let mut out = cx.workspace.tensor(h, w, self.packed.n, out_halo);
        let start = input.halo.checked_sub(self.padding()).expect("a halo as wide as the padding");
        let mut scaled = None;
        if let Some(scale) = scale {
            let mut buffer = cx.workspace.take(self.packed.data().len());
            self.packed.scaled(scale, &mut buffer);
            scaled = Some(buffer);
        }
        let first = start * (input.row_pitch() + c);
        let taps: [Tap; 7] = std::array::from_fn(|ky| Tap { a: ky * input.row_pitch(), b: ky * self.kernel * c });
        let at = pixels(&out);
        conv_f32::<Best>(Conv {
            size: (h, w),
            a: (input.data(), Pixels { start: first, row: stride * input.row_pitch(), pixel: stride * c }),
            taps: &taps[..self.kernel],
            segment: self.kernel * c,
            b: scaled.as_deref().unwrap_or(self.packed.data()),
            k: self.packed.k,
            n: self.packed.n,
            activation: self.activation,
            residual: residual.map(|r| (r.data(), pixels(r))),
            c: (out.data_mut(), at),
        });
        if let Some(buffer) = scaled {
            cx.workspace.give(buffer);
        }
        out
    }
}

/// Panels of tensor `name`, whose rows are [c, taps], in the order (tap, c), scaled and shifted by `fold`.
fn pack(weights: &dyn Weights, name: &str, shape: &[usize], c: usize, fold: &Fold) -> Result<PackedB> {
    let k = shape[1..].iter().product();
    let (taps, mut packed) = (k / c, PackedB::new(&fold.shift, k));
    weights.rows(name, shape, &mut |n, row| {
        let channels_last = (0..k).map(|i| row[i % c * taps + i / c] * fold.scale[n]);
        packed.set_column(n, channels_last);
    })?;
    Ok(packed)
}

/// A depthwise convolution with bias and activation.
#[derive(Debug)]
pub struct Depthwise2d {
    weight: Vec<f32>,
    bias: Vec<f32>,
    kernel: usize,
    stride: usize,
    dilation: usize,
    activation: Activation,
}

impl Depthwise2d {
    /// Zeros that the input needs round it.
    pub fn padding(&self) -> usize {
        (self.kernel - 1) / 2 * self.dilation
    }

    /// Runs on `input` [h, w, c] with a halo of at least [`Depthwise2d::padding`]; fills `row_sums` when given.
    pub fn forward(&self, cx: &mut Context, input: &Tensor, row_sums: Option<&mut Vec<f32>>) -> Tensor {
        assert_eq!(input.c, self.bias.len(), "the input's channels");
        let start = input.halo.checked_sub(self.padding()).expect("a halo as wide as the padding");
        let (h, w) = (input.h.div_ceil(self.stride), input.w.div_ceil(self.stride));
        let mut out = cx.workspace.tensor(h, w, input.c, 0);
        let at = pixels(&out);
        let sums = row_sums.map(|sums| {
            *sums = cx.workspace.take(h * input.c);
            &mut sums[..]
        });
        depthwise_f32::<Best>(Depthwise {
            size: (h, w),
            channels: input.c,
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            a: (
                input.data(),
                Pixels { start: start * (input.row_pitch() + input.c), row: input.row_pitch(), pixel: input.c },
            ),
            weight: &self.weight,
            bias: &self.bias,
            activation: self.activation,
            c: (out.data_mut(), at),
            row_sums: sums,
        });
        out
    }
}

/// The pixels of `tensor`, its halo apart.
pub(super) fn pixels(tensor: &Tensor) -> Pixels {
    Pixels { start: tensor.origin(), row: tensor.row_pitch(), pixel: tensor.c }
}

/// Loads a convolution and the BatchNorm behind it: `name.0.weight`, `name.1.*`.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dNormActivation {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Pixels between taps.
    pub dilation: usize,
    /// After the BatchNorm.
    pub activation: Activation,
    /// The BatchNorm's epsilon: 0.001 in MobileNetV3, 1e-5 in FrozenBatchNorm2d.
    pub batch_norm_eps: f32,
}

impl Conv2dNormActivation {
    fn batch_norm(&self, weights: &dyn Weights, name: &str) -> Result<Fold> {
        Fold::load(weights, name, self.out_channels, self.batch_norm_eps)
    }

    /// The dense form's panels, of the convolution `name.index` and the BatchNorm after it.
    pub(super) fn panels(&self, weights: &dyn Weights, name: &str, index: usize) -> Result<PackedB> {
        let fold = self.batch_norm(weights, &format!("{name}.{}", index + 1))?;
        let shape = [self.out_channels, self.in_channels, self.kernel, self.kernel];
        pack(weights, &format!("{name}.{index}.weight"), &shape, self.in_channels, &fold)
    }

    /// The dense form; no dilation.
    pub fn dense(&self, weights: &dyn Weights, name: &str) -> Result<Conv2d> {
        self.dense_at(weights, name, 0)
    }

    /// The dense form from inside a longer Sequential `name`: the convolution is its `index`-th layer.
    pub fn dense_at(&self, weights: &dyn Weights, name: &str, index: usize) -> Result<Conv2d> {
        assert_eq!(self.dilation, 1, "DilatedConv2d has dilation");
        let Conv2dNormActivation { in_channels, kernel, stride, activation, .. } = *self;
        Ok(Conv2d { packed: self.panels(weights, name, index)?, in_channels, kernel, stride, activation })
    }

    /// The form with a group a channel.
    pub fn depthwise(&self, weights: &dyn Weights, name: &str) -> Result<Depthwise2d> {
        let Conv2dNormActivation { out_channels: c, kernel, stride, dilation, activation, .. } = *self;
        let fold = self.batch_norm(weights, &format!("{name}.1"))?;
        // Channels are the vectors.
        let mut weight = vec![0.0; kernel * kernel * c];
        weights.rows(&format!("{name}.0.weight"), &[c, 1, kernel, kernel], &mut |n, row| {
            row.iter().enumerate().for_each(|(tap, w)| weight[tap * c + n] = w * fold.scale[n]);
        })?;
        Ok(Depthwise2d { weight, bias: fold.shift, kernel, stride, dilation, activation })
    }
}
