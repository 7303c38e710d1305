//! Layers by TorchVision's names, over the kernels. BatchNorm is folded when a layer is loaded.

pub mod boxes;
mod conv;
mod dilated;
pub mod roi_align;
mod squeeze_excitation;

pub use conv::{Conv2d, Conv2dNormActivation, Depthwise2d};
pub use dilated::DilatedConv2d;
pub use squeeze_excitation::SqueezeExcitation;

use crate::tensor::{Tensor, Workspace};

/// Called with a layer's state_dict path and its output, once it is computed.
pub type Observer<'a> = dyn FnMut(&str, &Tensor) + 'a;

/// What a run carries: the memory, and who watches the layers' outputs go by (goldens, calibration, a profile).
#[derive(Default)]
pub struct Context<'a> {
    /// Lends the activations' memory.
    pub workspace: Workspace,
    /// Who watches, if anybody does.
    pub observer: Option<&'a mut Observer<'a>>,
}

impl Context<'_> {
    /// Shows a layer's output to the observer, if there is one.
    pub fn observe(&mut self, name: impl std::fmt::Display, output: &Tensor) {
        if let Some(observer) = &mut self.observer {
            observer(&name.to_string(), output);
        }
    }
}

/// exp(v) over the sum of them all, in place.
pub fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|v| *v = (*v - max).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
}
