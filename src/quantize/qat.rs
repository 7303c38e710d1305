//! TorchVision's checkpoint of quantisation-aware training to the int8 file that [`crate::qnnpack`] describes, as
//! torch.ao.quantization.convert does it for QNNPACK: torch/ao/quantization/observer.py, torch/nn/utils/fusion.py.
//!
//! ```text
//! activation            s = (max - min) / 255, zp = -round(min / s), both ends taken as far as zero
//! weight                w * (gamma / sqrt(var + eps)), BatchNorm's; s_w = max(-min, max) / 127.5; wq = round(w / s_w)
//! ```
//! Ranges are the observers' min_val and max_val, as training left them. The model itself is loaded, by a reader that makes what
//! it asks for of the checkpoint; what was asked for is the file.

use super::encode::{Tensors, put, write};
use crate::models::classification::ClassifierConfig;
use crate::models::config::classifier_config;
use crate::models::quantization::QAT_MARK;
use crate::models::registry::entry;
use crate::weights::{Metadata, StateDict, Weights};
use crate::{Error, Result};
use safetensors::Dtype;
use std::cell::RefCell;

/// Whether `weights` are such a checkpoint.
pub fn is_qat(weights: &dyn StateDict) -> bool {
    weights.contains(QAT_MARK)
}

/// The int8 file of the checkpoint `source`.
///
/// # Errors
/// [`Error::WeightsMismatch`] names the tensor that is missing, of another shape, or cannot be: of an observer, one that saw
/// nothing, nothing but zeros, or ends that are no range.
pub fn convert_qat(source: &dyn StateDict, metadata: &Metadata) -> Result<Vec<u8>> {
    let classes = metadata.labels.len();
    let config = classifier_config(ClassifierConfig::quantized_mobilenet_v3_large(classes), metadata)?;
    let made = Converted { source, eps: config.batch_norm_eps, tensors: RefCell::default() };
    (entry(&metadata.arch)?.load)(&made, metadata)?;
    write(&made.tensors.into_inner(), metadata)
}

fn refuse(name: &str, what: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!("{name} {what}; train the model further with its observers on, or export it again"))
}

/// The int8 tensors of a checkpoint, and those that were asked for.
struct Converted<'a> {
    source: &'a dyn StateDict,
    eps: f32,
    tensors: RefCell<Tensors>,
}

impl Converted<'_> {
    /// What `observer` saw, as far as zero. Some releases of torch have vectors of one value.
    fn range(&self, observer: &str) -> Result<(f32, f32)> {
        let read = |leaf: &str| {
            let name = format!("{observer}.{leaf}");
            let is_vector = self.source.info(&name).is_some_and(|info| info.shape == [1]);
            Ok(self.source.f32(&name, if is_vector { &[1] } else { &[] })?[0])
        };
        let (min, max) = (read("min_val")?, read("max_val")?);
        if min > max {
            return Err(refuse(observer, format_args!("has a min_val of {min} above its max_val of {max}")));
        }
        if min.min(0.0) == max.max(0.0) {
            return Err(refuse(observer, "saw nothing but zeros, which have no scale"));
        }
        Ok((min.min(0.0), max.max(0.0)))
    }

    /// The scale and zero point of what `module` makes.
    fn output(&self, module: &str) -> Result<(f32, u8)> {
        let (min, max) = self.range(&format!("{module}.activation_post_process.activation_post_process"))?;
        let scale = ((max - min) / 255.0).max(f32::EPSILON);
        Ok((scale, (-(min / scale).round_ties_even()).clamp(0.0, 255.0) as u8))
    }

    /// The scale of the weight of `layer`.
    fn weight_scale(&self, layer: &str) -> Result<f32> {
        let (min, max) = self.range(&format!("{layer}.weight_fake_quant.activation_post_process"))?;
        Ok(max.max(-min).max(f32::EPSILON * 127.5) / 127.5)
    }

    /// What the BatchNorm of `layer` does to each of `n` channels, [times, plus], if it has one.
    fn batch_norm(&self, layer: &str, n: usize) -> Result<Option<[Vec<f32>; 2]>> {
        if !self.source.contains(&format!("{layer}.bn.weight")) {
            return Ok(None);
        }
        let read = |leaf: &str| self.source.f32(&format!("{layer}.bn.{leaf}"), &[n]);
        let (gamma, beta, mean, var) = (read("weight")?, read("bias")?, read("running_mean")?, read("running_var")?);
        if var.iter().any(|v| v + self.eps <= 0.0) {
            return Err(refuse(&format!("{layer}.bn.running_var"), "has a negative variance"));
        }
        let roots: Vec<f32> = var.iter().map(|v| 1.0 / (v + self.eps).sqrt()).collect();
        let times = gamma.iter().zip(&roots).map(|(g, r)| g * r).collect();
        let plus = (0..n).map(|o| -mean[o] * roots[o] * gamma[o] + beta[o]).collect();
        Ok(Some([times, plus]))
    }

    /// The int8 weight of `layer`, of `shape`.
    fn weight(&self, layer: &str, shape: &[usize]) -> Result<Vec<u8>> {
        let inverse = 1.0 / self.weight_scale(layer)?;
        let batch_norm = self.batch_norm(layer, shape[0])?;
        let mut bytes = Vec::new();
        self.source.rows(&format!("{layer}.weight"), shape, &mut |o, row| {
            let times = batch_norm.as_ref().map_or(1.0, |[times, _]| times[o]);
            let quantised =
                row.iter().map(|w| (w * times * inverse).round_ties_even().clamp(-128.0, 127.0) as i8 as u8);
            bytes.extend(quantised);
        })?;
        Ok(bytes)
    }

    fn bias(&self, layer: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match self.batch_norm(layer, shape[0])? {
            Some([_, plus]) => Ok(plus),
            None => self.source.f32(&format!("{layer}.bias"), shape),
        }
    }
}

impl Weights for Converted<'_> {
    fn contains(&self, _name: &str) -> bool {
        true
    }

    fn is_quantised(&self) -> bool {
        true
    }

    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let values = match split(name) {
            (module, "output.scale") => vec![self.output(module)?.0],
            (layer, "weight_scale") => vec![self.weight_scale(layer)?],
            (layer, "bias") => self.bias(layer, shape)?,
            _ => return Err(refuse(name, "is not in such a checkpoint")),
        };
        values.chunks_exact(1).enumerate().for_each(|(i, row)| each(i, row));
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        put(&mut self.tensors.borrow_mut(), name.to_string(), Dtype::F32, shape, bytes);
        Ok(())
    }

    fn byte_rows(&self, name: &str, shape: &[usize], dtype: Dtype, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let bytes = match split(name) {
            (module, "output.zero_point") => vec![self.output(module)?.1],
            (layer, "weight") => self.weight(layer, shape)?,
            _ => return Err(refuse(name, "is not in such a checkpoint")),
        };
        bytes.chunks_exact(bytes.len() / shape[0]).enumerate().for_each(|(i, row)| each(i, row));
        put(&mut self.tensors.borrow_mut(), name.to_string(), dtype, shape, bytes);
        Ok(())
    }
}

/// The module of tensor `name`, and what of it.
fn split(name: &str) -> (&str, &str) {
    let (module, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    match module.strip_suffix(".output") {
        Some(module) => (module, &name[module.len() + 1..]),
        None => (module, leaf),
    }
}
