//! `mobilesight quantize`: an f32 model and a folder of pictures to an int8 model.

use crate::options::{count, factor, fraction};
use crate::progress::Progress;
use crate::weights::{WeightsFile, read_weights};
use crate::{output, picture, report};
use anyhow::{Context, Result};
use mobilesight::image::Image;
use mobilesight::quantize::{Event, Options, Scheme, quantize};
use std::path::PathBuf;

/// Make an int8 model, a quarter of the size, by running the f32 model on some dozens of pictures
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mobilesight quantize detector.safetensors --pictures train/ -o detector.int8.safetensors
  mobilesight quantize detector.safetensors --pictures train/ -o detector.int8.safetensors --max-drop 0.02
  mobilesight quantize mine.pth --pictures train/ -o mine.int8.safetensors --f32-layers backbone.0,classifier

The pictures need no labels; take them from what the model will see, not from what it is judged by. Layers whose rounding costs
most for their work are found by measuring, each half of the pictures with the ranges of the other one, and stay in f32 until the
results are within --max-drop of the f32 model's. The same pictures make the same file, byte for byte.")]
pub struct Args {
    /// The f32 model: a .safetensors file, or a checkpoint of PyTorch (.pth)
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// A folder of JPEG and PNG pictures
    #[arg(long, value_name = "DIR")]
    pictures: PathBuf,
    /// The .safetensors file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// TorchVision's name of the builder, where the weights do not tell it
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// How far results may go from f32's, 0 to 1, before layers are left in f32 (default: 0.04)
    #[arg(long, value_name = "X", value_parser = fraction)]
    max_drop: Option<f32>,
    /// Layers that stay in f32, by their paths or the beginnings of these
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    f32_layers: Vec<String>,
    /// Pictures that --max-drop is measured on, which bounds the time (default: 48)
    #[arg(long, value_name = "N", value_parser = count)]
    search_pictures: Option<usize>,
    /// How far channels keep scales of their own, 0 to 1 (default: 0.75)
    #[arg(long, value_name = "A", value_parser = fraction)]
    alpha: Option<f32>,
    /// What the ranges seen are multiplied by, from 1 on (default: 1.3)
    #[arg(long, value_name = "X", value_parser = factor)]
    widen: Option<f32>,
    /// Print progress where stderr is no terminal, too
    #[arg(long)]
    progress: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    output::check(&args.output)?;
    let bytes = read_weights(&args.from)?;
    let pictures: Vec<_> = picture::list(&args.pictures)?.iter().map(|p| picture::open(p)).collect::<Result<_>>()?;
    let images: Vec<Image> = pictures.iter().map(picture::borrow).collect::<Result<_>>()?;
    let mut progress = Progress::new("calibrate", images.len(), args.progress);
    let mut told = Ok(());
    let mut listen = |event: Event| match event {
        Event::Calibrated(_) => progress.step(),
        Event::Searched(0, all) => progress = Progress::new("search", all, args.progress),
        Event::Searched(done, all) => progress.reach(done as u64, all as u64),
        Event::Measured(words) if told.is_ok() => told = progress.suspend(|| report::line(words)),
        Event::Measured(_) => {}
    };
    let mut quantised = || {
        let file = WeightsFile::new(&args.from, &bytes)?;
        let metadata = file.describe(args.arch.as_deref(), None)?;
        quantize(file.state_dict(), &metadata, &images, &options(args), &mut listen)
    };
    let written: mobilesight::Result<Vec<u8>> = quantised();
    let written = written.with_context(|| args.from.display().to_string())?;
    drop(progress);
    output::write(&args.output, &written)?;
    told?;
    report::line(&format!("{}: {} bytes, of {}", args.output.display(), written.len(), bytes.len()))
}

fn options(args: &Args) -> Options {
    let default = Options::default();
    Options {
        scheme: Scheme {
            alpha: args.alpha.unwrap_or(default.scheme.alpha),
            widen: args.widen.unwrap_or(default.scheme.widen),
        },
        f32_layers: args.f32_layers.clone(),
        max_drop: args.max_drop.map_or(default.max_drop, f64::from),
        search_pictures: args.search_pictures.unwrap_or(default.search_pictures),
    }
}
