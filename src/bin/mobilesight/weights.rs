//! Weights from files: .safetensors, or PyTorch's checkpoints as they are.

use anyhow::{Context, Result};
use mobilesight::models::infer::infer;
use mobilesight::models::registry::{describe, describe_state_dict};
use mobilesight::weights::{Metadata, PthFile, SafeTensorsFile, StateDict};
use std::fs::read;
use std::path::Path;

/// How a checkpoint of PyTorch begins: it is a zip archive.
const ZIP: &[u8] = b"PK";
/// How a checkpoint is called that is none, so that the error is about checkpoints.
const EXTENSIONS: [&str; 2] = ["pth", "pt"];

/// A weights file that lies in memory.
pub struct WeightsFile<'a> {
    path: &'a Path,
    content: Content<'a>,
}

enum Content<'a> {
    SafeTensors(SafeTensorsFile<'a>),
    Pth(PthFile<'a>),
}

/// The bytes of file `path`.
pub fn read_weights(path: &Path) -> Result<Vec<u8>> {
    read(path).with_context(|| format!("the weights {} cannot be read", path.display()))
}

impl<'a> WeightsFile<'a> {
    /// The file `path`, whose bytes are `bytes`.
    pub fn new(path: &'a Path, bytes: &'a Vec<u8>) -> mobilesight::Result<Self> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let is_pth = bytes.starts_with(ZIP) || EXTENSIONS.iter().any(|e| extension.eq_ignore_ascii_case(e));
        let content = match is_pth {
            true => Content::Pth(PthFile::new(bytes)?),
            false => Content::SafeTensors(SafeTensorsFile::new(bytes)?),
        };
        Ok(WeightsFile { path, content })
    }

    /// The tensors.
    pub fn state_dict(&self) -> &dyn StateDict {
        match &self.content {
            Content::SafeTensors(file) => file,
            Content::Pth(file) => file,
        }
    }

    /// What the file says of itself or, where it says nothing, what its names and shapes do, and its own name where these leave a
    /// choice; `arch` and `labels` are the caller's.
    pub fn describe(&self, arch: Option<&str>, labels: Option<Vec<String>>) -> mobilesight::Result<Metadata> {
        match &self.content {
            Content::SafeTensors(file) if file.metadata()?.is_some() => describe(file, arch, labels),
            _ => {
                let arch = arch.map_or_else(|| self.arch_by_name(), Ok)?;
                describe_state_dict(self.state_dict(), Some(arch), labels)
            }
        }
    }

    /// Of the builders that fit, the one whose name the file's begins with, the longest; else the first one, and words on stderr where
    /// there are others.
    fn arch_by_name(&self) -> mobilesight::Result<&'static str> {
        let fitting = infer(self.state_dict(), None)?.fitting;
        let stem = self.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let named = fitting.iter().filter(|arch| stem.starts_with(**arch)).max_by_key(|arch| arch.len());
        if let (None, [taken, others @ ..]) = (named, fitting)
            && !others.is_empty()
        {
            let (file, others) = (self.path.display(), others.join(" or --arch "));
            eprintln!("{file}: taken for {taken}, which its names and shapes fit; --arch {others} chooses the other");
        }
        Ok(named.unwrap_or(&fitting[0]))
    }
}
