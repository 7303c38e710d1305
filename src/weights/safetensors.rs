//! Weights in a .safetensors file, as `save_file(model.state_dict())` writes it: F32 or F16.

use super::{Weights, mismatch};
use crate::{Error, Result};
use ::safetensors::tensor::TensorView;
use ::safetensors::{Dtype, SafeTensorError, SafeTensors};
use half::f16;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// What the exporter says of the model: the JSON of `__metadata__["mobilesight"]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Metadata {
    /// The architecture, by TorchVision's builder name.
    pub arch: String,
    /// The labels, by class index.
    pub labels: Vec<String>,
    /// The builder's arguments; null when they are the defaults.
    #[serde(default)]
    pub config: Value,
    /// The preprocessing; null when it is the architecture's own.
    #[serde(default)]
    pub preset: Value,
    /// Where the weights come from.
    pub source: Option<String>,
    /// Their licence.
    pub license: Option<String>,
}

/// A file's bytes with its header read.
#[derive(Debug)]
pub struct SafeTensorsFile<'a> {
    bytes: &'a [u8],
    tensors: SafeTensors<'a>,
}

impl<'a> SafeTensorsFile<'a> {
    /// Reads the header of `bytes`, the whole file.
    ///
    /// # Errors
    /// [`Error::WeightsTruncated`] when the file ends too early, [`Error::WeightsMismatch`] when it is another kind of file.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        if bytes.trim_ascii_start().starts_with(b"<") && !is_header(bytes) {
            let message = "the weights are an HTML page, not a .safetensors file; check the address they came from";
            return Err(Error::WeightsMismatch(message.to_string()));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| refuse(bytes, &error))?;
        Ok(SafeTensorsFile { bytes, tensors })
    }

    /// What the exporter says of the model, when it does.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] when it is not the JSON of a [`Metadata`].
    pub fn metadata(&self) -> Result<Option<Metadata>> {
        let (_, header) = SafeTensors::read_metadata(self.bytes).map_err(|error| refuse(self.bytes, &error))?;
        let Some(json) = header.metadata().as_ref().and_then(|m| m.get("mobilesight")) else { return Ok(None) };
        let parsed = serde_json::from_str(json);
        parsed.map(Some).map_err(|error| mismatch("__metadata__.mobilesight", format_args!("cannot be read ({error})")))
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'a>> {
        self.tensors.tensor(name).map_err(|_| mismatch(name, "is missing"))
    }
}

/// Whether the first bytes can be a header: its length, then an opening brace.
fn is_header(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}

/// Whether the file ends before its header, or the data its header lists, does.
fn is_short(bytes: &[u8], error: &SafeTensorError) -> bool {
    use SafeTensorError::{HeaderTooSmall, InvalidHeaderLength, MetadataIncompleteBuffer};
    match error {
        HeaderTooSmall => true,
        InvalidHeaderLength => bytes.len() <= 8 || is_header(bytes),
        // The same error tells of bytes past the end.
        MetadataIncompleteBuffer => listed_end(bytes).is_none_or(|end| bytes.len() < end),
        _ => false,
    }
}

/// Where the last tensor that the header lists ends.
fn listed_end(bytes: &[u8]) -> Option<usize> {
    let header = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?.checked_add(8)?;
    let listed: HashMap<String, Value> = serde_json::from_slice(bytes.get(8..header)?).ok()?;
    let last = listed.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64()).max().unwrap_or(0);
    header.checked_add(usize::try_from(last).ok()?)
}

/// Tells a file cut short from a file of another kind.
fn refuse(bytes: &[u8], error: &SafeTensorError) -> Error {
    if is_short(bytes, error) {
        let message = format!("the weights end too early, after {} bytes; load the file again", bytes.len());
        return Error::WeightsTruncated(message);
    }
    Error::WeightsMismatch(format!("the weights are not a .safetensors file ({error}); check the file"))
}

impl Weights for SafeTensorsFile<'_> {
    fn f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensor = self.tensor(name)?;
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

    fn contains(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::safetensors::tensor::serialize;

    fn file(dtype: Dtype, shape: &[usize], data: &[u8], json: Option<&str>) -> Vec<u8> {
        let view = TensorView::new(dtype, shape.to_vec(), data).unwrap();
        let info = json.map(|j| HashMap::from([("mobilesight".to_string(), j.to_string())]));
        serialize([("a.weight", view)], info).unwrap()
    }

    fn refused(bytes: &[u8]) -> Error {
        SafeTensorsFile::new(bytes).unwrap_err()
    }

    #[test]
    fn reads_f32_and_f16() {
        let values = [1.5f32, -0.25];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let whole = file(Dtype::F32, &[2, 1], &bytes, None);
        let weights = SafeTensorsFile::new(&whole).unwrap();
        assert_eq!(weights.f32("a.weight", &[2, 1]).unwrap(), values);
        assert!(weights.contains("a.weight") && !weights.contains("b"));
        let bytes: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let whole = file(Dtype::F16, &[2], &bytes, None);
        assert_eq!(SafeTensorsFile::new(&whole).unwrap().f32("a.weight", &[2]).unwrap(), values);
    }

    #[test]
    fn a_file_cut_anywhere_is_truncated() {
        let whole = file(Dtype::F32, &[2], &[0; 8], None);
        for len in 0..whole.len() {
            assert_eq!(refused(&whole[..len]).code(), "E_WEIGHTS_TRUNCATED", "{len} of {}", whole.len());
        }
    }

    #[test]
    fn a_header_longer_than_the_file_is_truncated() {
        let mut whole = file(Dtype::F32, &[2], &[0; 8], None);
        let longer = whole.len() as u64;
        whole[..8].copy_from_slice(&longer.to_le_bytes());
        assert_eq!(refused(&whole).code(), "E_WEIGHTS_TRUNCATED");
    }

    #[test]
    fn bytes_past_the_end_are_not_a_truncation() {
        let mut whole = file(Dtype::F32, &[2], &[0; 8], None);
        whole.push(0);
        assert_eq!(refused(&whole).code(), "E_WEIGHTS_MISMATCH");
    }

    #[test]
    fn another_kind_of_file_is_a_mismatch() {
        for bytes in
            [&b"<!doctype html><title>Not found</title>"[..], b"\x89PNG\r\n\x1a\n0000000000000000", &[0xff; 64]]
        {
            assert_eq!(refused(bytes).code(), "E_WEIGHTS_MISMATCH", "{bytes:?}");
        }
        assert!(refused(b"\n<html></html>").to_string().contains("HTML"));
    }

    #[test]
    fn a_tensor_that_is_not_as_asked_names_itself() {
        for (value, what) in [(f32::NAN, "holds NaN at 0"), (f32::INFINITY, "holds inf at 0")] {
            let whole = file(Dtype::F32, &[1], &value.to_le_bytes(), None);
            let weights = SafeTensorsFile::new(&whole).unwrap();
            for (name, shape, what) in
                [("a.weight", [1], what), ("a.weight", [3], "has shape [1], not [3]"), ("b", [2], "is missing")]
            {
                let message = weights.f32(name, &shape).unwrap_err().to_string();
                assert!(message.starts_with(&format!("{name} {what}")), "{message}");
            }
            assert!(weights.f32("b", &[2]).unwrap_err().to_string().starts_with("b is missing"));
        }
        let whole = file(Dtype::I64, &[1], &[0; 8], None);
        assert!(SafeTensorsFile::new(&whole).unwrap().f32("a.weight", &[1]).unwrap_err().to_string().contains("I64"));
    }

    #[test]
    fn reads_what_the_exporter_says() {
        let with = |json| {
            let whole = file(Dtype::F32, &[1], &[0; 4], json);
            SafeTensorsFile::new(&whole).unwrap().metadata()
        };
        assert_eq!(with(None).unwrap(), None);
        let metadata = with(Some(r#"{"arch":"lraspp","labels":["cat"],"license":"BSD"}"#)).unwrap().unwrap();
        assert_eq!((metadata.arch.as_str(), metadata.labels.len(), &metadata.config), ("lraspp", 1, &Value::Null));
        assert_eq!((metadata.license.as_deref(), metadata.source), (Some("BSD"), None));
        assert_eq!(with(Some("{")).unwrap_err().code(), "E_WEIGHTS_MISMATCH");
    }
}
