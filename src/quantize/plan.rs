//! Which activations of a partly quantised model are bytes, and with which scales and zero points.
//!
//! An activation has parameters where an int8 layer reads it, or where it is a layer's output that a gate makes such an
//! activation of. Each channel c has a range r[c], widened, and R is the largest. Where only depthwise layers, gates and sums
//! read it, s[c] = r[c] / 255: any scales are free there. A dense layer sums over channels, and its weights have one scale for all of
//! them, so s[c] = (r[c] / R)^alpha * R / 255 shares the trouble between the activation and the weights.

use super::Scheme;
use crate::Result;
use crate::calibrate::{Calibration, Statistics};
use crate::kernels::Activation;
use crate::nn::Layer;
use crate::quant::QParams;
use std::collections::{BTreeMap, BTreeSet};

/// Least range of a channel, as a share of the largest: one that was never seen to move.
const LEAST: f32 = 1e-3;

/// Layers that are int8.
pub type Int8Layers = BTreeSet<String>;

/// The parameters of all activations that have some when `int8` are the int8 layers.
pub fn parameters(calibration: &Calibration, int8: &Int8Layers, scheme: &Scheme) -> Result<BTreeMap<String, QParams>> {
    let mut parameters = BTreeMap::new();
    let readers = || calibration.layers.iter().map(|(layer, _)| layer).filter(|layer| int8.contains(&layer.name));
    for reader in readers() {
        let together: Vec<&Layer> = readers().filter(|l| l.inputs.iter().any(|i| reader.inputs.contains(i))).collect();
        let mut statistics = calibration.input_of(reader);
        together.iter().for_each(|layer| statistics.merge(&calibration.input_of(layer)));
        let alpha = if together.iter().all(|layer| layer.is_depthwise) { 1.0 } else { scheme.alpha };
        let least = reader.inputs.iter().map(|name| least_of(calibration, name)).fold(0.0, f32::min);
        let params = of_range(&reader.inputs[0], &statistics, least, alpha, scheme.widen)?;
        for name in together.iter().flat_map(|layer| &layer.inputs) {
            parameters.insert(name.clone(), params.clone());
        }
    }
    for (product, of) in &calibration.gated {
        let is_int8 = of.strip_suffix(".output").is_some_and(|layer| int8.contains(layer));
        if is_int8 && parameters.contains_key(product) {
            let least = least_of(calibration, of);
            let params = of_range(of, &calibration.activations[of], least, 1.0, scheme.widen)?;
            parameters.insert(of.clone(), params);
        }
    }
    Ok(parameters)
}

/// The least value that activation `name` can have on any picture.
fn least_of(calibration: &Calibration, name: &str) -> f32 {
    let maker = calibration.layers.iter().find(|(layer, _)| layer.output() == name);
    match maker.map(|(layer, _)| layer.activation) {
        Some(Activation::Relu | Activation::Relu6) => 0.0,
        Some(Activation::Hardswish) => -0.375,
        Some(Activation::Identity) | None => f32::NEG_INFINITY,
    }
}

fn of_range(name: &str, statistics: &Statistics, least: f32, alpha: f32, widen: f32) -> Result<QParams> {
    let ends = statistics.min.iter().zip(&statistics.max);
    let ends: Vec<(f32, f32)> = ends.map(|(min, max)| ((min * widen).max(least), max * widen)).collect();
    let largest = ends.iter().map(|(low, high)| high - low).fold(0.0, f32::max);
    // An activation that is always zero can have any scale.
    let largest = if largest > 0.0 { largest } else { 1.0 };
    let scale = ends.iter().map(|(low, high)| ((high - low) / largest).max(LEAST).powf(alpha) * largest / 255.0);
    let scale: Vec<f32> = scale.collect();
    let zero = ends.iter().zip(&scale).map(|((low, _), s)| (-low / s).round_ties_even().clamp(0.0, 255.0) as u8);
    QParams::new(name, ends.len(), scale.clone(), zero.collect())
}
