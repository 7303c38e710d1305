//! `mobilesight convert`: a checkpoint of PyTorch, or a bare .safetensors file, as a weights file that describes itself.

use crate::output;
use crate::weights::{WeightsFile, read_weights};
use anyhow::{Context, Result, bail, ensure};
use mobilesight::convert::{FloatType, convert, take_table};
use mobilesight::models::config::check_names;
use mobilesight::models::registry::entry;
use mobilesight::quantize::{convert_qat, is_qat};
use mobilesight::weights::Metadata;
use serde_json::Value;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// Make a .safetensors file of a PyTorch checkpoint, without Python
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mobilesight convert fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth -o detector.safetensors
  mobilesight convert mine.pth -o mine.safetensors --dtype f16 --labels names.txt --license MIT
  mobilesight convert wide.pth -o wide.safetensors --config wide.json  with {\"dilated\": true} in wide.json
  mobilesight convert low.pth -o low.safetensors --preset low.json    with {\"resize\": 320} in low.json

Names and shapes tell the architecture, its classes, widths, kernels and squeeze-excites; where they fit two, as Faster R-CNN's
presets, the file's name does, if it begins with one's. Strides, activations and dilations
leave no trace in a checkpoint: they are those of TorchVision's own table, unless --config gives its width_mult, reduced_tail
or dilated, or an inverted_residual_setting. A checkpoint of TorchVision's quantisation-aware training becomes int8, with the scales that its
observers saw, and computes what QNNPACK does. Nothing in a checkpoint is run: it is read as data.")]
pub struct Args {
    /// A checkpoint (.pth) or a .safetensors file, with a model's state_dict
    #[arg(value_name = "FILE")]
    from: PathBuf,
    /// The .safetensors file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// How floats are stored (default: f32)
    #[arg(long, value_enum)]
    dtype: Option<Dtype>,
    /// TorchVision's name of the builder, where neither shapes nor the file's name tell it: fasterrcnn_mobilenet_v3_large_fpn
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// A JSON object of the builder's arguments, by TorchVision's names; they go before what shapes tell
    #[arg(long, value_name = "JSON")]
    config: Option<PathBuf>,
    /// A JSON object of the preprocessing: {"resize"}, {"resize", "crop"} (default: the architecture's own)
    #[arg(long, value_name = "JSON")]
    preset: Option<PathBuf>,
    /// A text file of the classes' names, a line each (default: TorchVision's, where the count is theirs)
    #[arg(long, value_name = "TXT")]
    labels: Option<PathBuf>,
    /// Where the weights come from
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// The licence of the weights
    #[arg(long, value_name = "TEXT")]
    license: Option<String>,
}

/// How floats are stored.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Dtype {
    /// As they are, in 32 bits.
    F32,
    /// In half the size.
    F16,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let bytes = read_weights(&args.from)?;
    let written = converted(args, &bytes).with_context(|| args.from.display().to_string())?;
    output::write(&args.output, &written)
}

/// The bytes of the new file.
fn converted(args: &Args, bytes: &Vec<u8>) -> Result<Vec<u8>> {
    let file = WeightsFile::new(&args.from, bytes)?;
    let metadata = metadata(args, &file)?;
    if is_qat(file.state_dict()) {
        ensure!(args.dtype.is_none(), "quantisation-aware training makes int8; leave --dtype out");
        return Ok(convert_qat(file.state_dict(), &metadata)?);
    }
    // Reads every tensor that the model needs: what is written loads.
    (entry(&metadata.arch)?.load)(file.state_dict(), &metadata)?;
    let dtype = match args.dtype {
        None | Some(Dtype::F32) => FloatType::F32,
        Some(Dtype::F16) => FloatType::F16,
    };
    Ok(convert(file.state_dict(), dtype, &metadata)?)
}

/// What the new file says of itself.
fn metadata(args: &Args, file: &WeightsFile) -> Result<Metadata> {
    let labels = args.labels.as_deref().map(lines).transpose()?;
    let mut config = args.config.as_deref().map(object).transpose()?;
    let described = file.describe(args.arch.as_deref(), labels.clone());
    let mut metadata = match (described, &args.arch, &config) {
        // The shapes are of no published table: the caller says everything.
        (Err(_), Some(arch), Some(_)) => Metadata {
            arch: arch.clone(),
            labels: labels.context("the weights do not tell their classes; give --labels with --arch and --config")?,
            config: Value::Null,
            preset: Value::Null,
            source: None,
            license: None,
        },
        (described, ..) => described?,
    };
    if let Some(config) = &mut config {
        take_table(config, &metadata.arch, &metadata.config["inverted_residual_setting"])?;
    }
    let preset = args.preset.as_deref().map(object).transpose()?;
    check_names(&config.clone().unwrap_or_default(), &preset.clone().unwrap_or_default())?;
    if let Some(config) = config {
        let mut all = metadata.config.as_object().cloned().unwrap_or_default();
        all.extend(config);
        metadata.config = Value::Object(all);
    }
    if let Some(preset) = preset {
        metadata.preset = Value::Object(preset);
    }
    metadata.check_labels()?;
    metadata.source = args.source.clone().or(metadata.source);
    metadata.license = args.license.clone().or(metadata.license);
    Ok(metadata)
}

/// The lines of a text file.
fn lines(path: &Path) -> Result<Vec<String>> {
    Ok(text(path)?.lines().map(|line| line.trim().to_string()).collect())
}

/// The JSON object in a file.
fn object(path: &Path) -> Result<serde_json::Map<String, Value>> {
    let value = serde_json::from_str(&text(path)?).with_context(|| format!("{} is not JSON", path.display()))?;
    match value {
        Value::Object(object) => Ok(object),
        _ => bail!("{} is no JSON object", path.display()),
    }
}

fn text(path: &Path) -> Result<String> {
    read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}
