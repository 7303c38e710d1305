//! The file of a partly quantised model: what src/nn/layer.rs reads.
//!
//! Rounding the weights shifts the mean of a layer's output by sum((w - wq) * mean x), which is known from calibration and
//! goes into the bias.

use super::plan::Int8Layers;
use crate::calibrate::Calibration;
use crate::models::detection::former_names::current_name;
use crate::nn::{Fold, Layer};
use crate::quant::{QParams, QWeights};
use crate::weights::{Metadata, StateDict};
use crate::{Error, Result};
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, HashMap};

/// A tensor of the new file.
pub struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// By name.
pub type Tensors = BTreeMap<String, Stored>;

/// The file in which the layers of `int8` are so, the others in f32, with the activations' `parameters`.
pub fn encode(
    source: &dyn StateDict,
    metadata: &Metadata,
    calibration: &Calibration,
    int8: &Int8Layers,
    parameters: &BTreeMap<String, QParams>,
) -> Result<Vec<u8>> {
    let mut tensors = Tensors::new();
    let mut folded = Vec::new();
    for (layer, _) in &calibration.layers {
        if int8.contains(&layer.name) {
            quantised(source, layer, calibration, &parameters[&layer.inputs[0]], &mut tensors)?;
        } else {
            floats(source, layer, &mut tensors)?;
        }
        folded.extend([Some(&layer.name), layer.batch_norm.as_ref().map(|bn| &bn.name)].into_iter().flatten());
    }
    for (name, params) in parameters {
        let shape = vec![params.scale().len()];
        put(&mut tensors, format!("{name}.scale"), Dtype::F32, &shape, f32s(params.scale()));
        put(&mut tensors, format!("{name}.zero_point"), Dtype::U8, &shape, params.zero_point().to_vec());
    }
    for tensor in source.tensors().iter().filter(|tensor| is_used(&tensor.name)) {
        let of_layer =
            |path: &&String| tensor.name.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if !folded.iter().any(of_layer) {
            let values = source.f32(&tensor.name, &tensor.shape)?;
            match gate(calibration, int8, &tensor.name) {
                Some(layer) => rounded(&mut tensors, layer, &tensor.shape, &values),
                None => put_floats(&mut tensors, tensor.name.clone(), &tensor.shape, &values),
            }
        }
    }
    write(&tensors, metadata)
}

/// Whether a model reads tensor `name`.
fn is_used(name: &str) -> bool {
    !name.ends_with(".num_batches_tracked") && !name.starts_with("aux_classifier.")
}

/// The path of the layer whose weight is `name`, if that is of the squeeze-excite of an int8 block: computed in f32, and stored
/// as int8.
fn gate<'a>(calibration: &Calibration, int8: &Int8Layers, name: &'a str) -> Option<&'a str> {
    let layer = name.strip_suffix(".weight")?;
    let (gate, leaf) = layer.rsplit_once('.')?;
    let gated = calibration.gated.get(&format!("{gate}.output"))?.strip_suffix(".output")?;
    (matches!(leaf, "fc1" | "fc2") && int8.contains(gated)).then_some(layer)
}

/// A matrix as int8 with a scale a row.
fn rounded(tensors: &mut Tensors, layer: &str, shape: &[usize], values: &[f32]) {
    let rounded = QWeights::dense_rows(values, shape[0], |_, _| 1.0);
    put_int8(tensors, layer, shape, rounded.weight(), rounded.scale());
}

fn put_int8(tensors: &mut Tensors, layer: &str, shape: &[usize], weight: &[i8], scale: &[f32]) {
    put(tensors, format!("{layer}.weight"), Dtype::I8, shape, weight.iter().map(|w| *w as u8).collect());
    put(tensors, format!("{layer}.weight_scale"), Dtype::F32, &shape[..1], f32s(scale));
}

/// The file of `tensors`.
pub fn write(tensors: &Tensors, metadata: &Metadata) -> Result<Vec<u8>> {
    let refuse = |what: &dyn std::fmt::Display| Error::WeightsMismatch(format!("the file cannot be written: {what}"));
    let mut views = Vec::new();
    for (name, stored) in tensors {
        let view = TensorView::new(stored.dtype, stored.shape.clone(), &stored.data).map_err(|e| refuse(&e))?;
        views.push((name, view));
    }
    let json = serde_json::to_string(metadata).map_err(|e| refuse(&e))?;
    safetensors::serialize(views, Some(HashMap::from([("mobilesight".to_string(), json)]))).map_err(|e| refuse(&e))
}

/// Adds a tensor, under the name of today where TorchVision has renamed its layer.
pub fn put(tensors: &mut Tensors, name: String, dtype: Dtype, shape: &[usize], data: Vec<u8>) {
    tensors.insert(current_name(&name), Stored { dtype, shape: shape.to_vec(), data });
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Matrices in half the size where F16 holds them, vectors as they are.
fn put_floats(tensors: &mut Tensors, name: String, shape: &[usize], values: &[f32]) {
    let halves = || values.iter().map(|v| f16::from_f32(*v));
    if shape.len() > 1 && halves().all(|v| v.is_finite()) {
        put(tensors, name, Dtype::F16, shape, halves().flat_map(f16::to_le_bytes).collect());
    } else {
        put(tensors, name, Dtype::F32, shape, f32s(values));
    }
}

/// The weights with `fold` in them, rows in the order of the channels last, [n, taps, c].
fn folded_weight(source: &dyn StateDict, layer: &Layer, fold: &Fold) -> Result<Vec<f32>> {
    let k = layer.k();
    let mut weight = Vec::with_capacity(layer.out_channels() * k);
    layer.rows(source, &mut |o, row| weight.extend(layer.channels_last().map(|from| row[from] * fold.scale[o])))?;
    Ok(weight)
}

/// `weight` [n, taps, c] in PyTorch's order, [n, c, taps].
fn channels_first<T: Copy + Default>(layer: &Layer, weight: &[T]) -> Vec<T> {
    let mut ordered = vec![T::default(); weight.len()];
    for (from, to) in weight.chunks_exact(layer.k()).zip(ordered.chunks_exact_mut(layer.k())) {
        from.iter().zip(layer.channels_last()).for_each(|(w, i)| to[i] = *w);
    }
    ordered
}

fn floats(source: &dyn StateDict, layer: &Layer, tensors: &mut Tensors) -> Result<()> {
    let fold = layer.fold(source)?;
    let weight = channels_first(layer, &folded_weight(source, layer, &fold)?);
    put_floats(tensors, format!("{}.weight", layer.name), &layer.shape, &weight);
    put(tensors, format!("{}.bias", layer.name), Dtype::F32, &[layer.out_channels()], f32s(&fold.shift));
    Ok(())
}

fn quantised(
    source: &dyn StateDict,
    layer: &Layer,
    calibration: &Calibration,
    input: &QParams,
    tensors: &mut Tensors,
) -> Result<()> {
    let (n, k, c) = (layer.out_channels(), layer.k(), layer.channels);
    let fold = layer.fold(source)?;
    let weight = folded_weight(source, layer, &fold)?;
    let channel = |o: usize, i: usize| if layer.is_depthwise { o } else { i % c };
    let rounded = match layer.is_depthwise {
        // A depthwise row has one channel.
        true => QWeights::dense_rows(&weight, n, |o, _| input.scale()[o]),
        false => QWeights::dense_rows(&weight, n, |_, i| input.scale()[i % c]),
    };
    let means = calibration.input_of(layer);
    let mut bias = fold.shift;
    for (o, bias) in bias.iter_mut().enumerate() {
        let error = |i: usize| {
            let (w, wq) = (weight[o * k + i], f32::from(rounded.weight()[o * k + i]) * rounded.scale()[o]);
            (w - wq / input.scale()[channel(o, i)]) * means.mean(channel(o, i))
        };
        *bias += (0..k).map(error).sum::<f32>();
    }
    put_int8(tensors, &layer.name, &layer.shape, &channels_first(layer, rounded.weight()), rounded.scale());
    put(tensors, format!("{}.bias", layer.name), Dtype::F32, &[n], f32s(&bias));
    Ok(())
}
