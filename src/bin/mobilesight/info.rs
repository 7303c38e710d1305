//! `mobilesight info`: what is in a weights file.

use crate::report;
use crate::weights::{WeightsFile, read_weights};
use anyhow::{Context, Result};
use mobilesight::macs::{Size, size};
use mobilesight::models::registry::{Task, entry};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

/// Tell what is in a weights file: architecture, labels, parameters, multiplications, dtypes, where it comes from
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mobilesight info detector.safetensors
  mobilesight info mobilenet_v3_large-5c1a4163.pth
  mobilesight info detector.safetensors --json | jq .labels

MACs are the multiplications of the network on a square picture, as the preset resizes it; those of a detector's heads are for
each of its proposals, whose number depends on the picture.")]
pub struct Args {
    /// A .safetensors file, or a checkpoint of PyTorch (.pth)
    #[arg(value_name = "FILE")]
    weights: PathBuf,
    /// TorchVision's name of the builder, where the file does not tell it
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The tensors of a dtype.
#[derive(Default, Serialize)]
struct Share {
    tensors: usize,
    bytes: usize,
}

/// The report.
#[derive(Serialize)]
struct Info {
    arch: String,
    task: Task,
    labels: Vec<String>,
    #[serde(flatten)]
    size: Size,
    /// By name, F16 for example.
    dtypes: BTreeMap<String, Share>,
    preset: Value,
    config: Value,
    source: Option<String>,
    license: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let bytes = read_weights(&args.weights)?;
    let about = read(args, &bytes).with_context(|| args.weights.display().to_string())?;
    report::write(&about, args.json)
}

fn read(args: &Args, bytes: &Vec<u8>) -> Result<Info> {
    let file = WeightsFile::new(&args.weights, bytes)?;
    let metadata = file.describe(args.arch.as_deref(), None)?;
    let mut dtypes = BTreeMap::<String, Share>::new();
    for tensor in file.state_dict().tensors() {
        let elements = tensor.shape.iter().product::<usize>();
        let share = dtypes.entry(format!("{:?}", tensor.dtype)).or_default();
        share.tensors += 1;
        share.bytes += elements * tensor.dtype.bitsize() / 8;
    }
    Ok(Info {
        task: entry(&metadata.arch)?.task,
        size: size(file.state_dict(), &metadata)?,
        arch: metadata.arch,
        labels: metadata.labels,
        dtypes,
        preset: metadata.preset,
        config: metadata.config,
        source: metadata.source,
        license: metadata.license,
    })
}

impl Display for Info {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let unsaid = || "not said".to_string();
        writeln!(f, "architecture  {}", self.arch)?;
        writeln!(f, "task          {}", format!("{:?}", self.task).to_lowercase())?;
        let Size { parameters, macs, macs_per_proposal, input: (h, w) } = self.size;
        writeln!(f, "parameters    {parameters}")?;
        writeln!(f, "MACs          {macs} at {h} x {w}")?;
        if let Some(heads) = macs_per_proposal {
            writeln!(f, "              {heads} more for each proposal")?;
        }
        for (dtype, Share { tensors, bytes }) in &self.dtypes {
            writeln!(f, "{dtype:<13} {tensors} tensors, {bytes} bytes")?;
        }
        writeln!(f, "source        {}", self.source.clone().unwrap_or_else(unsaid))?;
        writeln!(f, "license       {}", self.license.clone().unwrap_or_else(unsaid))?;
        writeln!(f, "preset        {}", self.preset)?;
        for (key, value) in self.config.as_object().into_iter().flatten() {
            match value.as_array().filter(|rows| rows.iter().all(Value::is_array)) {
                Some(rows) => rows.iter().try_for_each(|row| writeln!(f, "config        {key} {row}"))?,
                None => writeln!(f, "config        {key} {value}")?,
            }
        }
        writeln!(f, "labels        {}", self.labels.join(", "))
    }
}
