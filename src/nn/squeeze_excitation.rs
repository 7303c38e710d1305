//! torchvision/ops/misc.py's SqueezeExcitation, as MobileNetV3 sets it: x * hardsigmoid(fc2(relu(fc1(mean of x)))).
//!
//! The mean comes as sums of rows from the depthwise epilogue. In f32 the gate goes into the projection's weights, so that
//! the picture is not read again; bytes are multiplied in place, for a dot of integers has no room for a gate. The two layers are
//! always computed in f32; a file may store them in int8.

use super::layer::{is_int8, weight_scale};
use super::map::{Format, Map, View};
use super::{Context, Depthwise2d, Origin, RowSums};
use crate::Result;
use crate::kernels::Activation;
use crate::kernels::elementwise_i8::scale_i8;
use crate::kernels::gemv_f32::Gemv;
use crate::kernels::pool_f32::mean_pool;
use crate::kernels::pool_i8::mean_pool_i8;
use crate::quant::hardsigmoid;
use crate::simd::Best;
use crate::tensor::Tensor;
use crate::weights::Weights;
use safetensors::Dtype;

/// The two layers.
#[derive(Debug)]
pub struct SqueezeExcitation {
    fc1: Gemv,
    fc2: Gemv,
    squeeze: usize,
    /// The name of what it multiplies.
    input: String,
    output: Format,
}

impl SqueezeExcitation {
    /// Reads `name.fc1` and `name.fc2`, behind `depthwise`.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing, of another shape, or cannot be.
    pub fn load(
        weights: &dyn Weights,
        name: &str,
        depthwise: &Depthwise2d,
        channels: usize,
        squeeze: usize,
    ) -> Result<Self> {
        let output = Format::load(weights, &format!("{name}.output"), channels)?;
        Ok(SqueezeExcitation {
            fc1: linear(weights, &format!("{name}.fc1"), (channels, squeeze), Activation::Relu)?,
            fc2: linear(weights, &format!("{name}.fc2"), (squeeze, channels), Activation::Identity)?,
            squeeze,
            input: depthwise.output().names[0].clone(),
            output: if depthwise.output().is_bytes { output.of_int8() } else { output },
        })
    }

    /// What comes out.
    pub fn output(&self) -> &Format {
        &self.output
    }

    /// `x` times the gate; or `x` as it is and the gate, [1, 1, c], for a layer behind in f32 to take into its weights.
    pub fn forward(&self, cx: &mut Context, x: Map, row_sums: Option<RowSums>) -> (Map, Option<Tensor>) {
        let gate = self.gate(cx, &x, row_sums);
        if cx.activations.is_some() {
            self.watch_product(cx, &x, gate.data());
        }
        let product = match (x, &self.output.quantisation) {
            (Map::U8(mut x, from), Some(to)) => {
                let mut room = cx.workspace.take(x.c);
                scale_i8::<Best>(&mut x, &from.affine, gate.data(), &to.affine, &mut room);
                cx.workspace.give(room);
                Map::U8(x, to.clone())
            }
            (Map::F32(mut x), Some(_)) => {
                multiply(&mut x, gate.data());
                Map::F32(x)
            }
            (x, None) => return (x, Some(gate)),
        };
        cx.workspace.give_tensor(gate);
        (product, None)
    }

    /// hardsigmoid(fc2(relu(fc1(mean of x)))), [1, 1, c].
    fn gate(&self, cx: &mut Context, x: &Map, row_sums: Option<RowSums>) -> Tensor {
        let (h, w, c) = x.shape();
        let mut mean = match (row_sums, x) {
            (Some(RowSums::F32(sums)), _) => {
                let mut mean = cx.workspace.tensor(1, 1, c, 0);
                mean_pool(sums.chunks_exact(c), h * w, mean.data_mut());
                cx.workspace.give(sums);
                mean
            }
            (Some(RowSums::U8(sums)), Map::U8(_, quantisation)) => {
                let mut mean = cx.workspace.tensor(1, 1, c, 0);
                mean_pool_i8(&sums, h * w, &quantisation.params, mean.data_mut());
                cx.workspace.give(sums);
                mean
            }
            _ => x.mean(cx),
        };
        let mut squeezed = cx.workspace.tensor(1, 1, self.squeeze, 0);
        self.fc1.run::<Best>(mean.data(), squeezed.data_mut());
        self.fc2.run::<Best>(squeezed.data(), mean.data_mut());
        mean.data_mut().iter_mut().for_each(|x| *x = hardsigmoid(*x));
        cx.workspace.give_tensor(squeezed);
        mean
    }

    /// Shows the product to who watches the activations: in f32 it is never made otherwise.
    fn watch_product(&self, cx: &mut Context, x: &Map, gate: &[f32]) {
        let (h, w, c) = x.shape();
        let mut product = cx.workspace.tensor(h, w, c, 0);
        let x = View::from(x).f32(cx);
        (0..h).for_each(|y| product.row_mut(y).copy_from_slice(x.row(y)));
        x.give(cx);
        multiply(&mut product, gate);
        cx.watch(&self.output.names[0], &product, Origin::Gated(&self.input));
        cx.workspace.give_tensor(product);
    }
}

/// The layer `name` of one pixel, whose weight [n, k, 1, 1] may be stored as int8 with a scale a row.
fn linear(weights: &dyn Weights, name: &str, (k, n): (usize, usize), activation: Activation) -> Result<Gemv> {
    let (weight, shape) = (format!("{name}.weight"), [n, k, 1, 1]);
    let bias = weights.f32(&format!("{name}.bias"), &[n])?;
    if !is_int8(weights, name) {
        return Ok(Gemv::new(&weights.f32(&weight, &shape)?, bias, activation));
    }
    weights.check(&weight, &shape, &[Dtype::I8])?;
    let scale = weight_scale(weights, name, n)?;
    let mut values = Vec::with_capacity(n * k);
    weights.byte_rows(&weight, &shape, Dtype::I8, &mut |_, row| values.extend(row.iter().map(|w| *w as i8)))?;
    Ok(Gemv::int8(&values, scale, bias, activation))
}

/// Multiplies each pixel of `x` by `gate` [c].
fn multiply(x: &mut Tensor, gate: &[f32]) {
    for y in 0..x.h {
        x.row_mut(y)
            .chunks_exact_mut(gate.len())
            .for_each(|pixel| pixel.iter_mut().zip(gate).for_each(|(x, g)| *x *= g));
    }
}
