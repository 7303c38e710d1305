//! Model weights by TorchVision's state_dict names. A file is not trusted: what is read is checked against what the builder asks for.

mod safetensors;

pub use safetensors::{Metadata, SafeTensorsFile};

use crate::{Error, Result};

/// Where a builder reads its tensors from.
pub trait Weights {
    /// Whether there is a tensor of this name.
    fn contains(&self, name: &str) -> bool;

    /// The floats of tensor `name`, in C order.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] when it is missing, of another shape or dtype, or holds a value that is not finite.
    fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;
}

/// An error that names the tensor.
fn mismatch(name: &str, what: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!("{name} {what}; load the weights of this architecture, exported by save_file"))
}
