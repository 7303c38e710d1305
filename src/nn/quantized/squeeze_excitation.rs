//! QuantizableSqueezeExcitation of torchvision/models/quantization/mobilenetv3.py:
//! skip_mul(hardsigmoid(fc2(relu(fc1(mean of x)))), x), each step of it in bytes.

use super::super::{Context, Quantisation};
use super::conv::{Conv2d, Size};
use super::output;
use crate::Result;
use crate::kernels::Activation;
use crate::kernels::elementwise_i8::scale_i8;
use crate::kernels::pool_i8::sum_rows;
use crate::qnnpack::{GATE_SCALE, Table, hardsigmoid, mean};
use crate::simd::Best;
use crate::tensor::{Buffer, Tensor};
use crate::weights::Weights;
use std::sync::Arc;

const POINTWISE: Size = Size { kernel: 1, stride: 1, dilation: 1 };

/// The two layers, the gate and the product.
#[derive(Debug)]
pub struct SqueezeExcitation {
    fc1: Conv2d,
    fc2: Conv2d,
    gate: Box<Table>,
    input: Arc<Quantisation>,
    output: Arc<Quantisation>,
}

/// The mean of `x`, quantised as it is by `params`, [1, 1, c].
pub fn mean_pool(cx: &mut Context, x: &Tensor<u8>, quantisation: &Quantisation) -> Tensor<u8> {
    let mut rows: Buffer<u32> = cx.workspace.take(x.h * x.c);
    sum_rows(x, &mut rows);
    let (sums, others) = rows.split_at_mut(x.c);
    for row in others.chunks_exact(x.c) {
        sums.iter_mut().zip(row).for_each(|(sum, row)| *sum += row);
    }
    let mut out = cx.workspace.tensor_u8(1, 1, 0, quantisation.params.zero_point());
    let means = sums.iter().map(|sum| mean(*sum, x.h * x.w, &quantisation.params));
    out.data_mut().iter_mut().zip(means).for_each(|(to, mean)| *to = mean);
    cx.workspace.give(rows);
    out
}

impl SqueezeExcitation {
    /// Reads the module `name`, behind a depthwise layer whose output is quantised as `input`.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing, of another shape, or cannot be.
    pub fn load(weights: &dyn Weights, name: &str, input: &Arc<Quantisation>, squeeze: usize) -> Result<Self> {
        let c = input.params.scale().len();
        let fc1 = Conv2d::dense(weights, &format!("{name}.fc1"), input, squeeze, POINTWISE, Activation::Relu)?;
        let fc2 = Conv2d::dense(weights, &format!("{name}.fc2"), fc1.output(), c, POINTWISE, Activation::Identity)?;
        Ok(SqueezeExcitation {
            gate: Box::new(hardsigmoid(&fc2.output().params)),
            fc1,
            fc2,
            input: input.clone(),
            output: output(weights, &format!("{name}.skip_mul"), c)?,
        })
    }

    /// How what comes out is quantised.
    pub fn output(&self) -> &Arc<Quantisation> {
        &self.output
    }

    /// Multiplies `x`, in place, by its gate.
    pub fn forward(&self, cx: &mut Context, x: &mut Tensor<u8>) {
        let mean = mean_pool(cx, x, &self.input);
        let squeezed = self.fc1.forward(cx, &mean, 0);
        let excited = self.fc2.forward(cx, &squeezed, 0);
        let mut gate: Buffer = cx.workspace.take(x.c);
        for (gate, q) in gate.iter_mut().zip(excited.data()) {
            *gate = f32::from(self.gate[usize::from(*q)]) * GATE_SCALE;
        }
        let mut room: Buffer = cx.workspace.take(x.c);
        scale_i8::<Best>(x, &self.input.affine, &gate, &self.output.affine, &mut room);
        [gate, room].into_iter().for_each(|floats| cx.workspace.give(floats));
        [mean, squeezed, excited].into_iter().for_each(|bytes| cx.workspace.give_tensor(bytes));
    }
}
