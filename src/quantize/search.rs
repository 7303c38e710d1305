//! Which layers to leave in f32, by measuring each unit alone and predicting what they do together.
//!
//! ```text
//! d[u]         distance of the results when unit u alone is int8
//! predicted    sqrt(sum of d[u]^2 over the units in int8): their roundings are independent of each other
//! cost         d[u]^2 / work: what leaving u in f32 gains for the time that it takes
//! ```
//! Of the default detector, all in int8, 0.175 was predicted and 0.185 measured. Pictures that the ranges come from do not
//! tell: its last block then costs 0.020 and not 0.116, for the rare large values of new pictures are missing. Units are chosen by the prediction, since a
//! measurement of many together goes up and down by more than one of them is worth; what is chosen is then measured.

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
    /// Its share of all layers' multiplications.
    work: f64,
    /// The distance when it alone is int8.
    alone: f64,
    /// Whether it is left in f32.
    left: bool,
}

/// The distance when those `units` are int8 that are not left.
fn predicted(units: &[Unit]) -> f64 {
    units.iter().filter(|unit| !unit.left).map(|unit| unit.alone.powi(2)).sum::<f64>().sqrt()
}

/// Leaves `units`, the first ones first, until the predicted distance is within `bound`; then takes back those that need not be left,
/// the one with the most work first.
fn choose(units: &mut [Unit], bound: f64) {
    units.iter_mut().for_each(|unit| unit.left = false);
    for i in 0..units.len() - 1 {
        if predicted(units) <= bound {
            break;
        }
        units[i].left = true;
    }
    let mut left: Vec<usize> = (0..units.len()).filter(|i| units[*i].left).collect();
    left.sort_by(|i, j| units[*j].work.total_cmp(&units[*i].work));
    for i in left {
        units[i].left = false;
        units[i].left = predicted(units) > bound;
    }
}

/// A bound as good as none: only what is predicted to do nothing stays int8.
const LEAST_BOUND: f64 = 1e-6;

/// Lowers `bound` until [`choose`] leaves a unit that is not left yet. Where no prediction asks for one, the first of the others is left
/// beside those that are: what is measured is more than predicted.
fn leave_more(units: &mut [Unit], bound: &mut f64) {
    let before: Vec<bool> = units.iter().map(|unit| unit.left).collect();
    while *bound > LEAST_BOUND {
        choose(units, *bound);
        if units.iter().zip(&before).any(|(unit, before)| unit.left && !before) {
            return;
        }
        *bound *= 0.95;
    }
    units.iter_mut().zip(before).for_each(|(unit, before)| unit.left = before);
    if let Some(unit) = units.iter_mut().find(|unit| !unit.left) {
        unit.left = true;
    }
}

/// Pictures, and a job whose ranges come from others: the rare large values that a layer meets on new pictures go past them here, too.
pub struct Fold<'a> {
    job: Job<'a>,
    pictures: Vec<Image<'a>>,
    /// The f32 model's results, and its layers' outputs on the first picture.
    results: Vec<Output>,
    outputs: Outputs,
}

impl<'a> Fold<'a> {
    pub fn new(job: Job<'a>, model: &dyn Model, pictures: Vec<Image<'a>>) -> Fold<'a> {
        let (results, outputs) = run(model, &pictures);
        Fold { job, pictures, results, outputs }
    }

    /// The sum of the distances from f32 with these int8 layers, and their outputs on the first picture.
    fn measure(&self, int8: &Int8Layers) -> Result<(f64, Outputs)> {
        let (results, outputs) = run(&*self.job.model(int8)?, &self.pictures);
        let each = self.results.iter().zip(&results).map(|(a, b)| distance(a, b));
        Ok((each.sum(), outputs))
    }
}

/// The measurements of one model.
pub struct Search<'a> {
    pub job: &'a Job<'a>,
    pub folds: Vec<Fold<'a>>,
    pub progress: &'a mut Listener<'a>,
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
        raw.postprocess(&mut cx, size, (picture.height, picture.width), &mut output);
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
    /// The layers of `int8` that can be so for no more than `max_drop`, and what was measured; those `chosen` to stay in f32 are
    /// measured too, to say what for.
    pub fn run(&mut self, mut int8: Int8Layers, chosen: &Int8Layers, max_drop: f64) -> Result<(Int8Layers, Value)> {
        let (mut units, mut others) = (self.units(&int8), self.units(chosen));
        let count = units.len() + others.len();
        (self.progress)(Event::Searched(0, count + 1));
        for (i, unit) in units.iter_mut().chain(&mut others).enumerate() {
            self.measure_alone(unit, &format!("{} of {count} units", i + 1))?;
            (self.progress)(Event::Searched(i + 1, count + 1));
        }
        let (all, _) = self.measure(&int8)?;
        self.tell(format_args!("all int8: distance {all:.4}, {:.4} predicted", predicted(&units)));
        (self.progress)(Event::Searched(count + 1, count + 1));
        let drop = self.leave(&mut units, &mut int8, (all, count + 1), max_drop)?;
        let told = |units: &mut dyn Iterator<Item = &Unit>| -> Vec<Value> {
            units
                .map(|u| json!({ "layer": u.name, "distance_alone": rounded(u.alone), "work": rounded(u.work) }))
                .collect()
        };
        let scheme = self.job.scheme;
        let report = json!({
            "scheme": "int8 weights a channel, uint8 activations a channel",
            "alpha": rounded(scheme.alpha.into()),
            "widen": rounded(scheme.widen.into()),
            "pictures": self.pictures(),
            "max_drop": rounded(max_drop),
            "distance_all_int8": rounded(all),
            "distance": rounded(drop),
            "f32_layers": { "chosen": told(&mut others.iter()), "measured": told(&mut units.iter().filter(|u| u.left)) },
        });
        Ok((int8, report))
    }

    /// Leaves units in f32 until the distance, `drop` of all in int8 after `done` measurements, is no more than `max_drop`; the distance
    /// then. One unit at least stays int8.
    fn leave(
        &mut self,
        units: &mut [Unit],
        int8: &mut Int8Layers,
        (mut drop, mut done): (f64, usize),
        max_drop: f64,
    ) -> Result<f64> {
        // The costliest first; names decide where nothing else does.
        let cost = |unit: &Unit| unit.alone.powi(2) / unit.work;
        units.sort_by(|a, b| cost(b).total_cmp(&cost(a)).then(a.name.cmp(&b.name)));
        let mut bound = max_drop;
        while drop > max_drop && units.iter().filter(|unit| !unit.left).count() > 1 {
            leave_more(units, &mut bound);
            *int8 = units.iter().filter(|unit| !unit.left).flat_map(|unit| unit.layers.clone()).collect();
            (drop, _) = self.measure(int8)?;
            let work: f64 = units.iter().filter(|unit| unit.left).map(|unit| unit.work).sum();
            let (foretold, percent) = (predicted(units), 100.0 * work);
            self.tell(format_args!("{percent:.1} % of the work in f32: distance {drop:.4}, {foretold:.4} predicted"));
            done += 1;
            (self.progress)(Event::Searched(done, done));
            bound = bound.min(foretold) * (max_drop / drop).min(0.95);
        }
        Ok(drop)
    }

    fn tell(&mut self, measured: std::fmt::Arguments) {
        (self.progress)(Event::Measured(&measured.to_string()));
    }

    fn units(&self, int8: &Int8Layers) -> Vec<Unit> {
        let all: u64 = self.job.calibration.layers.iter().map(|(_, macs)| macs).sum();
        let mut units: Vec<Unit> = Vec::new();
        for (layer, macs) in self.job.calibration.layers.iter().filter(|(layer, _)| int8.contains(&layer.name)) {
            let name = layer.name.split_once(".block.").map_or(layer.name.as_str(), |(block, _)| block);
            let work = *macs as f64 / all as f64;
            match units.iter_mut().find(|unit| unit.name == name) {
                Some(unit) => {
                    unit.layers.push(layer.name.clone());
                    unit.work += work;
                }
                None => {
                    let layers = vec![layer.name.clone()];
                    units.push(Unit { name: name.to_string(), layers, work, alone: 0.0, left: false });
                }
            }
        }
        units
    }

    fn measure_alone(&mut self, unit: &mut Unit, label: &str) -> Result<()> {
        let (distance, outputs) = self.measure(&unit.layers.iter().cloned().collect())?;
        unit.alone = distance;
        let percent = 100.0 * unit.work;
        self.tell(format_args!(
            "{label}: {}, {percent:.1} % of the work, int8 alone: distance {:.4}",
            unit.name, unit.alone
        ));
        for layer in &unit.layers {
            let ratio = outputs.get(layer).and_then(|o| signal_to_noise(&self.folds[0].outputs[layer], o));
            let shown = ratio.map_or("-".to_string(), |db| format!("{db:.1} dB"));
            self.tell(format_args!("    {layer}: signal-to-noise {shown}"));
        }
        Ok(())
    }

    fn pictures(&self) -> usize {
        self.folds.iter().map(|fold| fold.pictures.len()).sum()
    }

    /// The mean distance from f32 with these int8 layers, and their outputs on the first picture.
    fn measure(&self, int8: &Int8Layers) -> Result<(f64, Outputs)> {
        let folds: Vec<(f64, Outputs)> = self.folds.iter().map(|fold| fold.measure(int8)).collect::<Result<_>>()?;
        let sum: f64 = folds.iter().map(|(distance, _)| distance).sum();
        let outputs = folds.into_iter().next().map(|(_, outputs)| outputs).unwrap_or_default();
        Ok((sum / self.pictures() as f64, outputs))
    }
}

/// Four decimals, as a file's reader wants them.
fn rounded(v: f64) -> f64 {
    (v * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(alone: f64, work: f64) -> Unit {
        Unit { name: String::new(), layers: Vec::new(), work, alone, left: false }
    }

    #[test]
    fn distances_add_up_as_squares() {
        let mut units = [unit(0.3, 0.1), unit(0.4, 0.1), unit(1.2, 0.1)];
        assert!((predicted(&units) - 1.3).abs() < 1e-12);
        units[2].left = true;
        assert!((predicted(&units) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn as_little_work_is_left_as_the_bound_allows() {
        // The second one alone is not enough, and the third one makes the first one needless.
        let mut units = [unit(0.1, 0.01), unit(0.3, 0.1), unit(0.5, 0.3), unit(0.1, 0.59)];
        choose(&mut units, 0.2);
        assert_eq!(units.each_ref().map(|unit| unit.left), [false, true, true, false]);
        choose(&mut units, 0.9);
        assert!(units.iter().all(|unit| !unit.left));
        choose(&mut units, 0.0);
        assert_eq!(units.each_ref().map(|unit| unit.left), [true, true, true, false]);
    }

    /// What measures above any prediction would be chosen alike for ever.
    #[test]
    fn each_choice_leaves_one_more_than_the_last() {
        let mut units = [unit(0.3, 0.1), unit(0.0, 0.1), unit(0.0, 0.1)];
        let mut bound = 0.5;
        let mut left = || {
            leave_more(&mut units, &mut bound);
            bound = bound.min(predicted(&units)) * 0.5;
            units.each_ref().map(|unit| unit.left)
        };
        assert_eq!(left(), [true, false, false], "the bound is lowered until it asks for one");
        assert_eq!(left(), [true, true, false]);
        assert_eq!(left(), [true, true, true]);
    }
}
