//! torchvision/ops/misc.py's SqueezeExcitation, as MobileNetV3 sets it: scale = hardsigmoid(fc2(relu(fc1(mean of x)))).
//!
//! The mean comes as sums of rows from the depthwise epilogue, and the scale goes into the projection's weights, so that
//! the picture is not read again.

use super::{Context, Conv2d};
use crate::Result;
use crate::kernels::Activation;
use crate::weights::Weights;

/// The two layers.
#[derive(Debug)]
pub struct SqueezeExcitation {
    fc1: Conv2d,
    fc2: Conv2d,
}

impl SqueezeExcitation {
    /// Reads `name.fc1` and `name.fc2`.
    pub fn load(weights: &dyn Weights, name: &str, channels: usize, squeeze: usize) -> Result<Self> {
        let linear = |leaf: &str, from: usize, to: usize, activation| -> Result<Conv2d> {
            let weight = weights.f32(&format!("{name}.{leaf}.weight"), &[to, from, 1, 1])?;
            let bias = weights.f32(&format!("{name}.{leaf}.bias"), &[to])?;
            Ok(Conv2d::new(&weight, &bias, from, 1, 1, activation))
        };
        Ok(SqueezeExcitation {
            fc1: linear("fc1", channels, squeeze, Activation::Relu)?,
            fc2: linear("fc2", squeeze, channels, Activation::Hardsigmoid)?,
        })
    }

    /// The scale of each channel, [channels], from the sums of each row of `pixels` pixels in all, [rows, channels].
    pub fn scale(&self, cx: &mut Context, row_sums: &[f32], channels: usize, pixels: usize) -> crate::tensor::Tensor {
        let mut mean = cx.workspace.tensor(1, 1, channels, 0);
        mean.data_mut().fill(0.0);
        for row in row_sums.chunks_exact(channels) {
            mean.data_mut().iter_mut().zip(row).for_each(|(m, s)| *m += s);
        }
        mean.data_mut().iter_mut().for_each(|m| *m /= pixels as f32);
        let squeezed = self.fc1.forward(cx, &mean, 0, None, None);
        let scale = self.fc2.forward(cx, &squeezed, 0, None, None);
        cx.workspace.give_tensor(mean);
        cx.workspace.give_tensor(squeezed);
        scale
    }
}
