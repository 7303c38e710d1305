//! What a file holds, for those who do not know its architecture: converting, inferring, listing.

use super::Weights;
use ::safetensors::Dtype;

/// A tensor of a state_dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// TorchVision's name.
    pub name: String,
    /// As TorchVision has it: [out, in, h, w] for a convolution.
    pub shape: Vec<usize>,
    /// As stored.
    pub dtype: Dtype,
}

/// Weights that can say what they hold.
pub trait StateDict: Weights {
    /// Every tensor, sorted by name.
    fn tensors(&self) -> Vec<TensorInfo>;
}
