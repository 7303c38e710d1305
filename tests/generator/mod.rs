//! The goldens' generator: weights from names. TorchVision was given the same.

use mobilesight::Result;
use mobilesight::weights::Weights;
use safetensors::Dtype;

/// `n` values of SplitMix64 whose state starts at FNV-1a-64 of `name`.
pub fn bits(name: &str, n: usize) -> impl Iterator<Item = u64> {
    let start = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3));
    (1..=n as u64).map(move |i| {
        let z = start.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// `n` floats in [0, 1): the top 24 bits of each value.
pub fn uniform(name: &str, n: usize) -> Vec<f32> {
    bits(name, n).map(|b| (b >> 40) as f32 / (1 << 24) as f32).collect()
}

/// Weights made from each tensor's name alone, as those were that the goldens are of.
pub struct GeneratedWeights;

/// What a weight's range is multiplied by.
fn gain(name: &str) -> f64 {
    match name {
        "roi_heads.box_predictor.cls_score.weight" => 12.0,
        "rpn.head.cls_logits.weight" => 6.0,
        "roi_heads.box_predictor.bbox_pred.weight" | "rpn.head.bbox_pred.weight" => 2.0,
        _ if name.starts_with("head.classification_head.") && is_predictor(name) => 20.0,
        _ => 1.0,
    }
}

/// Whether `name` is of SSDlite's 1x1 layers, `module_list.i.1`; a BatchNorm of these is `module_list.i.0.1`.
fn is_predictor(name: &str) -> bool {
    let layer = name.split_once(".module_list.").and_then(|(_, tail)| tail.split_once('.'));
    layer.is_some_and(|(_, leaf)| leaf.starts_with("1."))
}

/// Whether tensor `name` is of a BatchNorm. Its weight has one dimension, which no convolution's has. Its bias is told by the
/// place: a BatchNorm comes second in a Sequential, or third behind DeepLab's modules, where no convolution but SSDlite's
/// predictors has a bias.
fn is_batch_norm(name: &str, shape: &[usize]) -> bool {
    if name.ends_with(".weight") {
        return shape.len() == 1;
    }
    (name.ends_with(".1.bias") || name.ends_with(".2.bias")) && !is_predictor(name)
}

impl Weights for GeneratedWeights {
    fn contains(&self, _name: &str) -> bool {
        true
    }

    fn rows(&self, name: &str, shape: &[usize], each: &mut dyn FnMut(usize, &[f32])) -> Result<()> {
        let (_, leaf) = name.rsplit_once('.').expect("a path");
        let fan_in: usize = shape[1..].iter().product();
        let bound = ((3.6 / fan_in as f64).sqrt() * gain(name)) as f32;
        let value = |u: f32| match (leaf, is_batch_norm(name, shape)) {
            ("running_var", _) => 0.5 + u,
            ("running_mean", _) => (u - 0.5) * 0.2,
            ("weight", true) => 0.8 + 0.4 * u,
            ("bias", true) => (u - 0.5) * 0.4,
            ("scale" | "weight_scale", _) => 0.01 + 0.01 * u,
            ("bias", false) => (u - 0.5) * 0.2,
            _ => (u * 2.0 - 1.0) * bound,
        };
        let values: Vec<f32> = uniform(name, shape.iter().product()).into_iter().map(value).collect();
        values.chunks_exact(fan_in.max(1)).enumerate().for_each(|(i, row)| each(i, row));
        Ok(())
    }

    fn byte_rows(&self, name: &str, shape: &[usize], _: Dtype, each: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let values: Vec<u8> = bits(name, shape.iter().product()).map(|b| (b >> 40) as u8).collect();
        values.chunks_exact(shape[1..].iter().product()).enumerate().for_each(|(i, row)| each(i, row));
        Ok(())
    }
}
