//! A dense convolution or linear layer with BatchNorm and activation as one kernel call: torchvision/ops/misc.py's
//! Conv2dNormActivation, nn.Conv2d, nn.Linear.
//!
//! y = act((conv(x) - mean) / sqrt(var + eps) * gamma + beta), folded into the weights and bias at load.

use super::layer::{Fold, Layer};
use super::map::{Format, Map, Quantisation, View};
use super::{Context, Origin};
use crate::Result;
use crate::kernels::conv_f32::{self, Tap, conv_f32};
use crate::kernels::conv_i8::{self, conv_i8};
use crate::kernels::pack_f32::PackedB;
use crate::kernels::strassen_f32::{self, strassen_f32};
use crate::kernels::values_i8::{Values, ValuesMut};
use crate::kernels::winograd_f32::{PackedWinograd, Winograd, winograd_f32};
use crate::kernels::{Activation, Pixels, pack_i8};
use crate::quant::{Epilogue, mismatch};
use crate::simd::{Best, DotKind, Exact};
use crate::tensor::Tensor;
use crate::weights::Weights;
use std::sync::Arc;

/// Most rows of a kernel.
const MAX_ROWS: usize = 7;

/// A dense convolution with bias and activation, "same" padding (k - 1) / 2.
#[derive(Debug)]
pub struct Conv2d {
    layer: Layer,
    weights: Dense,
    kernel: usize,
    stride: usize,
    output: Format,
}

/// A layer's weights, packed.
#[derive(Debug)]
enum Dense {
    /// With whether the model has int8 layers, whose bytes must not depend on the build.
    F32(PackedB, bool),
    /// 3x3 at stride 1, of many channels.
    Winograd(PackedWinograd),
    I8(Box<Int8>),
}

#[derive(Debug)]
pub(super) struct Int8 {
    pub(super) packed: pack_i8::PackedB,
    pub(super) epilogue: Epilogue,
    pub(super) input: Arc<Quantisation>,
    adds_bytes: bool,
}

impl Conv2d {
    /// A convolution with bias and no BatchNorm at stride 1: `name.weight`, `name.bias`.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing, of another shape, or cannot be.
    pub fn load(
        weights: &dyn Weights,
        name: &str,
        input: &Format,
        (in_channels, out_channels): (usize, usize),
        kernel: usize,
        activation: Activation,
    ) -> Result<Conv2d> {
        Self::load_adding(weights, name, (input, None), (in_channels, out_channels), kernel, activation)
    }

    /// [`Conv2d::load`] of a layer of `input` that another map may be added to.
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn load_adding(
        weights: &dyn Weights,
        name: &str,
        (input, residual): (&Format, Option<&Format>),
        (in_channels, out_channels): (usize, usize),
        kernel: usize,
        activation: Activation,
    ) -> Result<Conv2d> {
        let layer = Layer {
            name: name.to_string(),
            shape: vec![out_channels, in_channels, kernel, kernel],
            batch_norm: None,
            is_depthwise: false,
            channels: in_channels,
            activation,
            inputs: input.names.clone(),
        };
        Self::of_layer(weights, layer, (kernel, 1, 1), input, residual)
    }

    /// nn.Linear of [pixels, pool * pool * in_channels]: the file has a row's features in the order (c, y, x), and
    /// [`Conv2d::forward`] takes them as (y, x, c).
    ///
    /// # Errors
    /// As for [`Conv2d::load`].
    pub fn linear(
        weights: &dyn Weights,
        name: &str,
        input: &Format,
        (in_channels, out_channels): (usize, usize),
        pool: usize,
        activation: Activation,
    ) -> Result<Conv2d> {
        let layer = Layer {
            name: name.to_string(),
            shape: vec![out_channels, pool * pool * in_channels],
            batch_norm: None,
            is_depthwise: false,
            channels: in_channels,
            activation,
            inputs: input.names.clone(),
        };
        Self::of_layer(weights, layer, (1, 1, 1), &input.repeated(pool * pool), None)
    }

    pub(super) fn of_layer(
        weights: &dyn Weights,
        layer: Layer,
        (kernel, stride, dilation): (usize, usize, usize),
        input: &Format,
        residual: Option<&Format>,
    ) -> Result<Conv2d> {
        let output = layer.output_format(weights)?;
        if !layer.is_int8(weights) {
            let (fold, exact) = (layer.fold(weights)?, weights.is_quantised());
            let dense = match !exact && (kernel, stride, dilation) == (3, 1, 1) && suits_winograd(&layer) {
                true => Dense::Winograd(pack_winograd(weights, &layer, &fold)?),
                false => Dense::F32(pack(weights, &layer, &fold)?, exact),
            };
            return Ok(Conv2d { layer: layer.in_file(weights), weights: dense, kernel, stride, output });
        }
        if layer.k() > pack_i8::MAX_K {
            return Err(mismatch(&layer.name, &format!("is int8 with sums of more than {} products", pack_i8::MAX_K)));
        }
        let input = layer.input_of_int8(input)?;
        let (quantised, epilogue) = layer.int8(weights, &output, residual)?;
        let packed = pack_i8::PackedB::new(DotKind::of_engine(), &quantised, input.params.zero_point());
        let adds_bytes = residual.is_some_and(|r| r.is_bytes);
        let int8 = Dense::I8(Box::new(Int8 { packed, epilogue, input, adds_bytes }));
        Ok(Conv2d { layer: layer.in_file(weights), weights: int8, kernel, stride, output: output.of_int8() })
    }

    /// Output channels.
    pub fn out_channels(&self) -> usize {
        self.layer.out_channels()
    }

    /// Pixels that the input needs round it.
    pub fn padding(&self) -> usize {
        (self.kernel - 1) / 2
    }

    /// What comes out.
    pub fn output(&self) -> &Format {
        &self.output
    }

    /// Applied to the sum.
    pub(super) fn activation(&self) -> Activation {
        self.layer.activation
    }

    /// The panels where the layer is in f32, and whether its bits must not depend on the build.
    pub(super) fn floats(&self) -> Option<(&PackedB, bool)> {
        match &self.weights {
            Dense::F32(packed, exact) => Some((packed, *exact)),
            Dense::Winograd(_) | Dense::I8(_) => None,
        }
    }

    /// What the kernels take where the layer is in int8.
    pub(super) fn int8(&self) -> Option<&Int8> {
        match &self.weights {
            Dense::F32(..) | Dense::Winograd(_) => None,
            Dense::I8(int8) => Some(int8),
        }
    }

    /// How the bytes that it reads are quantised, where it is in int8.
    pub fn reads(&self) -> Option<&Arc<Quantisation>> {
        self.int8().map(|int8| &int8.input)
    }

    /// Runs on `input` [h, w, c] with a halo of at least [`Conv2d::padding`], adding `residual` of the output's shape, bytes
    /// only where [`Conv2d::load_adding`] was told so.
    ///
    /// `scale` multiplies the input by channel (1x1 in f32 only): squeeze-excite's gate.
    pub fn forward<'a>(
        &self,
        cx: &mut Context,
        input: impl Into<View<'a>>,
        out_halo: usize,
        residual: Option<View<'a>>,
        scale: Option<&[f32]>,
    ) -> Map {
        let input = input.into();
        let out = match &self.weights {
            Dense::F32(packed, exact) => {
                let (input, residual) = (input.f32(cx), residual.map(|r| r.f32(cx)));
                let out = self.run_f32((packed, *exact), cx, &input, out_halo, residual.as_deref(), scale);
                input.give(cx);
                residual.into_iter().for_each(|r| r.give(cx));
                Map::F32(out)
            }
            Dense::Winograd(packed) => {
                assert!(residual.is_none() && scale.is_none(), "a 3x3 layer alone");
                let input = input.f32(cx);
                let out = self.run_winograd(packed, cx, &input, out_halo);
                input.give(cx);
                Map::F32(out)
            }
            Dense::I8(int8) => {
                assert!(scale.is_none(), "an int8 layer has its input scaled before");
                let input = input.u8(cx, &int8.input);
                let out = self.run_i8(int8, cx, &input, out_halo, residual);
                input.give(cx);
                out
            }
        };
        self.watch(cx, &out);
        out
    }

    /// Shows what it made.
    pub(super) fn watch(&self, cx: &mut Context, out: &Map) {
        cx.watch(&self.output.names[0], out, Origin::Layer(&self.layer));
    }

    /// Rows and columns of the output, and where the first tap of its pixels lies.
    fn geometry<T: Copy>(&self, input: &Tensor<T>) -> ((usize, usize), Pixels) {
        let (stride, c) = (self.stride, input.c);
        let start = input.halo.checked_sub(self.padding()).expect("a halo as wide as the padding");
        let first = start * (input.row_pitch() + c);
        let size = (input.h.div_ceil(stride), input.w.div_ceil(stride));
        (size, Pixels { start: first, row: stride * input.row_pitch(), pixel: stride * c })
    }

    fn run_f32(
        &self,
        (packed, exact): (&PackedB, bool),
        cx: &mut Context,
        input: &Tensor,
        out_halo: usize,
        residual: Option<&Tensor>,
        scale: Option<&[f32]>,
    ) -> Tensor {
        assert_eq!(input.c * self.kernel * self.kernel, packed.k, "the input's channels");
        let ((h, w), at) = self.geometry(input);
        let mut out = cx.workspace.tensor(h, w, packed.n, out_halo);
        let scaled = scale.map(|scale| {
            let mut buffer = cx.workspace.take(packed.data().len());
            packed.scaled(scale, &mut buffer);
            buffer
        });
        let taps: [Tap; MAX_ROWS] =
            std::array::from_fn(|ky| Tap { a: ky * input.row_pitch(), b: ky * self.kernel * input.c });
        let to = pixels(&out);
        let conv = conv_f32::Conv {
            size: (h, w),
            a: (input.data(), at),
            taps: &taps[..self.kernel],
            segment: self.kernel * input.c,
            b: scaled.as_deref().unwrap_or(packed.data()),
            k: packed.k,
            n: packed.n,
            activation: self.layer.activation,
            residual: residual.map(|r| (r.data(), pixels(r))),
            c: (out.data_mut(), to),
        };
        // Taken for every layer: a run asks for as many buffers as the one before, whatever its picture.
        let mut room = cx.workspace.take(if exact { 0 } else { strassen_f32::scratch(&conv) });
        if exact {
            conv_f32::<Exact>(conv);
        } else if room.is_empty() {
            conv_f32::<Best>(conv);
        } else {
            strassen_f32::<Best>(conv, &mut room);
        }
        cx.workspace.give(room);
        scaled.into_iter().for_each(|buffer| cx.workspace.give(buffer));
        out
    }

    fn run_winograd(&self, packed: &PackedWinograd, cx: &mut Context, input: &Tensor, out_halo: usize) -> Tensor {
        assert_eq!(input.c, self.layer.channels, "the input's channels");
        let (size, at) = self.geometry(input);
        let mut out = cx.workspace.tensor(size.0, size.1, packed.n(), out_halo);
        let mut scratch = cx.workspace.take(packed.scratch(size));
        let (activation, to) = (self.layer.activation, pixels(&out));
        let x = Winograd { size, a: (input.data(), at), b: packed, activation, c: (out.data_mut(), to) };
        winograd_f32::<Best>(x, &mut scratch);
        cx.workspace.give(scratch);
        out
    }

    fn run_i8(
        &self,
        int8: &Int8,
        cx: &mut Context,
        input: &Tensor<u8>,
        out_halo: usize,
        residual: Option<View>,
    ) -> Map {
        assert_eq!(input.c * self.kernel * self.kernel, int8.packed.k, "the input's channels");
        let residual = residual.map(|r| match r {
            View::F32(r) => (Values::F32(r.data()), pixels(r)),
            View::U8(r, _) => {
                assert!(int8.adds_bytes, "loaded for a residual of bytes");
                (Values::U8(r.data()), pixels(r))
            }
        });
        let ((h, w), at) = self.geometry(input);
        let taps: [usize; MAX_ROWS] = std::array::from_fn(|ky| ky * input.row_pitch());
        let mut run = |c: (ValuesMut, Pixels)| {
            conv_i8::<Best>(conv_i8::Conv {
                size: (h, w),
                a: (input.data(), at),
                taps: &taps[..self.kernel],
                segment: self.kernel * input.c,
                b: &int8.packed,
                epilogue: &int8.epilogue,
                residual,
                c,
            });
        };
        write(cx, &self.output, (h, w, self.out_channels()), out_halo, &mut run)
    }
}

/// A map of `shape` in the form of `output`, which `run` fills.
pub(super) fn write(
    cx: &mut Context,
    output: &Format,
    (h, w, c): (usize, usize, usize),
    halo: usize,
    run: &mut dyn FnMut((ValuesMut, Pixels)),
) -> Map {
    match &output.quantisation {
        Some(quantisation) => {
            let mut out = cx.workspace.tensor_u8(h, w, halo, quantisation.params.zero_point());
            let at = pixels(&out);
            run((ValuesMut::U8(out.data_mut()), at));
            Map::U8(out, quantisation.clone())
        }
        None => {
            let mut out = cx.workspace.tensor(h, w, c, halo);
            let at = pixels(&out);
            run((ValuesMut::F32(out.data_mut()), at));
            Map::F32(out)
        }
    }
}

/// Panels of the weight, its rows [c, taps] in the order (tap, c), scaled and shifted by `fold`.
fn pack(weights: &dyn Weights, layer: &Layer, fold: &Fold) -> Result<PackedB> {
    let mut packed = PackedB::new(&fold.shift, layer.k());
    layer.rows(weights, &mut |n, row| {
        packed.set_column(n, layer.channels_last().map(|from| row[from] * fold.scale[n]));
    })?;
    Ok(packed)
}

/// Whether the fewer multiplications of a 3x3 layer at stride 1 outweigh what its transforms read and write.
fn suits_winograd(layer: &Layer) -> bool {
    const LEAST: usize = 64;
    [layer.channels, layer.out_channels()].iter().all(|c| *c >= LEAST && c.is_multiple_of(4))
}

/// [`pack`] for [`winograd_f32`].
fn pack_winograd(weights: &dyn Weights, layer: &Layer, fold: &Fold) -> Result<PackedWinograd> {
    let mut packed = PackedWinograd::new(&fold.shift, layer.channels);
    layer.rows(weights, &mut |n, row| {
        let channels = row.as_chunks::<9>().0;
        packed.set_output(n, |tap, c| channels[c][tap] * fold.scale[n]);
    })?;
    Ok(packed)
}

/// The pixels of `tensor`, its halo apart.
pub(crate) fn pixels<T: Copy>(tensor: &Tensor<T>) -> Pixels {
    Pixels { start: tensor.origin(), row: tensor.row_pitch(), pixel: tensor.c }
}
