//! What a model's activations are on real pictures, by channel, and which layers read them: seen in runs of the f32 model.

use crate::image::Image;
use crate::models::{Model, Options};
use crate::nn::{Context, Layer, Origin};
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// The values of an activation's channels.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// The least, or zero.
    pub min: Vec<f32>,
    /// The largest, or zero.
    pub max: Vec<f32>,
    sum: Vec<f64>,
    count: u64,
}

impl Statistics {
    fn new(channels: usize) -> Statistics {
        Statistics { min: vec![0.0; channels], max: vec![0.0; channels], sum: vec![0.0; channels], count: 0 }
    }

    fn add(&mut self, x: &Tensor) {
        for pixel in (0..x.h).flat_map(|y| x.row(y).chunks_exact(x.c)) {
            for (c, v) in pixel.iter().enumerate() {
                self.min[c] = self.min[c].min(*v);
                self.max[c] = self.max[c].max(*v);
                self.sum[c] += f64::from(*v);
            }
        }
        self.count += (x.h * x.w) as u64;
    }

    /// Of both together.
    pub fn merge(&mut self, other: &Statistics) {
        for c in 0..self.sum.len() {
            self.min[c] = self.min[c].min(other.min[c]);
            self.max[c] = self.max[c].max(other.max[c]);
            self.sum[c] += other.sum[c];
        }
        self.count += other.count;
    }

    /// Of `channels` channels, where several pixels side by side were seen as one.
    pub fn folded(&self, channels: usize) -> Statistics {
        let mut folded = Statistics::new(channels);
        let pixels = self.sum.len() / channels;
        for i in 0..pixels {
            let of = |v: &[f32]| v[i * channels..][..channels].to_vec();
            let sum = self.sum[i * channels..][..channels].to_vec();
            folded.merge(&Statistics { min: of(&self.min), max: of(&self.max), sum, count: self.count });
        }
        folded
    }

    /// The mean of channel `c`.
    pub fn mean(&self, c: usize) -> f32 {
        if self.count == 0 { 0.0 } else { (self.sum[c] / self.count as f64) as f32 }
    }
}

/// What the runs showed.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// By name.
    pub activations: BTreeMap<String, Statistics>,
    /// Products with a gate, and what they are the product of.
    pub gated: BTreeMap<String, String>,
    /// In the order in which they run, with the multiplications of all runs.
    pub layers: Vec<(Layer, u64)>,
}

impl Calibration {
    /// Runs `model`, in f32, on `pictures`; `progress` hears how many are done.
    pub fn run(model: &dyn Model, pictures: &[Image], progress: &mut dyn FnMut(usize)) -> Calibration {
        let mut calibration = Calibration::default();
        let mut watch = |name: &str, x: &Tensor, origin: Origin| calibration.add(name, x, origin);
        let mut cx = Context { activations: Some(&mut watch), ..Context::default() };
        for (i, picture) in pictures.iter().enumerate() {
            let input = model.preprocess(&mut cx, *picture);
            // What comes after the network needs no scales; its memory goes with the context.
            model.forward(&mut cx, input, &Options::default());
            progress(i + 1);
        }
        drop(cx);
        calibration
    }

    /// Of both's pictures together, of one model.
    pub fn merge(&mut self, other: &Calibration) {
        for (name, statistics) in &other.activations {
            match self.activations.get_mut(name) {
                Some(own) => own.merge(statistics),
                None => drop(self.activations.insert(name.clone(), statistics.clone())),
            }
        }
        self.gated.extend(other.gated.clone());
        for (layer, macs) in &other.layers {
            self.count(layer, *macs);
        }
    }

    fn count(&mut self, layer: &Layer, macs: u64) {
        match self.layers.iter_mut().find(|(known, _)| known.name == layer.name) {
            Some((_, sum)) => *sum += macs,
            None => self.layers.push((layer.clone(), macs)),
        }
    }

    fn add(&mut self, name: &str, x: &Tensor, origin: Origin) {
        let statistics = self.activations.entry(name.to_string()).or_insert_with(|| Statistics::new(x.c));
        statistics.add(x);
        match origin {
            Origin::Model => {}
            Origin::Gated(of) => drop(self.gated.insert(name.to_string(), of.to_string())),
            Origin::Layer(layer) => {
                let macs = (x.h * x.w * layer.out_channels() * layer.k()) as u64;
                self.count(layer, macs);
            }
        }
    }

    /// The statistics of the activations that `layer` reads, together.
    pub fn input_of(&self, layer: &Layer) -> Statistics {
        let mut all = Statistics::new(layer.channels);
        layer
            .inputs
            .iter()
            .filter_map(|name| self.activations.get(name))
            .for_each(|s| all.merge(&s.folded(layer.channels)));
        all
    }
}
