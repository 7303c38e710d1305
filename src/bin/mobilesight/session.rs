//! A model read from a weights file, and the memory that it runs in.

use crate::options::ModelFile;
use crate::weights::{WeightsFile, read_weights};
use anyhow::{Context as _, Result};
use mobilesight::image::Image;
use mobilesight::models::registry::{Entry, entry};
use mobilesight::models::{Model, Options, Output};
use mobilesight::nn::Context;
use mobilesight::tensor::Workspace;
use mobilesight::weights::Metadata;
use std::time::Instant;

/// A loaded model.
pub struct Session {
    /// What its file says of it.
    pub metadata: Metadata,
    /// Its row of the registry.
    pub entry: &'static Entry,
    /// The result of the last run.
    pub output: Output,
    model: Box<dyn Model>,
    workspace: Workspace,
}

/// The milliseconds of preprocessing, of the network and of postprocessing.
pub type Times = [f64; 3];

impl Session {
    /// Reads the model.
    pub fn open(model: &ModelFile) -> Result<Session> {
        let bytes = read_weights(&model.weights)?;
        let load = || {
            let file = WeightsFile::new(&model.weights, &bytes)?;
            let metadata = file.describe(model.arch.as_deref(), None)?;
            let entry = entry(&metadata.arch)?;
            let model = (entry.load)(file.state_dict(), &metadata)?;
            Ok(Session { metadata, entry, output: Output::default(), model, workspace: Workspace::default() })
        };
        let loaded: mobilesight::Result<Session> = load();
        loaded.with_context(|| model.weights.display().to_string())
    }

    /// Runs the three steps on `image`; the result is [`Session::output`]. It fails where the model cannot take the picture's shape.
    pub fn run(&mut self, image: Image, options: &Options) -> Result<Times> {
        self.run_watched(image, options, Context::default())
    }

    /// [`Session::run`] under those who watch in `cx`.
    pub fn run_watched(&mut self, image: Image, options: &Options, mut cx: Context) -> Result<Times> {
        self.model.check(&image)?;
        cx.workspace = std::mem::take(&mut self.workspace);
        let start = Instant::now();
        let input = self.model.preprocess(&mut cx, image);
        let (size, prepared) = (input.size, Instant::now());
        let raw = self.model.forward(&mut cx, input, options);
        let computed = Instant::now();
        raw.postprocess(&mut cx, size, (image.height, image.width), &mut self.output);
        self.workspace = cx.workspace;
        Ok([prepared - start, computed - prepared, computed.elapsed()].map(|time| time.as_secs_f64() * 1e3))
    }

    /// The label of class `id`, or its number where the file names no class.
    pub fn label(&self, id: usize) -> String {
        self.metadata.labels.get(id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// How many classes there are.
    pub fn num_classes(&self) -> usize {
        let stated = self.metadata.config["num_classes"].as_u64();
        stated.map_or(self.metadata.labels.len(), |n| n as usize)
    }
}
