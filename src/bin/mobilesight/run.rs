//! `mobilesight run`: one picture through a model.

use crate::options::{ModelFile, Rpn, count, fraction};
use crate::session::Session;
use crate::{draw, picture, report};
use anyhow::{Context, Result, ensure};
use image::ImageFormat::{self, Jpeg, Png};
use image::{GrayImage, RgbaImage};
use mobilesight::models::Options;
use mobilesight::models::registry::Task;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// Run a model on a picture: boxes, the classes of the pixels, or the class of the picture
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mobilesight run --weights detector.safetensors --picture street.jpg --threshold 0.5 --draw boxes.png
  mobilesight run --weights detector.safetensors --picture street.jpg --rpn-post-nms 50 --json
  mobilesight run --weights segmenter.safetensors --picture street.jpg --json --mask classes.png
  mobilesight run --weights mobilenet_v3_small-047dcff4.pth --picture cat.jpg --top 3

JSON: {\"detections\": [{\"box\": {\"x\", \"y\", \"width\", \"height\"}, \"label\", \"classId\", \"score\"}]} in pixels of the picture, best
first; {\"width\", \"height\", \"classes\": [{\"label\", \"classId\", \"pixels\"}]}, most pixels first; or {\"classes\": [{\"label\",
\"classId\", \"score\"}]}, likeliest first.")]
pub struct Args {
    #[command(flatten)]
    model: ModelFile,
    /// A JPEG or PNG file
    #[arg(long, value_name = "FILE")]
    picture: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write the class of each pixel, a grey PNG (segmentation)
    #[arg(long, value_name = "PNG")]
    mask: Option<PathBuf>,
    /// Write the picture with boxes or classes drawn in, PNG or JPEG
    #[arg(long, value_name = "FILE")]
    draw: Option<PathBuf>,
    /// Score that a box must exceed, 0 to 1 (default: the model's own)
    #[arg(long, value_name = "T", value_parser = fraction)]
    threshold: Option<f32>,
    /// How many classes, the likeliest (classification)
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count)]
    top: usize,
    #[command(flatten)]
    rpn: Rpn,
}

/// A box of a class, in pixels of the picture.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Detection {
    #[serde(rename = "box")]
    pub rectangle: Rectangle,
    pub label: String,
    pub class_id: usize,
    pub score: f32,
}

/// The upper left corner and the sides.
#[derive(Serialize)]
pub struct Rectangle {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

/// A detector's report.
#[derive(Serialize)]
struct Detections {
    detections: Vec<Detection>,
}

/// A class that a mask has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Presence {
    label: String,
    class_id: usize,
    pixels: usize,
}

/// A segmenter's report.
#[derive(Serialize)]
struct Presences {
    width: u32,
    height: u32,
    classes: Vec<Presence>,
}

/// A class that a picture may be of.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Class {
    label: String,
    class_id: usize,
    score: f32,
}

/// A classifier's report.
#[derive(Serialize)]
struct Classes {
    classes: Vec<Class>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let mut session = Session::open(&args.model)?;
    let task = session.entry.task;
    ensure!(
        args.mask.is_none() || task == Task::Segmentation,
        "{} gives no mask; leave --mask out",
        session.entry.arch
    );
    ensure!(
        args.draw.is_none() || task != Task::Classification,
        "{} gives nothing to draw; leave --draw out",
        session.entry.arch
    );
    ensure!(
        args.mask.as_deref().is_none_or(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"))),
        "a class map is a PNG, since JPEG would change classes; name it --mask x.png"
    );
    ensure!(
        args.draw.as_deref().is_none_or(|path| matches!(ImageFormat::from_path(path), Ok(Png | Jpeg))),
        "what is drawn is a PNG or a JPEG; name it --draw x.png or x.jpg"
    );
    let picture = picture::open(&args.picture)?;
    let options = Options { score_thresh: args.threshold, ..args.rpn.options() };
    session.run(picture::borrow(&picture)?, &options).with_context(|| args.picture.display().to_string())?;
    match task {
        Task::Detection => show_detections(args, &session, picture),
        Task::Segmentation => show_mask(args, &session, picture),
        Task::Classification => show_classes(args, &session),
    }
}

fn show_detections(args: &Args, session: &Session, mut picture: RgbaImage) -> Result<()> {
    let found = session.output.detections.iter().map(|d| {
        let [x, y, right, bottom] = d.b;
        let rectangle = Rectangle { x, y, width: right - x, height: bottom - y };
        Detection { rectangle, label: session.label(d.group), class_id: d.group, score: d.score }
    });
    let found = Detections { detections: found.collect() };
    if let Some(path) = &args.draw {
        draw::detections(&mut picture, &found.detections);
        save(picture, path)?;
    }
    report::write(&found, args.json)
}

fn show_mask(args: &Args, session: &Session, mut picture: RgbaImage) -> Result<()> {
    let (mask, (width, height)) = (&session.output.mask, picture.dimensions());
    if let Some(path) = &args.mask {
        let map = GrayImage::from_raw(width, height, mask.clone()).context("the mask is of the picture's size")?;
        map.save(path).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if let Some(path) = &args.draw {
        draw::mask(&mut picture, mask, &session.metadata.labels);
        save(picture, path)?;
    }
    let mut counts = [0; 256];
    mask.iter().for_each(|class| counts[usize::from(*class)] += 1);
    let present = counts.into_iter().enumerate().filter(|(_, pixels)| *pixels > 0);
    let classes = present.map(|(class_id, pixels)| Presence { label: session.label(class_id), class_id, pixels });
    let mut classes: Vec<_> = classes.collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.pixels));
    report::write(&Presences { width, height, classes }, args.json)
}

fn show_classes(args: &Args, session: &Session) -> Result<()> {
    let best = session.output.classes.iter().take(args.top);
    let classes = best.map(|&(class_id, score)| Class { label: session.label(class_id), class_id, score });
    report::write(&Classes { classes: classes.collect() }, args.json)
}

/// Writes `picture` in the format that the name says; JPEG has no alpha.
fn save(picture: RgbaImage, path: &Path) -> Result<()> {
    let picture = image::DynamicImage::from(picture).into_rgb8();
    picture.save(path).with_context(|| format!("{} cannot be written", path.display()))
}

impl Display for Detections {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        if self.detections.is_empty() {
            return f.write_str("no box has a score above the threshold");
        }
        writeln!(f, "{:<20} {:>6} {:>9} {:>9} {:>9} {:>9}", "label", "score", "x", "y", "width", "height")?;
        for Detection { rectangle: r, label, score, .. } in &self.detections {
            writeln!(f, "{label:<20} {score:>6.3} {:>9.2} {:>9.2} {:>9.2} {:>9.2}", r.x, r.y, r.width, r.height)?;
        }
        Ok(())
    }
}

impl Display for Presences {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let all = f64::from(self.width) * f64::from(self.height);
        writeln!(f, "{:<20} {:>9} {:>8}", "label", "pixels", "share")?;
        for Presence { label, pixels, .. } in &self.classes {
            writeln!(f, "{label:<20} {pixels:>9} {:>6.2} %", 100.0 * *pixels as f64 / all)?;
        }
        Ok(())
    }
}

impl Display for Classes {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let mut lines = self.classes.iter();
        lines.try_for_each(|Class { label, score, .. }| writeln!(f, "{label:<32} {score:>6.4}"))
    }
}
