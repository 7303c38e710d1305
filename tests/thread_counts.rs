//! Every model gives the same bits with any number of threads, in f32 and in int8: how work is split does not depend on it.
#![cfg(feature = "threads")]

mod generator;
#[cfg(feature = "cli")]
#[allow(dead_code, reason = "its runs serve other tests")]
mod quantised;
mod whole;

use generator::GeneratedWeights;
use mobilesight::image::Image;
use mobilesight::models::registry::REGISTRY;
use mobilesight::models::{Model, Options, Raw};
use mobilesight::nn::Context;

/// The bits of all that a network gives.
fn bits(raw: &Raw) -> Vec<u32> {
    match raw {
        Raw::Detections(found) => {
            let of = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            found.iter().flat_map(|d| [of(&d.b), of(&[d.score]), vec![d.group as u32]].concat()).collect()
        }
        Raw::Scores(values) | Raw::Logits(values) => values.to_vec().iter().map(|v| v.to_bits()).collect(),
    }
}

fn run(model: &dyn Model) -> Vec<u32> {
    let (mut cx, picture) = (Context::default(), whole::rgba(whole::SIZE));
    let input = model.preprocess(&mut cx, Image::new(&picture, whole::SIZE.0, whole::SIZE.1).unwrap());
    bits(&model.forward(&mut cx, input, &Options::default()))
}

fn check(model: &dyn Model, what: &str) {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(model))
    };
    let want = with(1);
    assert!(!want.is_empty(), "{what} finds something");
    for threads in [2, 3] {
        assert!(with(threads) == want, "{what} with {threads} threads");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for row in REGISTRY {
        let model = (row.load)(&GeneratedWeights, &whole::metadata(row.arch)).unwrap();
        check(&*model, row.arch);
    }
}

/// The quantiser's models; TorchVision's own int8 is above.
#[cfg(feature = "cli")]
#[test]
fn any_number_of_threads_gives_the_same_bits_in_int8() {
    use mobilesight::weights::SafeTensorsFile;
    use serde_json::json;
    for row in REGISTRY.iter().filter(|row| row.quantised().is_none()) {
        let file = quantised::int8_file(row.arch);
        let source = SafeTensorsFile::new(&file).unwrap();
        let mut metadata = source.metadata().unwrap().unwrap();
        // Larger than what it was made on, or its layers are too small to be shared.
        metadata.config["min_size"] = json!(256);
        metadata.config["max_size"] = json!(512);
        if !metadata.preset.is_null() {
            metadata.preset = json!({"resize": 256});
        }
        let model = (row.load)(&source, &metadata).unwrap();
        check(&*model, &format!("{} in int8", row.arch));
    }
}
