//! A dense convolution with dilation, BatchNorm and activation: an atrous branch of DeepLabV3.

use super::conv::pixels;
use super::{Context, Conv2dNormActivation};
use crate::Result;
use crate::kernels::Activation;
use crate::kernels::conv_f32::PackedB;
use crate::kernels::dilated_f32::{Dilated, dilated_f32};
use crate::simd::Best;
use crate::tensor::Tensor;
use crate::weights::Weights;

/// Stride 1, "same" padding: the output is as large as the input.
#[derive(Debug)]
pub struct DilatedConv2d {
    packed: PackedB,
    in_channels: usize,
    kernel: usize,
    dilation: usize,
    activation: Activation,
}

impl Conv2dNormActivation {
    /// The dense form with dilation; stride 1.
    pub fn dilated(&self, weights: &dyn Weights, name: &str) -> Result<DilatedConv2d> {
        assert_eq!(self.stride, 1, "stride and dilation do not meet");
        let Conv2dNormActivation { in_channels, kernel, dilation, activation, .. } = *self;
        Ok(DilatedConv2d { packed: self.panels(weights, name, 0)?, in_channels, kernel, dilation, activation })
    }
}

impl DilatedConv2d {
    /// Runs on `input` [h, w, c], whose halo is not read.
    pub fn forward(&self, cx: &mut Context, input: &Tensor, out_halo: usize) -> Tensor {
        assert_eq!(input.c, self.in_channels, "the input's channels");
        let mut out = cx.workspace.tensor(input.h, input.w, self.packed.n, out_halo);
        let at = pixels(&out);
        dilated_f32::<Best>(Dilated {
            size: (input.h, input.w),
            channels: input.c,
            kernel: self.kernel,
            dilation: self.dilation,
            a: (input.data(), pixels(input)),
            b: self.packed.data(),
            n: self.packed.n,
            activation: self.activation,
            c: (out.data_mut(), at),
        });
        out
    }
}
