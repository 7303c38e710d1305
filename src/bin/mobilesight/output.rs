//! Files that commands write.

use anyhow::{Context, Result};
use std::fs::{OpenOptions, remove_file};
use std::path::Path;

/// Refuses a file that cannot be written, so that no long work is done for it; what is there stays.
pub fn check(path: &Path) -> Result<()> {
    let is_new = !path.exists();
    OpenOptions::new().append(true).create(true).open(path).with_context(|| unwritable(path))?;
    if is_new { remove_file(path).with_context(|| unwritable(path)) } else { Ok(()) }
}

/// Writes `bytes`.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| unwritable(path))
}

fn unwritable(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}
