//! A state_dict as a .safetensors file: TorchVision's names of today, F32 or F16, and what the model is in
//! `__metadata__["mobilesight"]`. The same weights give the same bytes.

use crate::models::detection::former_names::current_name;
use crate::models::infer::row;
use crate::models::mobilenetv3::{Arch, inverted_residual_setting};
use crate::models::registry::{Task, entry};
use crate::weights::{Metadata, StateDict, TensorInfo};
use crate::{Error, Result};
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// How [`convert`] stores floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// As they are.
    F32,
    /// In half the size, rounded to the nearest of 11 bits.
    F16,
}

/// The arguments of TorchVision's `_mobilenet_v3_conf`, of which it makes the rows.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Table {
    width_mult: Option<f64>,
    reduced_tail: Option<bool>,
    dilated: Option<bool>,
}

/// Puts the rows that `config`'s width_mult, reduced_tail and dilated stand for in their place, for `arch`. Shapes tell widths, so that
/// `dilated` alone changes what they do not in the rows that were `found`.
///
/// # Errors
/// [`Error::WeightsMismatch`] for an argument of another type or range, or beside the rows themselves, and for an unknown `arch`.
pub fn take_table(config: &mut Map<String, Value>, arch: &str, found: &Value) -> Result<()> {
    let names = ["width_mult", "reduced_tail", "dilated"];
    let given: Map<_, _> = names.into_iter().filter_map(|name| config.remove_entry(name)).collect();
    if given.is_empty() {
        return Ok(());
    }
    let refuse = |why: String| Error::WeightsMismatch(format!("width_mult, reduced_tail and dilated {why}"));
    if config.contains_key("inverted_residual_setting") {
        return Err(refuse("make an inverted_residual_setting; leave them out, or it".to_string()));
    }
    let table: Table =
        serde_json::from_value(Value::Object(given)).map_err(|e| refuse(format!("cannot be read ({e})")))?;
    let width_mult = table.width_mult.unwrap_or(1.0);
    if width_mult <= 0.0 || width_mult > 16.0 {
        return Err(refuse(format!("have a width of {width_mult}; it is more than 0 and at most 16")));
    }
    let which = if arch.contains("_small") { Arch::Small } else { Arch::Large };
    let dilated = table.dilated.unwrap_or(entry(arch)?.task == Task::Segmentation);
    let rows = inverted_residual_setting(which, width_mult, table.reduced_tail.unwrap_or(false), dilated);
    let mut rows: Vec<Value> = rows.iter().map(row).collect();
    let widths_are_told = table.width_mult.is_none() && table.reduced_tail.is_none();
    if let Some(found) = found.as_array().filter(|found| widths_are_told && found.len() == rows.len()) {
        for (to, from) in rows.iter_mut().zip(found) {
            // All but stride and dilation, the last two.
            (0..6).for_each(|i| to[i] = from[i].clone());
        }
    }
    config.insert("inverted_residual_setting".to_string(), Value::Array(rows));
    Ok(())
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
