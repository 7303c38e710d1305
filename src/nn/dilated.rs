//! A dense convolution with dilation, BatchNorm and activation: an atrous branch of DeepLabV3.

use super::conv::pixels;
use super::{Context, Conv2dNormActivation, Format, Origin, View};
use crate::Result;
use crate::kernels::Activation;
use crate::kernels::conv_f32::PackedB;
use crate::kernels::dilated_f32::{Dilated, dilated_f32};
use crate::simd::{Best, Exact};
use crate::tensor::Tensor;
use crate::weights::Weights;

/// Stride 1, "same" padding: the output is as large as the input. Always in f32.
#[derive(Debug)]
pub struct DilatedConv2d {
    /// What it makes.
    output: String,
    packed: PackedB,
    in_channels: usize,
    kernel: usize,
    dilation: usize,
    activation: Activation,
    /// Whether the model has int8 layers, whose bytes must not depend on the build.
    exact: bool,
}

impl Conv2dNormActivation {
    /// The dense form with dilation; stride 1.
    pub fn dilated(&self, weights: &dyn Weights, name: &str, input: &Format) -> Result<DilatedConv2d> {
        assert_eq!(self.stride, 1, "stride and dilation do not meet");
        let Conv2dNormActivation { in_channels, kernel, dilation, activation, .. } = *self;
        let (packed, exact) = (self.panels(weights, name, input)?, weights.is_quantised());
        Ok(DilatedConv2d {
            output: format!("{name}.0.output"),
            packed,
            in_channels,
            kernel,
            dilation,
            activation,
            exact,
        })
    }
}

impl DilatedConv2d {
    /// Runs on `input` [h, w, c], whose halo is not read.
    pub fn forward<'a>(&self, cx: &mut Context, input: impl Into<View<'a>>, out_halo: usize) -> Tensor {
        let input = input.into().f32(cx);
        assert_eq!(input.c, self.in_channels, "the input's channels");
        let mut out = cx.workspace.tensor(input.h, input.w, self.packed.n, out_halo);
        let at = pixels(&out);
        let dilated = Dilated {
            size: (input.h, input.w),
            channels: input.c,
            kernel: self.kernel,
            dilation: self.dilation,
            a: (input.data(), pixels(&input)),
            b: self.packed.data(),
            n: self.packed.n,
            activation: self.activation,
            c: (out.data_mut(), at),
        };
        if self.exact {
            dilated_f32::<Exact>(dilated)
        } else {
            dilated_f32::<Best>(dilated)
        }
        input.give(cx);
        cx.watch(&self.output, &out, Origin::Model);
        out
    }
}
