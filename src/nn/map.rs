//! Activations between layers: floats or bytes, and what a layer knows of them when it is loaded.
//!
//! An int8 layer writes bytes where the file has its output's parameters and floats where not; a layer left in f32 writes
//! floats. A layer that gets the other form than it computes with converts it, so the models never ask.

use super::Context;
use crate::Result;
use crate::kernels::elementwise_i8::{Affine, dequantise, quantise};
use crate::kernels::pool_f32::mean_pool;
use crate::kernels::pool_i8::{mean_pool_i8, sum_rows};
use crate::quant::QParams;
use crate::simd::Best;
use crate::tensor::{Element, Tensor};
use crate::weights::Weights;
use safetensors::Dtype;
use std::ops::Deref;
use std::sync::Arc;

/// How an activation is quantised, with the constants of its conversions.
#[derive(Debug)]
pub struct Quantisation {
    /// Scales and zero points.
    pub params: QParams,
    /// The same for the kernels.
    pub affine: Affine,
}

impl Quantisation {
    pub(super) fn new(params: QParams) -> Self {
        Quantisation { affine: Affine::new(&params), params }
    }
}

/// An activation.
#[derive(Debug)]
pub enum Map {
    /// Values.
    F32(Tensor),
    /// Bytes and what they mean.
    U8(Tensor<u8>, Arc<Quantisation>),
}

impl Default for Map {
    fn default() -> Self {
        Map::F32(Tensor::default())
    }
}

impl Map {
    /// Rows, columns, channels.
    pub fn shape(&self) -> (usize, usize, usize) {
        View::from(self).shape()
    }

    /// The values, and the bytes' memory given back.
    pub fn into_f32(self, cx: &mut Context) -> Tensor {
        if let Map::F32(tensor) = self {
            return tensor;
        }
        let tensor = View::from(&self).dequantised(cx);
        cx.give(self);
        tensor
    }

    /// The mean of all pixels, [1, 1, c].
    pub fn mean(&self, cx: &mut Context) -> Tensor {
        let (h, w, c) = self.shape();
        let mut mean = cx.workspace.tensor(1, 1, c, 0);
        match self {
            Map::F32(x) => mean_pool((0..h).map(|y| x.row(y)), h * w, mean.data_mut()),
            Map::U8(x, quantisation) => {
                let mut sums = cx.workspace.take(h * c);
                sum_rows(x, &mut sums);
                mean_pool_i8(&sums, h * w, &quantisation.params, mean.data_mut());
                cx.workspace.give(sums);
            }
        }
        mean
    }
}

/// A borrowed [`Map`].
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// Values.
    F32(&'a Tensor),
    /// Bytes and what they mean.
    U8(&'a Tensor<u8>, &'a Arc<Quantisation>),
}

impl<'a> From<&'a Tensor> for View<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        View::F32(tensor)
    }
}

impl<'a> From<&'a Map> for View<'a> {
    fn from(map: &'a Map) -> Self {
        match map {
            Map::F32(tensor) => View::F32(tensor),
            Map::U8(tensor, quantisation) => View::U8(tensor, quantisation),
        }
    }
}

impl<'a> View<'a> {
    /// Rows, columns, channels.
    pub fn shape(self) -> (usize, usize, usize) {
        match self {
            View::F32(x) => (x.h, x.w, x.c),
            View::U8(x, _) => (x.h, x.w, x.c),
        }
    }

    /// The values.
    pub fn f32(self, cx: &mut Context) -> Lent<'a> {
        match self {
            View::F32(x) => Lent::Theirs(x),
            View::U8(..) => Lent::Ours(self.dequantised(cx)),
        }
    }

    /// The bytes: those that there are, or the values quantised as `to` says.
    pub fn u8(self, cx: &mut Context, to: &Quantisation) -> Lent<'a, u8> {
        match self {
            View::F32(x) => {
                let mut out = cx.workspace.tensor_u8(x.h, x.w, x.halo, to.params.zero_point());
                quantise::<Best>(x, &to.affine, &mut out);
                Lent::Ours(out)
            }
            View::U8(x, _) => Lent::Theirs(x),
        }
    }

    fn dequantised(self, cx: &mut Context) -> Tensor {
        let View::U8(x, quantisation) = self else { unreachable!("floats need no conversion") };
        let mut out = cx.workspace.tensor(x.h, x.w, x.c, x.halo);
        dequantise::<Best>(x, &quantisation.affine, &mut out);
        out
    }
}

/// A tensor that was there, or one made for this use.
pub enum Lent<'a, T = f32> {
    /// Borrowed.
    Theirs(&'a Tensor<T>),
    /// Converted.
    Ours(Tensor<T>),
}

impl<T> Deref for Lent<'_, T> {
    type Target = Tensor<T>;

    fn deref(&self) -> &Tensor<T> {
        match self {
            Lent::Theirs(tensor) => tensor,
            Lent::Ours(tensor) => tensor,
        }
    }
}

impl<T: Element> Lent<'_, T> {
    /// Gives the memory back where it is ours.
    pub fn give(self, cx: &mut Context) {
        if let Lent::Ours(tensor) = self {
            cx.workspace.give_tensor(tensor);
        }
    }
}

/// An activation as a layer knows it when it is loaded.
#[derive(Clone, Debug)]
pub struct Format {
    /// Its names in the file, `<layer>.output`: several where one layer reads maps of several layers, which must then be
    /// quantised alike.
    pub(super) names: Vec<String>,
    /// How it is quantised where an int8 layer writes or reads it, if it is.
    pub(super) quantisation: Option<Arc<Quantisation>>,
    /// Whether it comes as bytes.
    pub(super) is_bytes: bool,
}

impl Format {
    /// The activation `name`, of `channels`, which comes as floats.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`], naming the tensor, when its parameters are not those of [`QParams::new`].
    pub fn load(weights: &dyn Weights, name: &str, channels: usize) -> Result<Format> {
        let leaf = |leaf: &str| format!("{name}.{leaf}");
        let mut quantisation = None;
        if let Some(scale) = weights.info(&leaf("scale")) {
            let one_or_all = |len: Option<usize>| if len == Some(1) { [1] } else { [channels] };
            let len = |shape: &[usize]| shape.first().copied();
            let scale = weights.f32(&leaf("scale"), &one_or_all(len(&scale.shape)))?;
            let zero = weights.info(&leaf("zero_point")).and_then(|info| len(&info.shape));
            let mut zero_point = Vec::new();
            weights.byte_rows(&leaf("zero_point"), &one_or_all(zero), Dtype::U8, &mut |_, row| {
                zero_point.extend_from_slice(row);
            })?;
            let params = QParams::new(&leaf("scale"), channels, scale, zero_point)?;
            quantisation = Some(Arc::new(Quantisation::new(params)));
        }
        Ok(Format { names: vec![weights.path(name)], quantisation, is_bytes: false })
    }

    /// One format for the maps `a` and `b`, which a layer reads one after the other: none of its own where they differ.
    pub fn of_both(a: &Format, b: &Format) -> Format {
        let params = |f: &Format| f.quantisation.as_ref().map(|q| q.params.clone());
        Format {
            names: a.names.iter().chain(&b.names).cloned().collect(),
            quantisation: a.quantisation.clone().filter(|_| params(a) == params(b)),
            is_bytes: a.is_bytes && b.is_bytes,
        }
    }

    /// The constants of its conversions, if it is quantised.
    pub fn affine(&self) -> Option<&Affine> {
        self.quantisation.as_deref().map(|q| &q.affine)
    }

    /// The format of `times` pixels side by side as one.
    pub fn repeated(&self, times: usize) -> Format {
        let repeat = |q: &Arc<Quantisation>| Arc::new(Quantisation::new(q.params.repeated(times)));
        Format { quantisation: self.quantisation.as_ref().map(repeat), ..self.clone() }
    }

    /// The same for a layer that must be in f32, as one whose input a gate multiplies: no int8 layer loads on it.
    pub fn as_f32(&self) -> Format {
        Format { names: Vec::new(), quantisation: None, ..self.clone() }
    }

    /// The same activation from a layer that writes bytes where it can.
    pub(super) fn of_int8(self) -> Format {
        Format { is_bytes: self.quantisation.is_some(), ..self }
    }
}
