//! What a command found, to stdout: as text for people or as JSON for programs.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};

/// Writes `report` in one piece, as a line of JSON where `json` is set.
pub fn write(report: &(impl Serialize + Display), json: bool) -> Result<()> {
    line(if json { serde_json::to_string(report)? } else { report.to_string() }.trim_end())
}

/// Writes a line, or several.
pub fn line(text: &str) -> Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Who reads it has seen enough, as `head` does.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("the report cannot be written"),
    }
}
