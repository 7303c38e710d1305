//! `mobilesight bench`: where the time goes, natively.

use crate::options::{ModelFile, Rpn, count};
use crate::progress::Progress;
use crate::session::Session;
use crate::{picture, report};
use anyhow::Result;
use mobilesight::nn::Context;
use mobilesight::profile::{self, Profile};
use mobilesight::tensor::Tensor;
use serde::Serialize;
use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Instant;

/// Time a model on a picture, layer by layer, with the native build's kernels
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mobilesight bench --weights detector.safetensors --picture street.jpg --runs 30
  mobilesight bench --weights detector.safetensors --picture street.jpg --rpn-post-nms 50

Times are medians in milliseconds, after two runs that are not counted. A browser's times are those of its own WebAssembly
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

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut session = Session::open(&args.model)?;
    let picture = picture::open(&args.picture)?;
    let (image, options) = (picture::borrow(&picture)?, args.rpn.options());
    let mut outputs = HashMap::new();
    // Apart from the runs that are timed: one that is observed does more.
    let mut observer = |name: &str, output: &Tensor| {
        outputs.insert(name.to_string(), [output.h, output.w, output.c]);
    };
    session.run_watched(image, &options, Context { observer: Some(&mut observer), ..Context::default() })?;
    session.run(image, &options)?;
    let progress = Progress::new("runs", args.runs, args.progress);
    let (mut steps, mut profiles) = ([(); 3].map(|()| Vec::new()), Vec::new());
    for _ in 0..args.runs {
        let start = Instant::now();
        let mut profile = Profile::start(|| start.elapsed().as_secs_f64() * 1e3);
        let mut clock = |name: &str| profile.lap(name);
        let times = session.run_watched(image, &options, Context { clock: Some(&mut clock), ..Context::default() })?;
        steps.iter_mut().zip(times).for_each(|(step, time)| step.push(time));
        profiles.push(profile.layers);
        progress.step();
    }
    drop(progress);
    let layer = |(i, layer): (usize, &profile::Layer)| Layer {
        name: layer.name.clone(),
        output: outputs[&layer.name],
        ms: median(profiles.iter().map(|layers| layers[i].ms).collect()),
    };
    let layers = profiles[0].iter().enumerate().map(layer).collect();
    let [preprocess, network, postprocess] = steps.map(median);
    report::write(&Bench { runs: args.runs, preprocess, network, postprocess, layers }, args.json)
}

/// Of times in milliseconds.
pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
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
