//! `mobilesight quantize` as it is built: what it writes, and what it says on the way.
#![cfg(feature = "cli")]

#[allow(dead_code, reason = "the rest serves other commands")]
mod command_line;

use command_line::*;
use std::fs::read;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

/// The report names each layer's signal-to-noise ratio, and what is written runs.
#[test]
fn quantize_writes_a_smaller_file_that_runs() {
    let to = folder("quantize").join("int8.safetensors");
    let fixed = ["--max-drop", "1", "--search-pictures", "1", "--f32-layers", "features.1"];
    let report = text(&[&["quantize", CHECKPOINT, "--pictures", "www/samples", "-o", utf8(&to)], &fixed[..]].concat());
    assert!(report.contains("features.2.block.0.0: signal-to-noise"), "{report}");
    assert!(report.contains("all int8: distance"), "{report}");
    assert!(read(&to).unwrap().len() * 3 < read(CHECKPOINT).unwrap().len());
    let classes = parsed(&["run", "--weights", utf8(&to), "--picture", &sample("china.png")]);
    assert!(!classes["classes"].as_array().unwrap().is_empty(), "{classes}");
    let error = refusal(&["quantize", utf8(&to), "--pictures", "www/samples", "-o", "none.safetensors"]);
    assert!(error.contains("quantised already"), "{error}");
}

/// The names and ratios of the report's layers, in dB.
fn ratios(report: &str) -> Vec<(&str, f64)> {
    let layers = report.lines().filter_map(|line| line.trim().split_once(": signal-to-noise "));
    let ratio = |shown: &str| shown.strip_suffix(" dB").and_then(|db| db.parse().ok());
    layers.map(|(name, shown)| (name, ratio(shown).unwrap_or_else(|| panic!("{name} has {shown}")))).collect()
}

#[test]
fn the_same_pictures_make_the_same_file_and_report() {
    let folder = folder("quantize_twice");
    let files = ["first", "second"].map(|name| folder.join(name));
    let reports = files.each_ref().map(|file| {
        let run = ["quantize", CHECKPOINT, "--pictures", "www/samples", "--max-drop", "0", "-o", utf8(file)];
        text(&run).replace(utf8(file), "FILE")
    });
    assert_eq!(reports[0], reports[1]);
    assert!(read(&files[0]).unwrap() == read(&files[1]).unwrap(), "the files differ");
    // Nothing but the last unit is as exact as that.
    assert!(reports[0].contains("of the work in f32: distance"), "{}", reports[0]);
    let ratios = ratios(&reports[0]);
    // The stem, eleven blocks of two or three layers, and the three last ones.
    assert!(ratios.len() > 4 + 2 * 11, "{ratios:?}");
    assert!(ratios.iter().all(|(_, db)| (5.0..120.0).contains(db)), "{ratios:?}");
}

#[test]
fn progress_is_of_the_calibration_and_of_the_search() {
    let to = folder("progress").join("int8.safetensors");
    let run = ["quantize", CHECKPOINT, "--pictures", "www/samples", "--max-drop", "1", "--search-pictures", "1"];
    let output = mobilesight(&[&run[..], &["-o", utf8(&to), "--progress"]].concat());
    assert!(output.status.success());
    let [words, report] = [output.stderr, output.stdout].map(|bytes| String::from_utf8(bytes).expect("words"));
    // A unit each, and all together.
    let units = report.lines().filter(|line| line.contains("% of the work, int8 alone")).count();
    let is_picture = |name: &str| name.ends_with(".png") || name.ends_with(".jpg");
    let samples = std::fs::read_dir("www/samples").unwrap().map(|item| item.unwrap().file_name());
    let pictures = samples.filter(|name| is_picture(name.to_str().unwrap())).count();
    let calibrated = (1..=pictures).map(|i| format!("calibrate {i}/{pictures}"));
    let searched = (1..=units + 1).map(|i| format!("search {i}/{}", units + 1));
    assert_eq!(words.lines().collect::<Vec<_>>(), calibrated.chain(searched).collect::<Vec<_>>());
}

/// As `head -1` does, who has seen enough.
#[test]
fn a_reader_that_leaves_stops_nothing() {
    let to = folder("head").join("int8.safetensors");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mobilesight"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.args(["quantize", CHECKPOINT, "--pictures", "www/samples", "--search-pictures", "1", "-o", utf8(&to)]);
    let mut running = command.spawn().expect("the command line starts");
    let mut first = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("1 of "), "{first}");
    let mut words = String::new();
    running.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!((running.wait().unwrap().code(), words.as_str()), (Some(0), ""));
    assert!(to.exists());
}
