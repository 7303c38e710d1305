//! PyTorch's checkpoints: `torch.save(model.state_dict(), "x.pth")` of torch 1.6 and later.
//!
//! A zip archive, its records stored uncompressed: NAME/data.pkl, the [`pickle`](super::pickle) of a dictionary whose tensors
//! view storages; NAME/data/0, NAME/data/1, …, the storages; NAME/byteorder. The dictionary may lie in a training checkpoint
//! under the names of [`WRAPPERS`].
//!
//! A file is not trusted: its records do not overlap and are as long as the pickle says, their checksums are checked, and the
//! tensors take no more bytes than the file. They are read from the file's own bytes; nothing is unpacked.

use super::pickle::{Id, Pickle, Value, refuse, shown};
use super::torch_tensor::{DTYPES, TorchTensor};
use super::{StateDict, TensorInfo, Weights, mismatch};
use crate::{Error, Result};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

/// Under which keys training scripts save the state_dict among other things: TorchVision's, Lightning's, PyTorch's tutorial.
const WRAPPERS: [&str; 3] = ["model", "state_dict", "model_state_dict"];

/// How a checkpoint older than torch 1.6 begins: the pickle of torch's magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// How a zip archive begins.
const ZIP: &[u8] = b"PK\x03\x04";

/// How an entry of a zip archive's directory begins.
const ENTRY: &[u8] = b"PK\x01\x02";

/// Bytes that the zip crate may hold for an entry.
const ENTRY_BYTES: usize = 512;

/// Small archives may have as many entries as fill this.
const LEAST_ENTRIES: usize = 4 << 20;

/// A checkpoint's state_dict.
#[derive(Debug)]
pub struct PthFile<'a> {
    tensors: BTreeMap<&'a str, (Arc<TorchTensor<'a>>, &'a [u8])>,
}

impl<'a> PthFile<'a> {
    /// Reads the pickle of `bytes`, the whole file, and checks the storages.
    ///
    /// # Errors
    /// [`Error::WeightsTruncated`] when the archive is damaged or ends too early, [`Error::WeightsMismatch`] when it is of
    /// another kind, refers to anything that a state_dict does not need, or does not hold what it says.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let mut archive = Archive::open(bytes)?;
        let pickle = Pickle::read(archive.record("data.pkl")?, bytes.len())?;
        let views: BTreeMap<_, _> = tensors_of(&pickle, state_dict(&pickle)?).collect();
        let total = views.values().fold(0usize, |sum, view| sum.saturating_add(view.bytes()));
        if total > bytes.len() {
            let size = bytes.len();
            return Err(refuse(format_args!("has tensors of {total} bytes that share a file of {size}")));
        }
        let mut storages = BTreeMap::new();
        let mut tensors = BTreeMap::new();
        for (name, view) in views {
            let data = match storages.get(view.storage.key) {
                Some(data) => *data,
                None => archive.record(&format!("data/{}", view.storage.key))?,
            };
            if view.storage.len.checked_mul(view.storage.bytes_each()) != Some(data.len()) {
                let (len, dtype) = (view.storage.len, view.storage.dtype);
                return Err(refuse(format_args!("stores {} bytes for {len} {dtype:?} of {}", data.len(), shown(name))));
            }
            storages.insert(view.storage.key, data);
            tensors.insert(name, (view, data));
        }
        Ok(PthFile { tensors })
    }
}

/// The pairs of a dictionary whose key is a string.
fn entries<'p, 'a>(pickle: &'p Pickle<'a>, dict: Id) -> impl DoubleEndedIterator<Item = (&'a str, Id)> + 'p {
    let pairs = match pickle.value(dict) {
        Value::Dict(pairs) => pairs.as_slice(),
        _ => &[],
    };
    pairs.iter().filter_map(|(key, value)| match pickle.value(*key) {
        Value::Str(key) => Some((*key, *value)),
        _ => None,
    })
}

/// The tensors of a dictionary; where a name comes twice, the last is Python's too.
fn tensors_of<'p, 'a>(pickle: &'p Pickle<'a>, dict: Id) -> impl Iterator<Item = (&'a str, Arc<TorchTensor<'a>>)> + 'p {
    entries(pickle, dict).filter_map(|(name, id)| match pickle.value(id) {
        Value::Tensor(tensor) => Some((name, tensor.clone())),
        _ => None,
    })
}

/// The dictionary of tensors: the pickle's root, or what it has under one of [`WRAPPERS`].
fn state_dict(pickle: &Pickle) -> Result<Id> {
    let wrapped = WRAPPERS.iter().filter_map(|wrapper| {
        let found = entries(pickle, pickle.root).rev().find(|(key, _)| key == wrapper);
        found.map(|(_, id)| id)
    });
    let mut candidates = std::iter::once(pickle.root).chain(wrapped);
    candidates.find(|id| tensors_of(pickle, *id).next().is_some()).ok_or_else(|| {
        let keys: Vec<_> = entries(pickle, pickle.root).map(|(key, _)| shown(key)).take(8).collect();
        refuse(format_args!("has no tensors by name, nor under {WRAPPERS:?}; its keys are {keys:?}"))
    })
}

impl Weights for PthFile<'_> {
    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let (view, data) = self.tensors.get(name).ok_or_else(|| mismatch(name, "is missing"))?;
        self.check(name, shape, self.float_dtypes())?;
        let mut bad = None;
        view.rows(data, &mut |row, values| match values.iter().position(|v| !v.is_finite()) {
            Some(i) if bad.is_none() => bad = Some((values[i], row * values.len() + i)),
            None if bad.is_none() => each(row, values),
            _ => {}
        });
        match bad {
            Some((value, at)) => Err(mismatch(name, format_args!("holds {value} at {at}"))),
            None => Ok(()),
        }
    }

    fn float_dtypes(&self) -> &'static [Dtype] {
        &DTYPES
    }

    fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|tensor| info(name, tensor))
    }
}

fn info(name: &str, (view, _): &(Arc<TorchTensor>, &[u8])) -> TensorInfo {
    TensorInfo { name: name.to_string(), shape: view.shape.clone(), dtype: view.storage.dtype }
}

impl StateDict for PthFile<'_> {
    fn tensors(&self) -> Vec<TensorInfo> {
        self.tensors.iter().map(|(name, tensor)| info(name, tensor)).collect()
    }
}

/// The zip archive, whose records are slices of the file.
struct Archive<'a> {
    bytes: &'a [u8],
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// The archive's one folder.
    folder: String,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        if bytes.starts_with(LEGACY) {
            return Err(refuse(
                "was saved before torch 1.6, in the format of that time; load it in torch 1.6 or later",
            ));
        }
        if !bytes.starts_with(ZIP) && !ZIP.starts_with(bytes) {
            return Err(refuse("is no zip archive, as torch.save writes"));
        }
        // Counted where they may be, as the crate's own list of them is what takes the memory.
        let entries = bytes.windows(ENTRY.len()).filter(|window| *window == ENTRY).count();
        if entries * ENTRY_BYTES > bytes.len().max(LEAST_ENTRIES) {
            return Err(refuse(format_args!("has {entries} records, more than a file of its size has tensors")));
        }
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        if zip.has_overlapping_entries().map_err(damaged)? {
            return Err(refuse("has records that overlap"));
        }
        let names: Vec<_> = zip.file_names_raw().map(String::from_utf8_lossy).collect();
        if names.iter().any(|name| name.ends_with("/constants.pkl")) {
            return Err(refuse("is a TorchScript archive: a program; load it with torch.jit.load"));
        }
        let folder = names.iter().find_map(|name| name.strip_suffix("/data.pkl").filter(|f| !f.contains('/')));
        let folder = folder.ok_or_else(|| refuse("is a zip archive without data.pkl"))?.to_string();
        let mut archive = Archive { bytes, zip, folder };
        // Before torch 2.1 there was no such record, and machines were little-endian.
        if archive.index("byteorder").is_ok() && archive.record("byteorder")? != b"little" {
            return Err(refuse("was saved on a big-endian machine; save it on another"));
        }
        Ok(archive)
    }

    fn index(&self, name: &str) -> Result<usize> {
        let name = format!("{}/{name}", self.folder);
        self.zip.index_for_name(&name).ok_or_else(|| refuse(format_args!("has no record {name}")))
    }

    /// The bytes of a record, checked.
    fn record(&mut self, name: &str) -> Result<&'a [u8]> {
        let index = self.index(name)?;
        let bad = |error| match error {
            ZipError::Io(_) | ZipError::InvalidArchive(_) => damaged(error),
            other => refuse(format_args!("has a record {name} that torch.save does not write ({other})")),
        };
        let mut record = self.zip.by_index(index).map_err(bad)?;
        let (start, size) = (record.data_start(), record.size());
        if record.compression() != CompressionMethod::Stored || record.compressed_size() != size {
            return Err(refuse(format_args!("has a compressed record {name}, as torch.save does not write")));
        }
        std::io::copy(&mut record, &mut std::io::sink()).map_err(|error| damaged(error.into()))?;
        let start = start.and_then(|start| usize::try_from(start).ok());
        let end = start.and_then(|start| start.checked_add(usize::try_from(size).ok()?));
        let data = start.zip(end).and_then(|(start, end)| self.bytes.get(start..end));
        data.ok_or_else(|| damaged(ZipError::InvalidArchive(name.to_string().into())))
    }
}

fn damaged(error: ZipError) -> Error {
    Error::WeightsTruncated(format!("the checkpoint's archive is damaged or ends too early ({error}); load it again"))
}
