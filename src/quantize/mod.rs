//! A model and a folder's pictures to an int8 model, after training.
//!
//! ```text
//! calibrate: run the f32 model, keep each activation's range and mean, of either half of the pictures
//! measure: on each half with the other's ranges, as on new pictures
//! for each unit (a block, or a layer outside of one): quantise it alone; its layers' signal-to-noise ratios, and how far
//!     the results go from f32's
//! quantise all; if the results are further than max_drop: leave the units that cost most for their work in f32
//! ```
//! The search's budget is in runs, not in seconds, or it would not be the same twice: search_pictures a unit, and for a few
//! choices of units.
//!
//! The scheme is [`crate::quant`]'s, chosen by [`plan`]; nothing depends on time or threads, so that the same pictures give
//! the same bytes.

mod distance;
mod encode;
mod plan;
mod qat;
mod search;

use crate::calibrate::Calibration;
use crate::image::Image;
use crate::kernels::pack_i8::MAX_K;
use crate::models::Model;
use crate::models::registry::entry;
use crate::nn::Layer;
use crate::weights::{Metadata, SafeTensorsFile, StateDict};
use crate::{Error, Result};
use plan::Int8Layers;
pub use qat::{convert_qat, is_qat};
use search::{Fold, Search};
use serde_json::json;

/// How ranges become scales; see src/quantize/plan.rs.
#[derive(Clone, Copy, Debug)]
pub struct Scheme {
    /// 0: one scale for all channels of what a dense layer reads; 1: each channel its own range.
    pub alpha: f32,
    /// What the ranges seen are multiplied by: new pictures go past them.
    pub widen: f32,
}

/// What to do beside the default.
#[derive(Clone, Debug)]
pub struct Options {
    /// How ranges become scales.
    pub scheme: Scheme,
    /// Layers that stay in f32, by their paths in the state_dict or the beginnings of these.
    pub f32_layers: Vec<String>,
    /// How far the results may go from f32's, 0 to 1, before layers are left in f32.
    pub max_drop: f64,
    /// Pictures that the search measures on, the first of all.
    pub search_pictures: usize,
}

impl Default for Options {
    fn default() -> Self {
        let scheme = Scheme { alpha: 0.75, widen: 1.3 };
        Options { scheme, f32_layers: Vec::new(), max_drop: 0.04, search_pictures: 48 }
    }
}

/// What is told while it works, which takes minutes.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// So many pictures are calibrated on.
    Calibrated(usize),
    /// So many of so many measurements of the search are done. The last ones show whether there will be more.
    Searched(usize, usize),
    /// A measurement, in words.
    Measured(&'a str),
}

/// Who hears of [`Event`]s.
pub type Listener<'a> = dyn FnMut(Event) + 'a;

/// Everything that a trial needs.
struct Job<'a> {
    weights: &'a dyn StateDict,
    metadata: &'a Metadata,
    calibration: Calibration,
    scheme: Scheme,
}

impl Job<'_> {
    /// The file with these int8 layers.
    fn file(&self, metadata: &Metadata, int8: &Int8Layers) -> Result<Vec<u8>> {
        let parameters = plan::parameters(&self.calibration, int8, &self.scheme)?;
        encode::encode(self.weights, metadata, &self.calibration, int8, &parameters)
    }

    /// The model with these int8 layers.
    fn model(&self, int8: &Int8Layers) -> Result<Box<dyn Model>> {
        let file = self.file(self.metadata, int8)?;
        (entry(&self.metadata.arch)?.load)(&SafeTensorsFile::new(&file)?, self.metadata)
    }
}

/// Writes the int8 file of the f32 model `weights`, calibrated on `pictures`; `progress` hears how it goes.
///
/// # Errors
/// [`Error::WeightsMismatch`] when the model cannot be loaded, is quantised already, or no layer of it can be int8;
/// [`Error::Image`] when there is no picture, or one that the model cannot take.
pub fn quantize(
    weights: &dyn StateDict,
    metadata: &Metadata,
    pictures: &[Image],
    options: &Options,
    progress: &mut Listener,
) -> Result<Vec<u8>> {
    if pictures.is_empty() {
        return Err(Error::Image(
            "there is no picture to calibrate on; give some dozens like those to come".to_string(),
        ));
    }
    if weights.is_quantised() {
        let message = "the weights are quantised already; quantise those of the f32 model";
        return Err(Error::WeightsMismatch(message.to_string()));
    }
    let model = (entry(&metadata.arch)?.load)(weights, metadata)?;
    pictures.iter().try_for_each(|picture| model.check(picture))?;
    let calibrations = calibrate(&*model, pictures, progress);
    let mut calibration = calibrations[0].clone();
    calibrations[1..].iter().for_each(|other| calibration.merge(other));
    let job = |calibration| Job { weights, metadata, calibration, scheme: options.scheme };
    let measured = &pictures[..options.search_pictures.clamp(1, pictures.len())];
    // A half is measured with the other one's ranges.
    let folds = calibrations.into_iter().rev().map(job).zip(halves(measured));
    let folds: Vec<Fold> = folds.map(|(job, half)| Fold::new(job, &*model, half)).collect();
    let job = job(calibration);
    let (int8, chosen) = candidates(&job.calibration, &options.f32_layers)?;
    let mut search = Search { job: &job, folds, progress };
    let (int8, report) = search.run(int8, &chosen, options.max_drop)?;
    let mut metadata = metadata.clone();
    if !metadata.config.is_object() {
        metadata.config = json!({});
    }
    metadata.config["quantization"] = report;
    job.file(&metadata, &int8)
}

/// Every other picture, and the rest; a single picture is all there is.
fn halves<'a>(pictures: &[Image<'a>]) -> Vec<Vec<Image<'a>>> {
    let every_other = |first: usize| pictures.iter().skip(first).step_by(2).copied().collect();
    (0..pictures.len().min(2)).map(every_other).collect()
}

/// What `model` shows on each half of `pictures`.
fn calibrate(model: &dyn Model, pictures: &[Image], progress: &mut Listener) -> Vec<Calibration> {
    let mut done = 0;
    let mut seen = |_| {
        done += 1;
        progress(Event::Calibrated(done));
    };
    halves(pictures).iter().map(|half| Calibration::run(model, half, &mut seen)).collect()
}

/// The layers that can be int8: those that shall be, and those chosen to stay in f32.
fn candidates(calibration: &Calibration, f32_layers: &[String]) -> Result<(Int8Layers, Int8Layers)> {
    let is_under = |name: &str, prefix: &str| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let layers = || calibration.layers.iter().map(|(layer, _)| layer);
    if let Some(unknown) = f32_layers.iter().find(|prefix| !layers().any(|layer| is_under(&layer.name, prefix))) {
        let known: Vec<&str> = layers().map(|layer| layer.name.as_str()).collect();
        let message = format!("there is no layer {unknown:?} to leave in f32; there are {}", known.join(", "));
        return Err(Error::WeightsMismatch(message));
    }
    let fits = |layer: &&Layer| layer.k() <= MAX_K && (!layer.is_depthwise || layer.channels.is_multiple_of(8));
    let can = layers().filter(|layer| !layer.inputs.is_empty()).filter(fits);
    let names = can.map(|layer| layer.name.clone());
    let (chosen, int8): (Int8Layers, Int8Layers) =
        names.partition(|name| f32_layers.iter().any(|prefix| is_under(name, prefix)));
    match int8.is_empty() {
        true => Err(Error::WeightsMismatch("no layer is left to quantise; leave fewer in f32".to_string())),
        false => Ok((int8, chosen)),
    }
}
