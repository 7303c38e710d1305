//! `mobilesight eval`: how right a model is on labelled pictures, and how near to another one.

mod classification;
mod detection;
mod segmentation;

use crate::options::{ModelFile, Rpn};
use crate::picture;
use crate::progress::Progress;
use crate::session::Session;
use anyhow::{Context, Result, ensure};
use mobilesight::models::registry::Task;
use mobilesight::models::{Options, Output};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// Measure a model on labelled pictures: AP of boxes, mIoU of masks, top-1 of classes
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mobilesight eval --weights detector.safetensors --pictures val2017 --truth instances_val2017.json --json
  mobilesight eval --weights segmenter.safetensors --pictures street --truth street_masks
  mobilesight eval --weights classifier.safetensors --pictures imagenet/val
  mobilesight eval --weights int8.safetensors --against f32.safetensors --pictures val2017 --truth instances.json
  mobilesight eval --weights int8.safetensors --against f32.safetensors --pictures unlabelled

Boxes: AP50 and mAP (IoU 0.50 to 0.95) as COCO defines them, of the model's own score threshold and count of detections;
a class is the truth's category of the same name, of the same id where no name fits. Masks: mIoU over the classes that truth or model names anywhere in the
set, and pixel accuracy; pixels whose truth is no class of the model are left out. Classes: top-1 and top-5; the folders
are called by label or by number, or are as many as the classes and in their order by name. All in per cent.

--against adds the agreement with another model: the share of its boxes above 0.4 that come back with the same label at
IoU above 0.7, in per cent, and the mean absolute change of their scores; or the share of equal pixels or classes, in per
cent. It needs no truth. The other model runs with its own options: --rpn-… against the same file shows what they cost.

JSON: {\"ap50\", \"map\", \"pictures\", \"network_ms\"}, {\"miou\", \"pixel_accuracy\", \"pictures\"} or {\"top1\", \"top5\", \"pictures\"}, and
\"agreement\": {\"boxes\", \"share\", \"score_shift\"} or {\"share\"}.")]
pub struct Args {
    #[command(flatten)]
    model: ModelFile,
    /// The folder of the pictures; of a classifier, the folder of the classes' folders
    #[arg(long, value_name = "DIR")]
    pictures: PathBuf,
    /// Boxes: a COCO annotation file. Masks: the folder of the class maps, each a PNG of its picture's name
    #[arg(long, value_name = "FILE|DIR")]
    truth: Option<PathBuf>,
    /// The model to compare with, of the same task: the f32 weights of an int8 file, for example
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print progress where stderr is no terminal, too
    #[arg(long)]
    progress: bool,
    #[command(flatten)]
    rpn: Rpn,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let model = Session::open(&args.model)?;
    let task = model.entry.task;
    let reference = args.against.as_ref().map(|path| other(path, &model)).transpose()?;
    let pass = Pass { model, reference, options: args.rpn.options(), progress: args.progress, times: Vec::new() };
    match task {
        Task::Detection => detection::eval(args, pass),
        Task::Segmentation => segmentation::eval(args, pass),
        Task::Classification => classification::eval(args, pass),
    }
}

/// The model in file `path`, which is of the task and the classes of `model`.
fn other(path: &Path, model: &Session) -> Result<Session> {
    let other = Session::open(&ModelFile { weights: path.to_path_buf(), arch: None })?;
    ensure!(other.entry.task == model.entry.task, "{} is of another task; compare models of one", path.display());
    ensure!(
        other.num_classes() == model.num_classes(),
        "{} has {} classes, not {}; compare models of the same classes",
        path.display(),
        other.num_classes(),
        model.num_classes()
    );
    Ok(other)
}

/// The truth, which is `what`; none where another model is all that there is to compare with.
fn truth<'a>(args: &'a Args, what: &str) -> Result<Option<&'a Path>> {
    let is_compared = args.truth.is_some() || args.against.is_some();
    ensure!(is_compared, "there is nothing to compare with; give --truth, {what}, or --against, another model");
    Ok(args.truth.as_deref())
}

/// What is printed: a task's scores, and how near another model is.
#[derive(Serialize)]
struct Report<S, A> {
    /// None without a truth.
    #[serde(flatten)]
    scores: Option<S>,
    pictures: usize,
    /// None without another model.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<A>,
}

impl<S: Display, A: Display> Display for Report<S, A> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        self.scores.iter().try_for_each(|scores| writeln!(f, "{scores}"))?;
        writeln!(f, "over {} pictures", self.pictures)?;
        self.agreement.iter().try_for_each(|agreement| writeln!(f, "{agreement}"))
    }
}

/// How near two models are that name classes.
#[derive(Serialize)]
struct Equal {
    /// Of the pictures or pixels, those to which both give the same class, in per cent.
    share: f64,
}

impl Display for Equal {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "equal classes   {:.2} %", self.share)
    }
}

/// The models that see the pictures.
struct Pass {
    model: Session,
    reference: Option<Session>,
    options: Options,
    progress: bool,
    /// Milliseconds of the network, a picture each.
    times: Vec<f64>,
}

/// What the models made of a picture.
struct Seen<'a> {
    /// [h, w].
    size: (usize, usize),
    output: &'a Output,
    reference: Option<&'a Output>,
}

impl Pass {
    /// Calls `each` with the index of every picture and what the models made of it.
    fn over(&mut self, pictures: &[PathBuf], mut each: impl FnMut(usize, Seen) -> Result<()>) -> Result<()> {
        let progress = Progress::new("pictures", pictures.len(), self.progress);
        for (i, path) in pictures.iter().enumerate() {
            let picture = picture::open(path)?;
            let image = picture::borrow(&picture)?;
            let named = || path.display().to_string();
            let [_, network, _] = self.model.run(image, &self.options).with_context(named)?;
            self.times.push(network);
            if let Some(reference) = &mut self.reference {
                reference.run(image, &Options::default()).with_context(named)?;
            }
            let reference = self.reference.as_ref().map(|reference| &reference.output);
            let size = (image.height, image.width);
            each(i, Seen { size, output: &self.model.output, reference }).with_context(named)?;
            progress.step();
        }
        Ok(())
    }
}
