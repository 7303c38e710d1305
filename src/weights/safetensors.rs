//! Weights in a .safetensors file, as `save_file(model.state_dict())` writes it: F32 or F16.

use super::{Weights, mismatch};
use crate::{Error, Result};
use ::safetensors::{Dtype, SafeTensorError, SafeTensors};
use half::f16;

/// A file's bytes with its header read.
#[derive(Debug)]
pub struct SafeTensorsFile<'a> {
    tensors: SafeTensors<'a>,
}

impl<'a> SafeTensorsFile<'a> {
    /// Reads the header of `bytes`, the whole file.
    ///
    /// # Errors
    /// [`Error::WeightsTruncated`] when the file ends too early, [`Error::WeightsMismatch`] when it is another kind of file.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        if bytes.trim_ascii_start().starts_with(b"<") && !is_header(bytes) {
            let message = "the weights are a web page, not a .safetensors file; check the address they came from";
            return Err(Error::WeightsMismatch(message.to_string()));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| refuse(bytes, &error))?;
        Ok(SafeTensorsFile { tensors })
    }
}

/// Whether the first bytes can be a header: its length, then an opening brace.
fn is_header(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// Tells a file cut short from a file of another kind.
fn refuse(bytes: &[u8], error: &SafeTensorError) -> Error {
    use SafeTensorError::{HeaderTooSmall, InvalidHeaderLength, MetadataIncompleteBuffer};
    let short = matches!(error, HeaderTooSmall | InvalidHeaderLength | MetadataIncompleteBuffer);
    if short && (bytes.len() <= 8 || is_header(bytes)) {
        let message = format!("the weights end too early, after {} bytes; load the file again", bytes.len());
        return Error::WeightsTruncated(message);
    }
    Error::WeightsMismatch(format!("the weights are not a .safetensors file ({error}); check the file"))
}

impl Weights for SafeTensorsFile<'_> {
    fn contains(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }

    fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.tensors.tensor(name).map_err(|_| mismatch(name, "is missing"))?;
        if tensor.shape() != shape {
            return Err(mismatch(name, format_args!("has shape {:?}, not {shape:?}", tensor.shape())));
        }
        let data = tensor.data();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => data.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            other => return Err(mismatch(name, format_args!("is {other:?}, not F32 or F16"))),
        };
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(mismatch(name, format_args!("holds {} at {i}", values[i])));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::safetensors::tensor::{TensorView, serialize};

    fn file(dtype: Dtype, shape: &[usize], data: &[u8]) -> Vec<u8> {
        let view = TensorView::new(dtype, shape.to_vec(), data).unwrap();
        serialize([("a.weight", view)], None).unwrap()
    }

    fn refused(bytes: &[u8]) -> Error {
        SafeTensorsFile::new(bytes).unwrap_err()
    }

    #[test]
    fn reads_f32_and_f16() {
        let values = [1.5f32, -0.25];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let whole = file(Dtype::F32, &[2, 1], &bytes);
        assert_eq!(SafeTensorsFile::new(&whole).unwrap().f32("a.weight", &[2, 1]).unwrap(), values);
        let bytes: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let whole = file(Dtype::F16, &[2], &bytes);
        assert_eq!(SafeTensorsFile::new(&whole).unwrap().f32("a.weight", &[2]).unwrap(), values);
    }

    #[test]
    fn a_file_cut_anywhere_is_truncated() {
        let whole = file(Dtype::F32, &[2], &[0; 8]);
        for len in 0..whole.len() {
            assert_eq!(refused(&whole[..len]).code(), "E_WEIGHTS_TRUNCATED", "{len} of {}", whole.len());
        }
    }

    #[test]
    fn another_kind_of_file_is_a_mismatch() {
        for bytes in
            [&b"<!doctype html><title>Not found</title>"[..], b"\x89PNG\r\n\x1a\n0000000000000000", &[0xff; 64]]
        {
            assert_eq!(refused(bytes).code(), "E_WEIGHTS_MISMATCH", "{bytes:?}");
        }
    }

    #[test]
    fn a_tensor_that_is_not_as_asked_names_itself() {
        let whole = file(Dtype::F32, &[2], &[0, 0, 0x80, 0x7f, 0, 0, 0, 0]);
        let weights = SafeTensorsFile::new(&whole).unwrap();
        for (name, shape, what) in
            [("a.weight", [2], "holds inf at 0"), ("a.weight", [3], "has shape [2], not [3]"), ("b", [2], "is missing")]
        {
            let message = weights.f32(name, &shape).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name} {what}")), "{message}");
        }
        let whole = file(Dtype::I64, &[1], &[0; 8]);
        assert!(SafeTensorsFile::new(&whole).unwrap().f32("a.weight", &[1]).unwrap_err().to_string().contains("I64"));
    }
}
