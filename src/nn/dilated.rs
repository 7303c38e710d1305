//! A dense convolution with dilation, BatchNorm and activation: an atrous branch of DeepLabV3.

use super::conv::{Int8, pixels, write};
use super::map::{Format, Map, View};
use super::{Context, Conv2d, Conv2dNormActivation};
use crate::Result;
use crate::kernels::conv_f32::conv_f32;
use crate::kernels::dilated_f32::{self, dilated_f32};
use crate::kernels::dilated_i8::{self, dilated_i8};
use crate::kernels::pack_f32::PackedB;
use crate::simd::{Best, Exact};
use crate::tensor::Tensor;
use crate::weights::Weights;

/// Channels of an int8 layer come in as many: a step of the widest dot.
const INT8_CHANNELS: usize = 4;

/// Stride 1, "same" padding: the output is as large as the input.
#[derive(Debug)]
pub struct DilatedConv2d {
    /// The weights, as a layer without dilation has them.
    conv: Conv2d,
    /// Where the layer is in int8.
    tap_starts: Vec<i32>,
    kernel: usize,
    dilation: usize,
}

impl Conv2dNormActivation {
    /// The dense form with dilation; stride 1.
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn dilated(&self, weights: &dyn Weights, name: &str, input: &Format) -> Result<DilatedConv2d> {
        assert_eq!(self.stride, 1, "stride and dilation do not meet");
        let can_be_int8 = self.in_channels.is_multiple_of(INT8_CHANNELS);
        let input = if can_be_int8 { input.clone() } else { input.as_f32() };
        let Conv2dNormActivation { kernel, dilation, .. } = *self;
        let layer = self.layer(name, 0, &input, false);
        let conv = Conv2d::of_layer(weights, layer, (kernel, 1, dilation), &input, None)?;
        let starts = |int8: &Int8| int8.packed.tap_starts(int8.input.params.zero_point());
        Ok(DilatedConv2d { tap_starts: conv.int8().map(starts).unwrap_or_default(), conv, kernel, dilation })
    }
}

impl DilatedConv2d {
    /// Runs on `input` [h, w, c], whose halo is not read.
    pub fn forward<'a>(&self, cx: &mut Context, input: impl Into<View<'a>>, out_halo: usize) -> Map {
        let input = input.into();
        let out = if let Some(int8) = self.conv.int8() {
            let input = input.u8(cx, &int8.input);
            let out = self.run_i8(int8, cx, &input, out_halo);
            input.give(cx);
            out
        } else {
            let input = input.f32(cx);
            let out = self.run_f32(self.conv.floats().expect("int8 or f32"), cx, &input, out_halo);
            input.give(cx);
            Map::F32(out)
        };
        self.conv.watch(cx, &out);
        out
    }

    fn run_f32(&self, (packed, exact): (&PackedB, bool), cx: &mut Context, input: &Tensor, out_halo: usize) -> Tensor {
        let taps = self.kernel * self.kernel;
        assert_eq!(input.c * taps, packed.k, "the input's channels");
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
            activation: self.conv.activation(),
            c: (out.data_mut(), at),
        };
        dilated_f32(dilated, if exact { conv_f32::<Exact> } else { conv_f32::<Best> });
        out
    }

    fn run_i8(&self, int8: &Int8, cx: &mut Context, input: &Tensor<u8>, out_halo: usize) -> Map {
        let (n, taps) = (self.conv.out_channels(), self.kernel * self.kernel);
        assert_eq!(input.c * taps, int8.packed.k, "the input's channels");
        let mut room = cx.workspace.take::<u32>(self.tap_starts.len() / taps);
        let out = write(cx, self.conv.output(), (input.h, input.w, n), out_halo, &mut |c| {
            let dilated = dilated_i8::Dilated {
                size: (input.h, input.w),
                kernel: self.kernel,
                dilation: self.dilation,
                a: (input.data(), pixels(input)),
                b: &int8.packed,
                tap_starts: &self.tap_starts,
                epilogue: &int8.epilogue,
                c,
            };
            dilated_i8::<Best>(dilated, bytemuck::cast_slice_mut(&mut room));
        });
        cx.workspace.give(room);
        out
    }
}
