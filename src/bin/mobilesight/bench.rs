//! `mobilesight bench`: where the time goes, natively.

use crate::options::{ModelFile, Rpn, count};
use crate::progress::Progress;
use crate::session::Session;
use crate::{picture, report};
use anyhow::Result;
use mobilesight::tensor::Tensor;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Time a model on a picture, layer by layer, with the native build's kernels
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mobilesight bench --weights detector.safetensors --picture street.jpg --runs 30
  mobilesight bench --weights detector.safetensors --picture street.jpg --rpn-post-nms 50

Times are medians in milliseconds, after one run that is not counted. A browser's times are those of its own WebAssembly
modules: `npm run bench` measures them.")]
pub struct Args {
    #[command(flatten)]
    model: ModelFile,
    /// A JPEG or PNG file
    #[arg(long, value_name = "FILE")]
    picture: PathBuf,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count)]
    runs: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print progress where stderr is no terminal, too
    #[arg(long)]
    progress: bool,
    #[command(flatten)]
    rpn: Rpn,
}

/// A layer, or what follows the layer before it.
#[derive(Serialize)]
struct Layer {
    name: String,
    /// [h, w, c]
    output: [usize; 3],
    ms: f64,
}

/// The report, times in milliseconds.
#[derive(Serialize)]
struct Bench {
    runs: usize,
    preprocess: f64,
    network: f64,
    postprocess: f64,
    layers: Vec<Layer>,
}

/// The durations of a layer over the runs, keyed by its place.
type Laps = BTreeMap<usize, (String, [usize; 3], Vec<Duration>)>;

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut session = Session::open(&args.model)?;
    let picture = picture::open(&args.picture)?;
    let (image, options) = (picture::borrow(&picture)?, args.rpn.options());
    session.run(image, &options, None);
    let progress = Progress::new("runs", args.runs, args.progress);
    let (mut steps, mut laps) = ([(); 3].map(|()| Vec::new()), Laps::new());
    for _ in 0..args.runs {
        let times = session.run(image, &options, None);
        steps.iter_mut().zip(times).for_each(|(step, time)| step.push(time));
        // Apart, since a run that is watched may do more.
        let (mut index, mut last) = (0, Instant::now());
        let mut watch = |name: &str, output: &Tensor| {
            let shape = [output.h, output.w, output.c];
            let lap = laps.entry(index).or_insert_with(|| (name.to_string(), shape, Vec::new()));
            lap.2.push(last.elapsed());
            (index, last) = (index + 1, Instant::now());
        };
        session.run(image, &options, Some(&mut watch));
        progress.step();
    }
    drop(progress);
    let layers = laps.into_values().map(|(name, output, times)| Layer { name, output, ms: median(times) });
    let layers = layers.collect();
    let [preprocess, network, postprocess] = steps.map(median);
    report::write(&Bench { runs: args.runs, preprocess, network, postprocess, layers }, args.json)
}

/// In milliseconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

impl Display for Bench {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let all: f64 = self.layers.iter().map(|layer| layer.ms).sum();
        writeln!(f, "{:<32} {:>16} {:>9} {:>7}", "layer", "output", "ms", "share")?;
        for Layer { name, output: [h, w, c], ms } in &self.layers {
            writeln!(f, "{name:<32} {:>16} {ms:>9.3} {:>5.1} %", format!("{h}x{w}x{c}"), 100.0 * ms / all)?;
        }
        for (step, ms) in
            [("preprocess", self.preprocess), ("network", self.network), ("postprocess", self.postprocess)]
        {
            writeln!(f, "{step:<32} {:>16} {ms:>9.3}", "")?;
        }
        Ok(())
    }
}
