//! Model weights by TorchVision's state_dict names. A file is not trusted: what is read is checked against what the builder asks for.

mod blank;
#[cfg(feature = "cli")]
mod pickle;
#[cfg(feature = "cli")]
mod pth;
mod safetensors;
mod state_dict;
#[cfg(feature = "cli")]
mod torch_tensor;

pub use blank::Blank;
#[cfg(feature = "cli")]
pub use pth::PthFile;
pub use safetensors::{Metadata, SafeTensorsFile};
pub use state_dict::{StateDict, TensorInfo};

use crate::{Error, Result};
use ::safetensors::Dtype;

/// Where a builder reads its tensors from.
pub trait Weights {
    /// Whether there is a tensor of this name.
    fn contains(&self, name: &str) -> bool;

    /// Calls `each` with the index and the floats of every row of tensor `name`: what one index of its first dimension
    /// holds, in C order. A large tensor is never in memory as a whole.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] when it is missing, of another shape or dtype, or holds a value that is not finite.
    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()>;

    /// What is stored under `name`: none where nothing is, or where weights are made as they are asked for.
    fn info(&self, _name: &str) -> Option<TensorInfo> {
        None
    }

    /// The dtypes that [`Weights::rows`] makes floats of.
    fn float_dtypes(&self) -> &'static [Dtype] {
        &[Dtype::F32, Dtype::F16]
    }

    /// Holds what the header says of tensor `name`, if there is one, against `shape` and `dtypes`: before memory of that size is
    /// asked for.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] when it says something else, or has no such tensor.
    fn check(&self, name: &str, shape: &[usize], dtypes: &[Dtype]) -> Result<()> {
        match self.info(name) {
            Some(info) => info.check(shape, dtypes),
            None if self.contains(name) => Ok(()),
            None => Err(mismatch(&self.path(name), "is missing")),
        }
    }

    /// Whether some layer has int8 weights.
    fn is_quantised(&self) -> bool {
        false
    }

    /// [`Weights::rows`] for the bytes of a tensor of I8 or U8, as `dtype` says.
    ///
    /// # Errors
    /// As for [`Weights::rows`].
    fn byte_rows(&self, name: &str, _: &[usize], _dtype: Dtype, _: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        Err(mismatch(name, "is missing"))
    }

    /// The name in the file of what a builder calls `name`.
    fn path(&self, name: &str) -> String {
        name.to_string()
    }

    /// The floats of tensor `name`, in C order.
    ///
    /// # Errors
    /// As for [`Weights::rows`].
    fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.check(name, shape, self.float_dtypes())?;
        let mut values = Vec::with_capacity(shape.iter().product());
        self.rows(name, shape, &mut |_, row| values.extend_from_slice(row))?;
        Ok(values)
    }
}

/// An error that names the tensor.
fn mismatch(name: &str, what: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!("{name} {what}; load the weights of this architecture, exported by save_file"))
}
