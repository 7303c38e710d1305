//! What a file holds, for those who do not know its architecture: converting, inferring, listing.

use super::{Weights, mismatch};
use crate::Result;
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

impl TensorInfo {
    /// Holds it against `shape` and `dtypes`.
    pub(super) fn check(&self, shape: &[usize], dtypes: &[Dtype]) -> Result<()> {
        if self.shape != shape {
            return Err(mismatch(&self.name, format_args!("has shape {:?}, not {shape:?}", self.shape)));
        }
        if !dtypes.contains(&self.dtype) {
            let wanted: Vec<String> = dtypes.iter().map(|d| format!("{d:?}")).collect();
            return Err(mismatch(&self.name, format_args!("is {:?}, not {}", self.dtype, wanted.join(" or "))));
        }
        Ok(())
    }
}

/// Weights that can say what they hold.
pub trait StateDict: Weights {
    /// Every tensor, sorted by name.
    fn tensors(&self) -> Vec<TensorInfo>;
}
