//! torchvision/ops/misc.py's Conv2dNormActivation: how its layers are read from a Sequential.

use super::layer::{BatchNorm, Layer};
use super::{Conv2d, Depthwise2d, Format};
use crate::Result;
use crate::kernels::Activation;
use crate::weights::Weights;

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
    /// The convolution `name.index` of `input` with the BatchNorm after it.
    pub(super) fn layer(&self, name: &str, index: usize, input: &Format, is_depthwise: bool) -> Layer {
        let in_channels = if is_depthwise { 1 } else { self.in_channels };
        Layer {
            name: format!("{name}.{index}"),
            shape: vec![self.out_channels, in_channels, self.kernel, self.kernel],
            batch_norm: Some(BatchNorm { name: format!("{name}.{}", index + 1), eps: self.batch_norm_eps }),
            is_depthwise,
            channels: if is_depthwise { self.out_channels } else { self.in_channels },
            activation: self.activation,
            inputs: input.names.clone(),
        }
    }

    /// The dense form; no dilation.
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn dense(&self, weights: &dyn Weights, name: &str, input: &Format) -> Result<Conv2d> {
        self.dense_at(weights, name, 0, input)
    }

    /// The dense form of a layer that `residual` may be added to.
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn dense_adding(
        &self,
        weights: &dyn Weights,
        name: &str,
        input: &Format,
        residual: Option<&Format>,
    ) -> Result<Conv2d> {
        Conv2d::of_layer(weights, self.layer(name, 0, input, false), (self.kernel, self.stride, 1), input, residual)
    }

    /// The dense form from inside a longer Sequential `name`: the convolution is its `index`-th layer.
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn dense_at(&self, weights: &dyn Weights, name: &str, index: usize, input: &Format) -> Result<Conv2d> {
        assert_eq!(self.dilation, 1, "DilatedConv2d has dilation");
        Conv2d::of_layer(weights, self.layer(name, index, input, false), (self.kernel, self.stride, 1), input, None)
    }

    /// The form with a group a channel.
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn depthwise(&self, weights: &dyn Weights, name: &str, input: &Format) -> Result<Depthwise2d> {
        Depthwise2d::of_layer(
            weights,
            self.layer(name, 0, input, true),
            (self.kernel, self.stride, self.dilation),
            input,
        )
    }
}
