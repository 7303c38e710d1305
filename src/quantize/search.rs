//! Which layers to leave in f32, by measuring: each unit alone, then all together with the costliest left out one by one.

use super::distance::distance;
use super::plan::Int8Layers;
use super::{Event, Job, Listener};
use crate::Result;
use crate::image::Image;
use crate::models::{Model, Options, Output};
use crate::nn::{Context, Origin};
use crate::tensor::Tensor;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The values of all layers' outputs on one picture.
type Outputs = BTreeMap<String, Vec<f32>>;

/// A block, or a layer outside of one.
struct Unit {
    name: String,
    layers: Vec<String>,
    macs: u64,
    /// The distance when it alone is int8.
    alone: f64,
}

/// The measurements of one model.
pub struct Search<'a> {
    job: &'a Job<'a>,
    pictures: &'a [Image<'a>],
    /// The f32 model's results, and its layers' outputs on the first picture.
    results: Vec<Output>,
    outputs: Outputs,
    progress: &'a mut Listener<'a>,
}

/// The results of `model` on `pictures`, and its layers' outputs on the first.
fn run(model: &dyn Model, pictures: &[Image]) -> (Vec<Output>, Outputs) {
    let mut outputs = Outputs::new();
    let mut watch = |_: &str, x: &Tensor, origin: Origin| {
        if let Origin::Layer(layer) = origin {
            outputs.entry(layer.name.clone()).or_default().extend(x.to_vec());
        }
    };
    let mut cx = Context { activations: Some(&mut watch), ..Context::default() };
    let mut results = Vec::new();
    for picture in pictures {
        let input = model.preprocess(&mut cx, *picture);
        let (size, mut output) = (input.size, Output::default());
        let raw = model.forward(&mut cx, input, &Options::default());
        model.postprocess(&mut cx, raw, size, (picture.height, picture.width), &mut output);
        results.push(output);
        cx.activations = None;
    }
    drop(cx);
    (results, outputs)
}

/// 10 log10 of the power of `signal` over that of the difference to `other`; none where they are not of the same pictures.
fn signal_to_noise(signal: &[f32], other: &[f32]) -> Option<f64> {
    let power = |v: &mut dyn Iterator<Item = f32>| v.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let noise = power(&mut signal.iter().zip(other).map(|(a, b)| a - b));
    (signal.len() == other.len()).then(|| 10.0 * (power(&mut signal.iter().copied()) / noise).log10())
}

impl<'a> Search<'a> {
    pub fn new(
        job: &'a Job<'a>,
        model: &dyn Model,
        pictures: &'a [Image<'a>],
        progress: &'a mut Listener<'a>,
    ) -> Search<'a> {
        let (results, outputs) = run(model, pictures);
        Search { job, pictures, results, outputs, progress }
    }

    /// The layers of `int8` that can be so for no more than `max_drop`, and what was measured; those `chosen` to stay in f32 are
    /// measured too, to say what for.
    pub fn run(&mut self, mut int8: Int8Layers, chosen: &Int8Layers, max_drop: f64) -> Result<(Int8Layers, Value)> {
        let (mut units, mut others) = (self.units(&int8), self.units(chosen));
        let count = units.len() + others.len();
        for (i, unit) in units.iter_mut().chain(&mut others).enumerate() {
            self.measure_alone(unit, &format!("{} of {count} units", i + 1))?;
        }
        let chosen = others.iter().map(|unit| json!({ "layer": unit.name, "distance_alone": rounded(unit.alone) }));
        let chosen: Vec<Value> = chosen.collect();
        // The costliest for its work first; names decide where nothing else does.
        let cost = |unit: &Unit| unit.alone / unit.macs.max(1) as f64;
        units.sort_by(|a, b| cost(b).total_cmp(&cost(a)).then(a.name.cmp(&b.name)));
        let mut drop = self.measure(&int8)?;
        let mut left = Vec::new();
        self.tell(format_args!("all int8: distance {drop:.4} from f32"));
        for unit in &units {
            if drop <= max_drop || left.len() + 1 == units.len() {
                break;
            }
            int8.retain(|layer| !unit.layers.contains(layer));
            drop = self.measure(&int8)?;
            self.tell(format_args!("{} in f32: distance {drop:.4}", unit.name));
            left.push(
                json!({ "layer": unit.name, "distance_alone": rounded(unit.alone), "distance_after": rounded(drop) }),
            );
        }
        let scheme = self.job.scheme;
        let report = json!({
            "scheme": "int8 weights a channel, uint8 activations a channel",
            "alpha": rounded(scheme.alpha.into()),
            "widen": rounded(scheme.widen.into()),
            "pictures": self.pictures.len(),
            "distance": rounded(drop),
            "f32_layers": { "chosen": chosen, "measured": left },
        });
        Ok((int8, report))
    }

    fn tell(&mut self, measured: std::fmt::Arguments) {
        (self.progress)(Event::Measured(&measured.to_string()));
    }

    fn units(&self, int8: &Int8Layers) -> Vec<Unit> {
        let mut units: Vec<Unit> = Vec::new();
        for (layer, macs) in self.job.calibration.layers.iter().filter(|(layer, _)| int8.contains(&layer.name)) {
            let name = layer.name.split_once(".block.").map_or(layer.name.as_str(), |(block, _)| block);
            match units.iter_mut().find(|unit| unit.name == name) {
                Some(unit) => {
                    unit.layers.push(layer.name.clone());
                    unit.macs += macs;
                }
                None => {
                    let layers = vec![layer.name.clone()];
                    units.push(Unit { name: name.to_string(), layers, macs: *macs, alone: 0.0 });
                }
            }
        }
        units
    }

    fn measure_alone(&mut self, unit: &mut Unit, label: &str) -> Result<()> {
        let model = self.job.model(&unit.layers.iter().cloned().collect())?;
        let (results, outputs) = run(&*model, self.pictures);
        unit.alone = self.distance(&results);
        self.tell(format_args!("{label}: {} int8 alone: distance {:.4}", unit.name, unit.alone));
        for layer in &unit.layers {
            let ratio = outputs.get(layer).and_then(|o| signal_to_noise(&self.outputs[layer], o));
            let shown = ratio.map_or("-".to_string(), |db| format!("{db:.1} dB"));
            self.tell(format_args!("    {layer}: signal-to-noise {shown}"));
        }
        Ok(())
    }

    fn measure(&self, int8: &Int8Layers) -> Result<f64> {
        Ok(self.distance(&run(&*self.job.model(int8)?, self.pictures).0))
    }

    /// The mean distance of `results` from f32's.
    fn distance(&self, results: &[Output]) -> f64 {
        let each = self.results.iter().zip(results).map(|(a, b)| distance(a, b));
        each.sum::<f64>() / results.len() as f64
    }
}

/// Four decimals, as a file's reader wants them.
fn rounded(v: f64) -> f64 {
    (v * 1e4).round() / 1e4
}
