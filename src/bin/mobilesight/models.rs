//! `mobilesight models`: the models that are known, as a table; README.md has it.

use crate::report;
use anyhow::Result;
use mobilesight::macs::{Size, published_size};
use mobilesight::models::registry::{REGISTRY, Task};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// List the models that are known: task, input, parameters, multiplications, what TorchVision measured of its weights
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mobilesight models
  mobilesight models --json

The table is Markdown. Parameters and MACs are counted with as many classes as TorchVision's weights have; the input is that of
a square picture.")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A row of the table.
#[derive(Serialize)]
struct Row {
    arch: &'static str,
    task: Task,
    #[serde(flatten)]
    size: Size,
    published: Option<&'static str>,
    is_int8: bool,
}

/// The report.
#[derive(Serialize)]
struct Models {
    models: Vec<Row>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let row = |entry: &mobilesight::models::registry::Entry| {
        let size = published_size(entry.arch)?;
        Ok(Row {
            arch: entry.arch,
            task: entry.task,
            size,
            published: entry.published,
            is_int8: entry.quantised().is_some(),
        })
    };
    let models = REGISTRY.iter().map(row).collect::<Result<Vec<Row>>>()?;
    report::write(&Models { models }, args.json)
}

/// In millions.
fn millions(n: u64) -> String {
    format!("{:.1} M", n as f64 / 1e6)
}

impl Display for Models {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "| model | task | input | parameters | MACs | f32, f16 | published by TorchVision |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        for Row { arch, task, size, published, is_int8 } in &self.models {
            let Size { parameters, macs, macs_per_proposal, input: (h, w) } = size;
            let task = format!("{task:?}").to_lowercase();
            let heads = macs_per_proposal.map(|heads| format!(" + {} a proposal", millions(heads))).unwrap_or_default();
            let megabytes = |bytes: u64| (bytes * parameters) as f64 / 1e6;
            let files = match is_int8 {
                true => format!("{:.1} MB in int8", megabytes(1)),
                false => format!("{:.1}, {:.1} MB", megabytes(4), megabytes(2)),
            };
            let (parameters, macs) = (millions(*parameters), millions(*macs));
            let published = published.unwrap_or("no weights");
            writeln!(f, "| `{arch}` | {task} | {h} x {w} | {parameters} | {macs}{heads} | {files} | {published} |")?;
        }
        Ok(())
    }
}
