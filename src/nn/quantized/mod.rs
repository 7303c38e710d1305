//! Quantised layers by torch.ao.nn.quantized's names, to the integers of [`crate::qnnpack`]: bytes in, bytes out.

mod conv;
mod squeeze_excitation;

pub use conv::{Conv2d, Size};
pub use squeeze_excitation::{SqueezeExcitation, mean_pool};

use super::{Context, Quantisation};
use crate::Result;
use crate::kernels::add_u8::add_u8;
use crate::kernels::lookup_u8::lookup_u8;
use crate::qnnpack::{Addition, Table, hardswish};
use crate::quant::QParams;
use crate::tensor::Tensor;
use crate::weights::Weights;
use safetensors::Dtype;
use std::sync::Arc;

/// How what module `name` makes, of `channels`, is quantised: one scale and zero point.
///
/// # Errors
/// [`crate::Error::WeightsMismatch`] names the tensor that is missing or cannot be.
pub fn output(weights: &dyn Weights, name: &str, channels: usize) -> Result<Arc<Quantisation>> {
    let leaf = |leaf: &str| format!("{name}.output.{leaf}");
    let scale = weights.f32(&leaf("scale"), &[1])?;
    let mut zero_point = Vec::new();
    weights.byte_rows(&leaf("zero_point"), &[1], Dtype::U8, &mut |_, row| zero_point.extend_from_slice(row))?;
    Ok(Arc::new(Quantisation::new(QParams::new(&leaf("scale"), channels, scale, zero_point)?)))
}

/// Hardswish, in place.
#[derive(Debug)]
pub struct Hardswish {
    table: Box<Table>,
    output: Arc<Quantisation>,
}

impl Hardswish {
    /// Reads the module `name`, behind what is quantised as `input`.
    ///
    /// # Errors
    /// As for [`output`].
    pub fn load(weights: &dyn Weights, name: &str, input: &Quantisation) -> Result<Hardswish> {
        let output = output(weights, name, input.params.scale().len())?;
        Ok(Hardswish { table: Box::new(hardswish(&input.params, &output.params)), output })
    }

    /// How what comes out is quantised.
    pub fn output(&self) -> &Arc<Quantisation> {
        &self.output
    }

    /// Runs on `x` and its halo.
    pub fn forward(&self, x: &mut Tensor<u8>) {
        lookup_u8(&self.table, x);
    }
}

/// FloatFunctional's add, as it is once it is quantised.
#[derive(Debug)]
pub struct Add {
    addition: Addition,
    output: Arc<Quantisation>,
}

impl Add {
    /// Reads the module `name`, which adds what is quantised as `a` and as `b`.
    ///
    /// # Errors
    /// As for [`output`], and for scales that QNNPACK does not add.
    pub fn load(weights: &dyn Weights, name: &str, a: &Quantisation, b: &Quantisation) -> Result<Add> {
        let output = output(weights, name, a.params.scale().len())?;
        Ok(Add { addition: Addition::new(name, &a.params, &b.params, &output.params)?, output })
    }

    /// How what comes out is quantised.
    pub fn output(&self) -> &Arc<Quantisation> {
        &self.output
    }

    /// The sum of `a` and `b`, with a halo of `out_halo`.
    pub fn forward(&self, cx: &mut Context, a: &Tensor<u8>, b: &Tensor<u8>, out_halo: usize) -> Tensor<u8> {
        let mut out = cx.workspace.tensor_u8(a.h, a.w, out_halo, self.output.params.zero_point());
        add_u8(&self.addition, a, b, &mut out);
        out
    }
}
