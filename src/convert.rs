//! A state_dict as a .safetensors file: TorchVision's names of today, F32 or F16, and what the model is in
//! `__metadata__["mobilesight"]`. The same weights give the same bytes.

use crate::models::detection::former_names::current_name;
use crate::weights::{Metadata, StateDict, TensorInfo};
use crate::{Error, Result};
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;

/// How [`convert`] stores floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// As they are.
    F32,
    /// In half the size, rounded to the nearest of 11 bits.
    F16,
}

/// Writes every tensor of `source` but BatchNorm's counters, num_batches_tracked; under the name of today where TorchVision has
/// renamed its layer.
///
/// # Errors
/// [`Error::WeightsMismatch`] names the tensor that does not hold finite floats, or not those that F16 can hold.
pub fn convert(source: &dyn StateDict, dtype: FloatType, metadata: &Metadata) -> Result<Vec<u8>> {
    let kept = source.tensors().into_iter().filter(|tensor| !tensor.name.ends_with(".num_batches_tracked"));
    let encoded = kept.map(|tensor| Ok((encode(source, &tensor, dtype)?, tensor))).collect::<Result<Vec<_>>>()?;
    let stored = match dtype {
        FloatType::F32 => Dtype::F32,
        FloatType::F16 => Dtype::F16,
    };
    let views = encoded.iter().map(|(data, TensorInfo { name, shape, .. })| {
        let view = TensorView::new(stored, shape.clone(), data);
        view.map(|view| (current_name(name), view)).map_err(|error| refuse(name, error))
    });
    let json = serde_json::to_string(metadata).map_err(|error| refuse("the metadata", error))?;
    let information = HashMap::from([("mobilesight".to_string(), json)]);
    let written = safetensors::serialize(views.collect::<Result<Vec<_>>>()?, Some(information));
    written.map_err(|error| refuse("the file", error))
}

/// The little-endian floats of `tensor`.
fn encode(source: &dyn StateDict, tensor: &TensorInfo, dtype: FloatType) -> Result<Vec<u8>> {
    let TensorInfo { name, shape, dtype: from } = tensor;
    if !matches!(from, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
        return Err(refuse(
            name,
            format_args!("it holds {from:?}, and only float weights are converted; quantize reads the others"),
        ));
    }
    let mut bytes = Vec::new();
    let mut over = None;
    source.rows(name, shape, &mut |_, values| match dtype {
        FloatType::F32 => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        FloatType::F16 => {
            over = over.or_else(|| values.iter().copied().find(|v| f16::from_f32(*v).is_infinite()));
            bytes.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()));
        }
    })?;
    match over {
        Some(value) => Err(refuse(name, format_args!("it holds {value}, and F16 ends at 65504; convert to F32"))),
        None => Ok(bytes),
    }
}

fn refuse(name: &str, why: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!("{name} cannot be written: {why}"))
}
