//! A depthwise convolution with BatchNorm and activation as one kernel call.

use super::conv::{pixels, write};
use super::layer::Layer;
use super::map::{Format, Map, Quantisation, View};
use super::{Context, Origin};
use crate::Result;
use crate::aligned::Aligned;
use crate::kernels::Pixels;
use crate::kernels::depthwise_f32::{self, Filter, depthwise_f32};
use crate::kernels::depthwise_i8::{self, depthwise_i8};
use crate::kernels::pack_i8::PackedDepthwise;
use crate::quant::{Epilogue, mismatch};
use crate::simd::{Best, Exact};
use crate::tensor::{Buffer, Tensor};
use crate::weights::Weights;
use std::sync::Arc;

/// A depthwise convolution with bias and activation, "same" padding.
#[derive(Debug)]
pub struct Depthwise2d {
    layer: Layer,
    weights: Grouped,
    kernel: usize,
    stride: usize,
    dilation: usize,
    output: Format,
}

#[derive(Debug)]
enum Grouped {
    F32(Floats),
    I8(Box<Int8>),
}

#[derive(Debug)]
struct Floats {
    /// As [`Filter::weight`].
    weight: Aligned<f32>,
    bias: Vec<f32>,
    /// Whether the model has int8 layers, whose bytes must not depend on the build.
    exact: bool,
}

#[derive(Debug)]
pub(super) struct Int8 {
    pub(super) packed: PackedDepthwise,
    pub(super) epilogue: Epilogue,
    input: Arc<Quantisation>,
}

/// Sums of each row's pixels, [h, c]: squeeze-excite's pool, before the division.
#[derive(Debug)]
pub enum RowSums {
    /// Of values.
    F32(Buffer),
    /// Of bytes.
    U8(Buffer<u32>),
}

impl Depthwise2d {
    pub(super) fn of_layer(
        weights: &dyn Weights,
        layer: Layer,
        (kernel, stride, dilation): (usize, usize, usize),
        input: &Format,
    ) -> Result<Depthwise2d> {
        let (output, c) = (layer.output_format(weights)?, layer.out_channels());
        if layer.is_int8(weights) {
            if !c.is_multiple_of(8) {
                return Err(mismatch(&layer.name, &format!("is int8 with {c} channels, no multiple of eight")));
            }
            let input = layer.input_of_int8(input)?;
            let (quantised, epilogue) = layer.int8(weights, &output, None)?;
            let packed = PackedDepthwise::new(&quantised, kernel, input.params.zero_point());
            let int8 = Grouped::I8(Box::new(Int8 { packed, epilogue, input }));
            let (layer, output) = (layer.in_file(weights), output.of_int8());
            return Ok(Depthwise2d { layer, weights: int8, kernel, stride, dilation, output });
        }
        let fold = layer.fold(weights)?;
        let mut weight = vec![0.0; kernel * kernel * c];
        layer.rows(weights, &mut |n, row| {
            row.iter().enumerate().for_each(|(tap, w)| weight[tap * c + n] = w * fold.scale[n]);
        })?;
        let weight = depthwise_f32::pack_weight(kernel, &weight);
        let floats = Grouped::F32(Floats { weight, bias: fold.shift, exact: weights.is_quantised() });
        Ok(Depthwise2d { layer: layer.in_file(weights), weights: floats, kernel, stride, dilation, output })
    }

    /// Pixels that the input needs round it.
    pub fn padding(&self) -> usize {
        (self.kernel - 1) / 2 * self.dilation
    }

    /// What comes out.
    pub fn output(&self) -> &Format {
        &self.output
    }

    /// What the kernel takes where the layer is in f32, and whether its bits must not depend on the build.
    pub(super) fn filter(&self) -> Option<(Filter<'_>, bool)> {
        match &self.weights {
            Grouped::F32(floats) => Some((self.filter_of(floats), floats.exact)),
            Grouped::I8(_) => None,
        }
    }

    /// What the kernels take where the layer is in int8.
    pub(super) fn int8(&self) -> Option<&Int8> {
        match &self.weights {
            Grouped::F32(_) => None,
            Grouped::I8(int8) => Some(int8),
        }
    }

    /// Stride and dilation.
    pub(super) fn steps(&self) -> (usize, usize) {
        (self.stride, self.dilation)
    }

    fn filter_of<'a>(&self, Floats { weight, bias, .. }: &'a Floats) -> Filter<'a> {
        let (kernel, stride, dilation) = (self.kernel, self.stride, self.dilation);
        Filter { kernel, stride, dilation, weight, bias, activation: self.layer.activation }
    }

    /// Runs on `input` [h, w, c] with a halo of at least [`Depthwise2d::padding`]; fills `row_sums` when given.
    pub fn forward<'a>(
        &self,
        cx: &mut Context,
        input: impl Into<View<'a>>,
        row_sums: Option<&mut Option<RowSums>>,
    ) -> Map {
        let input = input.into();
        assert_eq!(input.shape().2, self.layer.channels, "the input's channels");
        let out = match &self.weights {
            Grouped::F32(floats) => {
                let input = input.f32(cx);
                let out = self.run_f32(floats, cx, &input, row_sums);
                input.give(cx);
                Map::F32(out)
            }
            Grouped::I8(int8) => {
                let input = input.u8(cx, &int8.input);
                let out = self.run_i8(int8, cx, &input, row_sums);
                input.give(cx);
                out
            }
        };
        cx.watch(&self.output.names[0], &out, Origin::Layer(&self.layer));
        out
    }

    /// Rows and columns of the output, and where the first tap of the input's pixels lies.
    pub(super) fn first_tap<T: Copy>(&self, input: &Tensor<T>) -> ((usize, usize), Pixels) {
        let start = input.halo.checked_sub(self.padding()).expect("a halo as wide as the padding");
        let size = (input.h.div_ceil(self.stride), input.w.div_ceil(self.stride));
        (size, Pixels { start: start * (input.row_pitch() + input.c), row: input.row_pitch(), pixel: input.c })
    }

    fn run_f32(
        &self,
        floats: &Floats,
        cx: &mut Context,
        input: &Tensor,
        row_sums: Option<&mut Option<RowSums>>,
    ) -> Tensor {
        let ((h, w), at) = self.first_tap(input);
        let mut out = cx.workspace.tensor(h, w, input.c, 0);
        let to = pixels(&out);
        let mut sums = row_sums.is_some().then(|| cx.workspace.take(h * input.c));
        let depthwise = depthwise_f32::Depthwise {
            size: (h, w),
            a: (input.data(), at),
            filter: self.filter_of(floats),
            c: (out.data_mut(), to),
            row_sums: sums.as_deref_mut(),
        };
        if floats.exact {
            depthwise_f32::<Exact>(depthwise)
        } else {
            depthwise_f32::<Best>(depthwise)
        }
        if let Some(row_sums) = row_sums {
            *row_sums = sums.map(RowSums::F32);
        }
        out
    }

    fn run_i8(&self, int8: &Int8, cx: &mut Context, input: &Tensor<u8>, row_sums: Option<&mut Option<RowSums>>) -> Map {
        let ((h, w), at) = self.first_tap(input);
        let wanted = row_sums.is_some() && self.output.is_bytes;
        let mut sums = wanted.then(|| cx.workspace.take(h * input.c));
        let out = write(cx, &self.output, (h, w, input.c), 0, &mut |c| {
            depthwise_i8::<Best>(depthwise_i8::Depthwise {
                size: (h, w),
                stride: self.stride,
                dilation: self.dilation,
                a: (input.data(), at),
                weights: &int8.packed,
                epilogue: &int8.epilogue,
                c,
                row_sums: sums.as_deref_mut(),
            });
        });
        if let Some(row_sums) = row_sums {
            *row_sums = sums.map(RowSums::U8);
        }
        out
    }
}
