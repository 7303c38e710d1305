//! What a convolution or linear layer is before its weights are packed, in f32 or int8, and how they are read.
//!
//! A file has int8 weights as `x.weight` I8 and `x.weight_scale` F32. A layer left in f32 in such a file has its BatchNorm
//! folded already, which a bias where TorchVision has none tells.

use super::{Format, Quantisation};
use crate::kernels::Activation;
use crate::quant::{Epilogue, QWeights, check_bias, check_scales, mismatch};
use crate::weights::Weights;
use crate::{Error, Result};
use safetensors::Dtype;
use std::sync::Arc;

/// The BatchNorm behind a convolution.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// Its path in the state_dict.
    pub name: String,
    /// Its epsilon.
    pub eps: f32,
}

/// A convolution or linear layer that can be int8.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its path in the state_dict.
    pub name: String,
    /// Of `name.weight` in the file.
    pub shape: Vec<usize>,
    /// The BatchNorm to fold; where there is none `name.bias` is there.
    pub batch_norm: Option<BatchNorm>,
    /// Whether each output channel has an input channel of its own.
    pub is_depthwise: bool,
    /// Input channels: of a linear layer those of the picture that it reads.
    pub channels: usize,
    /// Applied to the output.
    pub activation: Activation,
    /// The activations that it reads; none where it cannot be int8.
    pub inputs: Vec<String>,
}

/// An affine map of a layer's output: y * scale + shift, one a channel.
#[derive(Debug)]
pub struct Fold {
    /// Goes into the weights.
    pub scale: Vec<f32>,
    /// The bias.
    pub shift: Vec<f32>,
}

impl Fold {
    /// A bias alone.
    fn bias(shift: Vec<f32>) -> Fold {
        Fold { scale: vec![1.0; shift.len()], shift }
    }

    fn batch_norm(weights: &dyn Weights, BatchNorm { name, eps }: &BatchNorm, channels: usize) -> Result<Fold> {
        let read = |leaf: &str| weights.f32(&format!("{name}.{leaf}"), &[channels]);
        let (gamma, beta, mean, var) = (read("weight")?, read("bias")?, read("running_mean")?, read("running_var")?);
        if var.iter().any(|v| v + eps <= 0.0) {
            let message = format!("{name}.running_var has a negative variance; export the weights of the model again");
            return Err(Error::WeightsMismatch(message));
        }
        let scale: Vec<f32> = gamma.iter().zip(&var).map(|(g, v)| g / (v + eps).sqrt()).collect();
        let shift: Vec<f32> = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        if scale.iter().chain(&shift).any(|x| !x.is_finite()) {
            let message = format!("{name} has values that are no finite map; export the weights of the model again");
            return Err(Error::WeightsMismatch(message));
        }
        Ok(Fold { scale, shift })
    }
}

impl Layer {
    fn name_of(&self, leaf: &str) -> String {
        format!("{}.{leaf}", self.name)
    }

    /// The activation that it makes.
    pub fn output(&self) -> String {
        self.name_of("output")
    }

    /// Output channels.
    pub fn out_channels(&self) -> usize {
        self.shape[0]
    }

    /// Weights of an output channel.
    pub fn k(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Where in a row of PyTorch's order, (c, y, x), the elements of ours lie, (y, x, c).
    pub fn channels_last(&self) -> impl Iterator<Item = usize> {
        let channels = if self.is_depthwise { 1 } else { self.channels };
        let taps = self.k() / channels;
        (0..taps).flat_map(move |tap| (0..channels).map(move |c| c * taps + tap))
    }

    /// What is folded into the weights: the BatchNorm, or a bias alone. The weight's shape and dtype are held against the file's here,
    /// before anybody makes room for it.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] names the tensor that is missing or cannot be.
    pub fn fold(&self, weights: &dyn Weights) -> Result<Fold> {
        weights.check(&self.name_of("weight"), &self.shape, weights.float_dtypes())?;
        let n = self.out_channels();
        match &self.batch_norm {
            Some(batch_norm) if weights.info(&self.name_of("bias")).is_none() => {
                Fold::batch_norm(weights, batch_norm, n)
            }
            _ => Ok(Fold::bias(weights.f32(&self.name_of("bias"), &[n])?)),
        }
    }

    /// Calls `each` with the rows of the weight.
    ///
    /// # Errors
    /// As for [`Weights::rows`].
    pub fn rows(&self, weights: &dyn Weights, each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        weights.rows(&self.name_of("weight"), &self.shape, each)
    }

    pub(super) fn is_int8(&self, weights: &dyn Weights) -> bool {
        is_int8(weights, &self.name)
    }

    /// The format of what it makes, which comes as floats unless it is int8.
    pub(super) fn output_format(&self, weights: &dyn Weights) -> Result<Format> {
        Format::load(weights, &self.output(), self.out_channels())
    }

    /// The integers of the weight, [n, taps, c] or, depthwise, [taps, n].
    pub(super) fn int8_weight(&self, weights: &dyn Weights) -> Result<Vec<i8>> {
        weights.check(&self.name_of("weight"), &self.shape, &[Dtype::I8])?;
        let (n, k) = (self.out_channels(), self.k());
        let mut weight = vec![0; n * k];
        weights.byte_rows(&self.name_of("weight"), &self.shape, Dtype::I8, &mut |o, row| {
            let (first, pitch) = if self.is_depthwise { (o, n) } else { (o * k, 1) };
            self.channels_last().enumerate().for_each(|(i, from)| weight[first + i * pitch] = row[from] as i8);
        })?;
        Ok(weight)
    }

    /// The int8 weights and the epilogue. All that can be wrong but the weights' own values is found before there is room for them.
    pub(super) fn int8(
        &self,
        weights: &dyn Weights,
        output: &Format,
        residual: Option<&Format>,
    ) -> Result<(QWeights, Epilogue)> {
        let n = self.out_channels();
        let scale = weight_scale(weights, &self.name, n)?;
        let bias = weights.f32(&self.name_of("bias"), &[n])?;
        check_bias(&self.name, &bias)?;
        let quantised = QWeights::new(&self.name_of("weight"), self.int8_weight(weights)?, scale)?;
        let output = output.quantisation.as_ref().map(|q| &q.params);
        let residual = residual.filter(|r| r.is_bytes).and_then(|r| r.quantisation.as_ref()).map(|q| &q.params);
        let epilogue = Epilogue::new(&self.name, &quantised, &bias, self.activation, output, residual)?;
        Ok((quantised, epilogue))
    }

    /// The same by its names in the file.
    pub(super) fn in_file(self, weights: &dyn Weights) -> Layer {
        let batch_norm = self.batch_norm.map(|bn| BatchNorm { name: weights.path(&bn.name), ..bn });
        Layer { name: weights.path(&self.name), batch_norm, ..self }
    }

    /// How the input of an int8 layer is quantised.
    pub(super) fn input_of_int8(&self, input: &Format) -> Result<Arc<Quantisation>> {
        let Some(quantisation) = &input.quantisation else {
            let what = match self.inputs.as_slice() {
                [] => "is int8, but can only be f32".to_string(),
                names => format!("is int8, but {} has no one scale and zero point a channel", names.join(", ")),
            };
            return Err(mismatch(&self.name, &what));
        };
        Ok(quantisation.clone())
    }
}

/// Whether the weight of layer `name` is stored in int8.
pub(super) fn is_int8(weights: &dyn Weights, name: &str) -> bool {
    weights.info(&format!("{name}.weight")).is_some_and(|info| info.dtype == Dtype::I8)
}

/// The scales [n] of the int8 weight of layer `name`.
pub(super) fn weight_scale(weights: &dyn Weights, name: &str, n: usize) -> Result<Vec<f32>> {
    let name = format!("{name}.weight_scale");
    let scale = weights.f32(&name, &[n])?;
    check_scales(&name, &scale)?;
    Ok(scale)
}
