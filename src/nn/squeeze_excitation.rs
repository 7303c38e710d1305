//! torchvision/ops/misc.py's SqueezeExcitation, as MobileNetV3 sets it: scale = hardsigmoid(fc2(relu(fc1(mean of x)))).
//!
//! The mean comes as sums of rows from the depthwise epilogue, and the scale goes into the projection's weights, so that
//! the picture is not read again.

use super::{Context, Conv2d};
use crate::Result;
use crate::kernels::Activation;
use crate::kernels::pool_f32::mean_pool;
use crate::tensor::Tensor;
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
        let linear = |leaf: &str, channels, activation| {
            Conv2d::load(weights, &format!("{name}.{leaf}"), channels, 1, activation)
        };
        Ok(SqueezeExcitation {
            fc1: linear("fc1", (channels, squeeze), Activation::Relu)?,
            fc2: linear("fc2", (squeeze, channels), Activation::Hardsigmoid)?,
        })
    }

    /// The scale of each channel, [channels], from the sums of each row of `pixels` pixels in all, [rows, channels].
    pub fn scale(&self, cx: &mut Context, row_sums: &[f32], channels: usize, pixels: usize) -> Tensor {
        let mut mean = cx.workspace.tensor(1, 1, channels, 0);
        mean_pool(row_sums.chunks_exact(channels), pixels, mean.data_mut());
        let squeezed = self.fc1.forward(cx, &mean, 0, None, None);
        let scale = self.fc2.forward(cx, &squeezed, 0, None, None);
        cx.workspace.give_tensor(mean);
        cx.workspace.give_tensor(squeezed);
        scale
    }
}
