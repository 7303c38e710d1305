//! Weights from files: .safetensors, or PyTorch's checkpoints as they are.

use anyhow::{Context, Result};
use mobilesight::models::registry::{describe, describe_state_dict};
use mobilesight::weights::{Metadata, PthFile, SafeTensorsFile, StateDict};
use std::fs::read;
use std::path::Path;

/// How a checkpoint of PyTorch begins: it is a zip archive.
const ZIP: &[u8] = b"PK";
/// How a checkpoint is called that is none, so that the error is about checkpoints.
const EXTENSIONS: [&str; 2] = ["pth", "pt"];

/// A weights file that lies in memory.
pub enum WeightsFile<'a> {
    SafeTensors(SafeTensorsFile<'a>),
    Pth(PthFile<'a>),
}

/// The bytes of file `path`.
pub fn read_weights(path: &Path) -> Result<Vec<u8>> {
    read(path).with_context(|| format!("the weights {} cannot be read", path.display()))
}

impl<'a> WeightsFile<'a> {
    /// The file `path`, whose bytes are `bytes`.
    pub fn new(path: &Path, bytes: &'a Vec<u8>) -> mobilesight::Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let is_pth = bytes.starts_with(ZIP) || EXTENSIONS.iter().any(|e| extension.eq_ignore_ascii_case(e));
        Ok(match is_pth {
            true => WeightsFile::Pth(PthFile::new(bytes)?),
            false => WeightsFile::SafeTensors(SafeTensorsFile::new(bytes)?),
        })
    }

    /// The tensors.
    pub fn state_dict(&self) -> &dyn StateDict {
        match self {
            WeightsFile::SafeTensors(file) => file,
            WeightsFile::Pth(file) => file,
        }
    }

    /// What the file says of itself or, where it says nothing, what its names and shapes do; `arch` and `labels` are the
    /// caller's.
    pub fn describe(&self, arch: Option<&str>, labels: Option<Vec<String>>) -> mobilesight::Result<Metadata> {
        match self {
            WeightsFile::SafeTensors(file) => describe(file, arch, labels),
            WeightsFile::Pth(file) => describe_state_dict(file, arch, labels),
        }
    }
}
