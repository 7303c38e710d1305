//! Weights that say nothing of themselves on the command line: their architecture by names, shapes, the file's name, or a
//! configuration.
#![cfg(feature = "cli")]

#[allow(dead_code, reason = "the rest serves other commands")]
mod command_line;
mod generator;
#[allow(dead_code, reason = "the rest serves int8")]
mod quantised;

use command_line::*;
use mobilesight::models::registry::entry;
use mobilesight::weights::{Metadata, StateDict, Weights};
use quantised::Generated;
use safetensors::tensor::{SafeTensors, TensorView, serialize};
use serde_json::{Value, json};
use std::fs::{read, write};

/// The shipped detector as save_file would write it.
fn bare_detector() -> Vec<u8> {
    let bytes = read(DETECTOR).unwrap();
    serialize(SafeTensors::deserialize(&bytes).unwrap().tensors(), None).unwrap()
}

const LOW: &str = "fasterrcnn_mobilenet_v3_large_320_fpn";
const HIGH: &str = "fasterrcnn_mobilenet_v3_large_fpn";

/// The architecture that `info` tells of a file, and its words on stderr.
fn told(file: &str, more: &[&str]) -> (String, String) {
    let output = mobilesight(&[&["info", file, "--json"], more].concat());
    let words = String::from_utf8(output.stderr).expect("words");
    assert!(output.status.success(), "{words}");
    let info: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (info["arch"].as_str().expect("a name").to_string(), words)
}

#[test]
fn the_name_of_a_file_chooses_between_presets() {
    let (folder, bytes) = (folder("names"), bare_detector());
    for (name, arch) in
        [("-907ea3f9", LOW), ("-fb6a3cc7", HIGH), ("", HIGH)].map(|(end, arch)| (format!("{arch}{end}"), arch))
    {
        let file = folder.join(format!("{name}.safetensors"));
        write(&file, &bytes).unwrap();
        assert_eq!(told(utf8(&file), &[]), (arch.to_string(), String::new()), "{name}");
    }
    let named = folder.join(format!("{HIGH}.safetensors"));
    assert_eq!(told(utf8(&named), &["--arch", LOW]).0, LOW);
    let converted = folder.join("converted.safetensors");
    text(&["convert", utf8(&named), "-o", utf8(&converted)]);
    assert_eq!(told(utf8(&converted), &[]), (HIGH.to_string(), String::new()));
}

#[test]
fn a_choice_that_nothing_tells_is_told_in_a_line() {
    let (folder, bytes) = (folder("choice"), bare_detector());
    // One that is of another family tells nothing either.
    for name in ["mine.safetensors", "mobilenet_v3_large-1.safetensors"] {
        let file = folder.join(name);
        write(&file, &bytes).unwrap();
        let (arch, words) = told(utf8(&file), &[]);
        assert_eq!((arch.as_str(), words.lines().count()), (LOW, 1), "{words}");
        assert!(words.contains(&format!("taken for {LOW}")) && words.contains(&format!("--arch {HIGH}")), "{words}");
        assert_eq!(told(utf8(&file), &["--arch", HIGH]), (HIGH.to_string(), String::new()));
    }
}

/// Five blocks, which no table has: strides and activations cannot be told.
#[test]
fn a_setting_of_ones_own_is_converted_by_its_config() {
    let folder = folder("config");
    let config = json!({
        "inverted_residual_setting": [
            [16, 3, 16, 16, true, "RE", 2, 1],
            [16, 3, 72, 24, false, "RE", 2, 1],
            [24, 5, 96, 40, true, "HS", 2, 1],
            [40, 5, 240, 40, true, "HS", 1, 1],
            [40, 5, 120, 48, true, "HS", 1, 1],
        ],
        "last_channel": 64,
        "num_classes": 3,
    });
    let labels = ["cat", "dog", "bird"].map(str::to_string).to_vec();
    let (arch, null) = ("mobilenet_v3_small".to_string(), Value::Null);
    let metadata =
        Metadata { arch, labels: labels.clone(), config: config.clone(), preset: null, source: None, license: None };
    let weights = Generated::default();
    (entry(&metadata.arch).unwrap().load)(&weights, &metadata).unwrap();
    let tensors = weights.tensors().into_iter().map(|t| {
        let values = weights.f32(&t.name, &t.shape).unwrap();
        (t.name, t.shape, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap();
        (name, view)
    });
    let [from, to, config_file, labels_file] =
        ["mine.safetensors", "converted.safetensors", "config.json", "labels.txt"].map(|name| folder.join(name));
    write(&from, serialize(views, None).unwrap()).unwrap();
    write(&config_file, config.to_string()).unwrap();
    write(&labels_file, labels.join("\n")).unwrap();

    let words = refusal(&["convert", utf8(&from), "-o", utf8(&to), "--labels", utf8(&labels_file)]);
    assert!(words.contains("5 inverted residuals") && words.contains("--config"), "{words}");
    let convert = ["convert", utf8(&from), "-o", utf8(&to), "--arch", "mobilenet_v3_small"];
    text(&[&convert[..], &["--config", utf8(&config_file), "--labels", utf8(&labels_file)]].concat());

    let info = parsed(&["info", utf8(&to)]);
    assert_eq!((&info["arch"], &info["config"], &info["labels"]), (&json!(metadata.arch), &config, &json!(labels)));
    let ran = parsed(&["run", "--weights", utf8(&to), "--picture", &sample("coffee.png")]);
    let classes = ran["classes"].as_array().unwrap();
    let mut found: Vec<_> = classes.iter().map(|class| class["label"].as_str().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, ["bird", "cat", "dog"]);
    let sum: f64 = classes.iter().map(|class| class["score"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4, "{ran}");
}
