//! A dense convolution with dilation, BatchNorm and activation: an atrous branch of DeepLabV3.

use super::conv::{pack, pixels, write};
use super::layer::Layer;
use super::map::{Format, Map, Quantisation, View};
use super::{Context, Conv2dNormActivation, Origin};
use crate::Result;
use crate::kernels::conv_f32::PackedB;
use crate::kernels::dilated_f32::{self, dilated_f32};
use crate::kernels::dilated_i8::{self, dilated_i8};
use crate::kernels::pack_i8::{self, MAX_K, tap_starts};
use crate::quant::{Epilogue, mismatch};
use crate::simd::{Best, DotKind, Exact};
use crate::tensor::Tensor;
use crate::weights::Weights;
use std::sync::Arc;

/// Channels of an int8 layer come in as many: a step of the widest dot.
const INT8_CHANNELS: usize = 4;

/// Stride 1, "same" padding: the output is as large as the input.
#[derive(Debug)]
pub struct DilatedConv2d {
    layer: Layer,
    weights: Dilated,
    kernel: usize,
    dilation: usize,
    output: Format,
}

#[derive(Debug)]
enum Dilated {
    /// With whether the model has int8 layers, whose bytes must not depend on the build.
    F32(PackedB, bool),
    I8(Box<Int8>),
}

#[derive(Debug)]
struct Int8 {
    packed: pack_i8::PackedB,
    tap_starts: Vec<i32>,
    epilogue: Epilogue,
    input: Arc<Quantisation>,
}

impl Conv2dNormActivation {
    /// The dense form with dilation; stride 1.
    ///
    /// # Errors
    /// As for [`super::Conv2d::load`].
    pub fn dilated(&self, weights: &dyn Weights, name: &str, input: &Format) -> Result<DilatedConv2d> {
        assert_eq!(self.stride, 1, "stride and dilation do not meet");
        let can_be_int8 = self.in_channels.is_multiple_of(INT8_CHANNELS);
        let input = if can_be_int8 { input.clone() } else { input.as_f32() };
        let layer = self.layer(name, 0, &input, false);
        let output = layer.output_format(weights)?;
        let Conv2dNormActivation { kernel, dilation, .. } = *self;
        if !layer.is_int8(weights) {
            let packed = pack(weights, &layer, &layer.fold(weights)?)?;
            let dilated = Dilated::F32(packed, weights.is_quantised());
            return Ok(DilatedConv2d { layer: layer.in_file(weights), weights: dilated, kernel, dilation, output });
        }
        if layer.k() > MAX_K {
            return Err(mismatch(&layer.name, &format!("is int8 with sums of more than {MAX_K} products")));
        }
        let input = layer.input_of_int8(&input)?;
        let (quantised, epilogue) = layer.int8(weights, &output, None)?;
        let (kind, zero_point) = (DotKind::of_engine(), input.params.zero_point());
        let packed = pack_i8::PackedB::new(kind, &quantised, zero_point);
        let tap_starts = tap_starts(kind, &quantised, zero_point);
        let weights_i8 = Dilated::I8(Box::new(Int8 { packed, tap_starts, epilogue, input }));
        let output = output.of_int8();
        Ok(DilatedConv2d { layer: layer.in_file(weights), weights: weights_i8, kernel, dilation, output })
    }
}

impl DilatedConv2d {
    /// Runs on `input` [h, w, c], whose halo is not read.
    pub fn forward<'a>(&self, cx: &mut Context, input: impl Into<View<'a>>, out_halo: usize) -> Map {
        let input = input.into();
        assert_eq!(input.shape().2, self.layer.channels, "the input's channels");
        let out = match &self.weights {
            Dilated::F32(packed, exact) => {
                let input = input.f32(cx);
                let out = self.run_f32((packed, *exact), cx, &input, out_halo);
                input.give(cx);
                Map::F32(out)
            }
            Dilated::I8(int8) => {
                let input = input.u8(cx, &int8.input);
                let out = self.run_i8(int8, cx, &input, out_halo);
                input.give(cx);
                out
            }
        };
        cx.watch(&self.output.names[0], &out, Origin::Layer(&self.layer));
        out
    }

    fn run_f32(&self, (packed, exact): (&PackedB, bool), cx: &mut Context, input: &Tensor, out_halo: usize) -> Tensor {
        let mut out = cx.workspace.tensor(input.h, input.w, packed.n, out_halo);
        let at = pixels(&out);
        let dilated = dilated_f32::Dilated {
            size: (input.h, input.w),
            channels: input.c,
            kernel: self.kernel,
            dilation: self.dilation,
            a: (input.data(), pixels(input)),
            b: packed.data(),
            n: packed.n,
            activation: self.layer.activation,
            c: (out.data_mut(), at),
        };
        if exact {
            dilated_f32::<Exact>(dilated)
        } else {
            dilated_f32::<Best>(dilated)
        }
        out
    }

    fn run_i8(&self, int8: &Int8, cx: &mut Context, input: &Tensor<u8>, out_halo: usize) -> Map {
        let n = self.layer.out_channels();
        let mut room = cx.workspace.take::<u32>(int8.tap_starts.len() / (self.kernel * self.kernel));
        let out = write(cx, &self.output, (input.h, input.w, n), out_halo, &mut |c| {
            let dilated = dilated_i8::Dilated {
                size: (input.h, input.w),
                kernel: self.kernel,
                dilation: self.dilation,
                a: (input.data(), pixels(input)),
                b: &int8.packed,
                tap_starts: &int8.tap_starts,
                epilogue: &int8.epilogue,
                c,
            };
            dilated_i8::<Best>(dilated, bytemuck::cast_slice_mut(&mut room));
        });
        cx.workspace.give(room);
        out
    }
}
