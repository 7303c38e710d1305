//! A model read from a weights file, and the memory that it runs in.

use crate::options::ModelFile;
use crate::weights::{WeightsFile, read_weights};
use anyhow::{Context as _, Result};
use mobilesight::image::Image;
use mobilesight::models::registry::{Entry, entry};
use mobilesight::models::{Model, Options, Output};
use mobilesight::nn::{Context, Observer};
use mobilesight::tensor::Workspace;
use mobilesight::weights::Metadata;
use std::time::{Duration, Instant};

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

/// The times of preprocessing, of the network and of postprocessing.
pub type Times = [Duration; 3];

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

    /// Runs the three steps on `image`; the result is [`Session::output`].
    pub fn run<'a>(&mut self, image: Image, options: &Options, observer: Option<&'a mut Observer<'a>>) -> Times {
        let mut cx = Context { workspace: std::mem::take(&mut self.workspace), observer, ..Context::default() };
        let start = Instant::now();
        let input = self.model.preprocess(&mut cx, image);
        let (size, prepared) = (input.size, Instant::now());
        let raw = self.model.forward(&mut cx, input, options);
        let computed = Instant::now();
        raw.postprocess(&mut cx, size, (image.height, image.width), &mut self.output);
        self.workspace = cx.workspace;
        [prepared - start, computed - prepared, computed.elapsed()]
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
