//! torch.ao.nn.quantized's Conv2d and Linear, and torch.ao.nn.intrinsic.quantized's ConvReLU2d: BatchNorm is in the weights, a ReLU
//! in the output's range.

use super::super::conv::pixels;
use super::super::{Context, Layer, Quantisation};
use super::output;
use crate::Result;
use crate::kernels::conv_i8::{self, conv_i8};
use crate::kernels::depthwise_i8::{self, depthwise_i8};
use crate::kernels::pack_i8::{MAX_K, PackedB, PackedDepthwise};
use crate::kernels::values_i8::ValuesMut;
use crate::kernels::{Activation, Pixels};
use crate::quant::{Epilogue, QWeights, check_bias, check_scales, mismatch};
use crate::simd::{Best, DotKind};
use crate::tensor::Tensor;
use crate::weights::Weights;
use std::sync::Arc;

/// Most rows of a dense kernel.
const MAX_ROWS: usize = 3;

/// What a convolution is but for its channels.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Side of the kernel: to 3 for a dense one, 3 or 5 depthwise.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Pixels between taps; 1 for a dense one.
    pub dilation: usize,
}

/// A convolution or linear layer, "same" padding.
#[derive(Debug)]
pub struct Conv2d {
    weights: Packed,
    epilogue: Epilogue,
    size: Size,
    channels: usize,
    name: String,
    output: Arc<Quantisation>,
}

#[derive(Debug)]
enum Packed {
    Dense(PackedB),
    Depthwise(PackedDepthwise),
}

impl Conv2d {
    /// A dense convolution `name` to `n` channels.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing, of another shape, or cannot be.
    pub fn dense(
        weights: &dyn Weights,
        name: &str,
        input: &Quantisation,
        n: usize,
        size: Size,
        activation: Activation,
    ) -> Result<Conv2d> {
        assert!(size.kernel <= MAX_ROWS && size.dilation == 1, "a dense convolution");
        let c = input.params.scale().len();
        let shape = vec![n, c, size.kernel, size.kernel];
        Self::load(weights, layer(name, shape, c, activation), input, size)
    }

    /// nn.Linear of one pixel.
    ///
    /// # Errors
    /// As for [`Conv2d::dense`].
    pub fn linear(weights: &dyn Weights, name: &str, input: &Quantisation, n: usize) -> Result<Conv2d> {
        let (c, size) = (input.params.scale().len(), Size { kernel: 1, stride: 1, dilation: 1 });
        Self::load(weights, layer(name, vec![n, c], c, Activation::Identity), input, size)
    }

    /// A convolution with a group a channel.
    ///
    /// # Errors
    /// As for [`Conv2d::dense`], and for channels that do not come in eights.
    pub fn depthwise(
        weights: &dyn Weights,
        name: &str,
        input: &Quantisation,
        size: Size,
        activation: Activation,
    ) -> Result<Conv2d> {
        let c = input.params.scale().len();
        if !c.is_multiple_of(8) {
            return Err(mismatch(name, &format!("is int8 with {c} channels, no multiple of eight")));
        }
        let shape = vec![c, 1, size.kernel, size.kernel];
        Self::load(weights, Layer { is_depthwise: true, ..layer(name, shape, c, activation) }, input, size)
    }

    fn load(weights: &dyn Weights, layer: Layer, input: &Quantisation, size: Size) -> Result<Conv2d> {
        let (name, n) = (layer.name.as_str(), layer.out_channels());
        if layer.k() > MAX_K {
            return Err(mismatch(name, &format!("is int8 with sums of more than {MAX_K} products")));
        }
        // All that can be wrong but the weights' own values is found before there is room for them.
        let m = weights.f32(&format!("{name}.weight_scale"), &[1])?[0] * input.params.scale()[0];
        check_scales(&format!("{name}.weight_scale"), &[m])?;
        let bias = weights.f32(&format!("{name}.bias"), &[n])?;
        check_bias(name, &bias)?;
        let bias: Vec<f32> = bias.iter().map(|b| (b / m).round_ties_even() * m).collect();
        let output = output(weights, name, n)?;
        let weight = layer.int8_weight(weights)?;
        let has_lowest = weight.contains(&i8::MIN);
        let weight = QWeights::full_range(&format!("{name}.weight_scale"), weight, vec![m; n])?;
        let epilogue = Epilogue::new(name, &weight, &bias, layer.activation, Some(&output.params), None)?;
        let zero_point = input.params.zero_point();
        let packed = match layer.is_depthwise {
            true => Packed::Depthwise(PackedDepthwise::new(&weight, size.kernel, zero_point)),
            false => Packed::Dense(PackedB::new(dot_kind(has_lowest), &weight, zero_point)),
        };
        Ok(Conv2d { weights: packed, epilogue, size, channels: n, name: layer.name, output })
    }

    /// Output channels.
    pub fn out_channels(&self) -> usize {
        self.channels
    }

    /// How what comes out is quantised.
    pub fn output(&self) -> &Arc<Quantisation> {
        &self.output
    }

    /// Pixels that the input needs round it.
    pub fn padding(&self) -> usize {
        (self.size.kernel - 1) / 2 * self.size.dilation
    }

    /// Runs on `x` [h, w, c] with a halo of at least [`Conv2d::padding`].
    pub fn forward(&self, cx: &mut Context, x: &Tensor<u8>, out_halo: usize) -> Tensor<u8> {
        let Size { kernel, stride, dilation } = self.size;
        let start = x.halo.checked_sub(self.padding()).expect("a halo as wide as the padding");
        let start = start * (x.row_pitch() + x.c);
        let size = (x.h.div_ceil(stride), x.w.div_ceil(stride));
        let mut out = cx.workspace.tensor_u8(size.0, size.1, out_halo, self.output.params.zero_point());
        let at = pixels(&out);
        let c = (ValuesMut::U8(out.data_mut()), at);
        match &self.weights {
            Packed::Dense(b) => {
                let taps: [usize; MAX_ROWS] = std::array::from_fn(|ky| ky * x.row_pitch());
                conv_i8::<Best>(conv_i8::Conv {
                    size,
                    a: (x.data(), Pixels { start, row: stride * x.row_pitch(), pixel: stride * x.c }),
                    taps: &taps[..kernel],
                    segment: kernel * x.c,
                    b,
                    epilogue: &self.epilogue,
                    residual: None,
                    c,
                });
            }
            Packed::Depthwise(weights) => depthwise_i8::<Best>(depthwise_i8::Depthwise {
                size,
                stride,
                dilation,
                a: (x.data(), Pixels { start, row: x.row_pitch(), pixel: x.c }),
                weights,
                epilogue: &self.epilogue,
                c,
                row_sums: None,
            }),
        }
        cx.watch_bytes(&self.name, &out, &self.output);
        out
    }
}

fn layer(name: &str, shape: Vec<usize>, channels: usize, activation: Activation) -> Layer {
    let (name, inputs) = (name.to_string(), Vec::new());
    Layer { name, shape, batch_norm: None, is_depthwise: false, channels, activation, inputs }
}

/// How this engine multiplies weights that may hold -128.
fn dot_kind(has_lowest: bool) -> DotKind {
    match DotKind::of_engine() {
        DotKind::I8Signed if has_lowest => DotKind::I16,
        kind => kind,
    }
}
