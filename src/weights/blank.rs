//! The weights of a file whose values have not come yet: its names, shapes and dtypes, with values that any builder takes.

use super::{SafeTensorsFile, TensorInfo, Weights};
use crate::Result;
use ::safetensors::Dtype;

/// Zeros, and ones for scales and variances, under the names of a file whose header is there.
pub struct Blank<'a>(pub &'a SafeTensorsFile<'a>);

/// Calls `each` with every row of a tensor of `shape`, filled with `value`.
fn filled<T: Copy>(shape: &[usize], value: T, each: &mut dyn FnMut(usize, &[T])) {
    let row = vec![value; shape.iter().skip(1).product()];
    (0..shape.first().map_or(1, |n| *n)).for_each(|i| each(i, &row));
}

impl Weights for Blank<'_> {
    fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        self.check(name, shape, self.float_dtypes())?;
        filled(shape, if name.ends_with("scale") || name.ends_with("running_var") { 1.0 } else { 0.0 }, each);
        Ok(())
    }

    fn byte_rows(&self, name: &str, shape: &[usize], dtype: Dtype, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.check(name, shape, &[dtype])?;
        filled(shape, 0, each);
        Ok(())
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.0.info(name)
    }

    fn is_quantised(&self) -> bool {
        self.0.is_quantised()
    }
}
