//! Weights in a .safetensors file, as `save_file(model.state_dict())` writes it: F32 or F16, and int8 where it is quantised.

use super::{StateDict, TensorInfo, Weights, mismatch};
use crate::source::Source;
use crate::{Error, Result};
use ::safetensors::Dtype;
use ::safetensors::tensor::Metadata as Header;
use half::f16;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cmp::Ordering;

/// Floats that are read at once, or a row where that is more.
const BLOCK: usize = 1 << 16;

/// What the exporter says of the model: the JSON of `__metadata__["mobilesight"]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
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

impl Metadata {
    /// Refuses labels that are not as many as the classes, where the config states these: a label is found by its class's number.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] has both counts.
    pub fn check_labels(&self) -> Result<()> {
        let labels = self.labels.len();
        match self.config["num_classes"].as_u64() {
            Some(classes) if classes != labels as u64 => Err(Error::WeightsMismatch(format!(
                "there are {labels} labels for {classes} classes; give one for each, in order"
            ))),
            _ => Ok(()),
        }
    }
}

/// A file with its header read; tensors are read from the source one at a time.
pub struct SafeTensorsFile<'a> {
    source: &'a dyn Source,
    header: Header,
    /// Where the tensors' data begins.
    data: usize,
}

impl<'a> SafeTensorsFile<'a> {
    /// Reads the header of `source`, the whole file.
    ///
    /// # Errors
    /// [`Error::WeightsTruncated`] when the file ends too early, [`Error::WeightsMismatch`] when it is another kind of file.
    pub fn new(source: &'a dyn Source) -> Result<Self> {
        let file = Self::head(source)?;
        match (source.len() - file.data).cmp(&file.header.data_len()) {
            Ordering::Less => Err(truncated(source.len())),
            Ordering::Greater => Err(foreign("there are bytes past its last tensor")),
            Ordering::Equal => Ok(file),
        }
    }

    /// Reads the header of `source`, which has that at least; who asks for more than names and shapes must know that it is there.
    ///
    /// # Errors
    /// As for [`SafeTensorsFile::new`].
    pub fn head(source: &'a dyn Source) -> Result<Self> {
        let mut start = [0; 64];
        let known = source.len().min(start.len());
        source.read(0, &mut start[..known]);
        let data = header_end(&start[..known], source.len())?;
        let mut json = vec![0; data - 8];
        source.read(8, &mut json);
        let header: Header = serde_json::from_slice(&json).map_err(foreign)?;
        Ok(SafeTensorsFile { source, header, data })
    }

    /// Bytes of the whole file, as its header has it; a header is not to be trusted.
    pub fn promised_len(&self) -> usize {
        self.data.saturating_add(self.header.data_len())
    }

    /// What the exporter says of the model, when it does.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] when it is not the JSON of a [`Metadata`].
    pub fn metadata(&self) -> Result<Option<Metadata>> {
        let Some(json) = self.header.metadata().as_ref().and_then(|m| m.get("mobilesight")) else { return Ok(None) };
        // As bytes, like the header: for strings serde_json has all of its reader once more, 1.5 kB of the engine, compressed.
        let parsed = serde_json::from_slice(json.as_bytes());
        parsed.map(Some).map_err(|error| mismatch("__metadata__.mobilesight", format_args!("cannot be read ({error})")))
    }
}

/// Where the header of a file of `len` bytes that begins with `start` ends.
fn header_end(start: &[u8], len: usize) -> Result<usize> {
    let is_header = start.get(8) == Some(&b'{');
    if !is_header && start.trim_ascii_start().starts_with(b"<") {
        let message = "the weights are an HTML page, not a .safetensors file; check the address they came from";
        return Err(Error::WeightsMismatch(message.to_string()));
    }
    let (Some(n), true) = (start.first_chunk(), len > 8) else { return Err(truncated(len)) };
    if !is_header {
        return Err(foreign("its header is no JSON object"));
    }
    let end = usize::try_from(u64::from_le_bytes(*n)).ok().and_then(|n| n.checked_add(8));
    end.filter(|end| *end <= len).ok_or_else(|| truncated(len))
}

fn truncated(len: usize) -> Error {
    Error::WeightsTruncated(format!("the weights end too early, after {len} bytes; load the file again"))
}

fn foreign(what: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!("the weights are not a .safetensors file ({what}); check the file"))
}

/// The floats of little-endian `bytes`, into `values`.
fn decode(dtype: Dtype, bytes: &[u8], values: &mut Vec<f32>) {
    values.clear();
    match dtype {
        Dtype::F16 => values.extend(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32())),
        _ => values.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
    }
}

/// Called with the first row, the dtype and the bytes of some rows.
type EachBlock<'a> = dyn FnMut(usize, Dtype, &[u8]) -> Result<()> + 'a;

impl SafeTensorsFile<'_> {
    /// Calls `each` for some rows at a time of tensor `name`, which must be as said.
    fn blocks(&self, name: &str, shape: &[usize], dtypes: &[Dtype], each: &mut EachBlock) -> Result<()> {
        let info = self.header.info(name).ok_or_else(|| mismatch(name, "is missing"))?;
        self.check(name, shape, dtypes)?;
        let row = row_len(shape) * info.dtype.bitsize() / 8;
        // A scalar is one row; an empty row has nothing to read, however many there are.
        let rows = if row == 0 { 0 } else { shape.first().map_or(1, |n| *n) };
        let block = (BLOCK / row_len(shape).max(1)).max(1);
        let mut raw = Vec::new();
        for first in (0..rows).step_by(block) {
            raw.resize(block.min(rows - first) * row, 0);
            self.source.read(self.data + info.data_offsets.0 + first * row, &mut raw);
            each(first, info.dtype, &raw)?;
        }
        Ok(())
    }
}

/// Elements of one index of the first dimension.
fn row_len(shape: &[usize]) -> usize {
    shape.iter().skip(1).product()
}

impl Weights for SafeTensorsFile<'_> {
    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let (row, mut values) = (row_len(shape), Vec::new());
        self.blocks(name, shape, self.float_dtypes(), &mut |first, dtype, bytes| {
            decode(dtype, bytes, &mut values);
            if let Some(i) = values.iter().position(|v| !v.is_finite()) {
                return Err(mismatch(name, format_args!("holds {} at {}", values[i], first * row + i)));
            }
            values.chunks_exact(row).enumerate().for_each(|(i, row)| each(first + i, row));
            Ok(())
        })
    }

    fn byte_rows(&self, name: &str, shape: &[usize], dtype: Dtype, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        self.blocks(name, shape, &[dtype], &mut |first, _, bytes| {
            bytes.chunks_exact(row_len(shape)).enumerate().for_each(|(i, row)| each(first + i, row));
            Ok(())
        })
    }

    fn contains(&self, name: &str) -> bool {
        self.header.info(name).is_some()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let info = self.header.info(name)?;
        Some(TensorInfo { name: name.to_string(), shape: info.shape.clone(), dtype: info.dtype })
    }

    fn is_quantised(&self) -> bool {
        self.header.tensors().values().any(|info| info.dtype == Dtype::I8)
    }
}

impl StateDict for SafeTensorsFile<'_> {
    fn tensors(&self) -> Vec<TensorInfo> {
        let tensors = self.header.tensors().into_iter();
        let info = |(name, info): (String, &::safetensors::tensor::TensorInfo)| TensorInfo {
            name,
            shape: info.shape.clone(),
            dtype: info.dtype,
        };
        let mut tensors: Vec<_> = tensors.map(info).collect();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        tensors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::safetensors::tensor::{TensorView, serialize};
    use std::collections::HashMap;

    fn file(dtype: Dtype, shape: &[usize], data: &[u8], json: Option<&str>) -> Vec<u8> {
        let view = TensorView::new(dtype, shape.to_vec(), data).unwrap();
        let info = json.map(|j| HashMap::from([("mobilesight".to_string(), j.to_string())]));
        serialize([("a.weight", view)], info).unwrap()
    }

    #[test]
    fn a_scalar_is_one_row_and_empty_rows_are_none() {
        let whole = file(Dtype::F32, &[], &2.5f32.to_le_bytes(), None);
        assert_eq!(SafeTensorsFile::new(&whole).unwrap().f32("a.weight", &[]).unwrap(), [2.5]);
        let whole = file(Dtype::F32, &[1 << 60, 0], &[], None);
        assert!(SafeTensorsFile::new(&whole).unwrap().f32("a.weight", &[1 << 60, 0]).unwrap().is_empty());
    }

    fn refused(bytes: &[u8]) -> Error {
        SafeTensorsFile::new(&bytes).err().expect("no weights file")
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
    fn reads_rows_across_blocks() {
        let values: Vec<f32> = (0..3 * BLOCK).map(|i| i as f32).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let whole = file(Dtype::F32, &[96, BLOCK / 32], &bytes, None);
        let mut seen = Vec::new();
        let weights = SafeTensorsFile::new(&whole).unwrap();
        weights.rows("a.weight", &[96, BLOCK / 32], &mut |i, row| seen.push((i, row[0]))).unwrap();
        let want: Vec<(usize, f32)> = (0..96).map(|i| (i, (i * BLOCK / 32) as f32)).collect();
        assert_eq!(seen, want);
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
