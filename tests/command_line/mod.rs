//! The command line as it is built: runs it and reads what it says.

use serde_json::Value;
use std::fs::{create_dir_all, remove_dir_all};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const DETECTOR: &str = "www/models/coco-fasterrcnn-mobilenetv3-320.f16.safetensors";
pub const SEGMENTER: &str = "www/models/street-lraspp-mobilenetv3.f16.safetensors";
pub const CHECKPOINT: &str = "tests/golden/mobilenet_v3_small_w035.pth";

/// Runs the command line in the project's folder.
pub fn mobilesight(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mobilesight"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
    command.output().expect("the command line starts")
}

/// What it prints to stdout.
pub fn text(args: &[&str]) -> String {
    let output = mobilesight(args);
    let error = String::from_utf8(output.stderr).expect("words");
    assert!(output.status.success(), "{args:?}: {error}");
    assert_eq!(error, "", "stderr is quiet where it is no terminal");
    String::from_utf8(output.stdout).expect("words")
}

pub fn parsed(args: &[&str]) -> Value {
    serde_json::from_str(&text(&[args, &["--json"]].concat())).expect("JSON")
}

/// Its error, with exit code 1.
pub fn refusal(args: &[&str]) -> String {
    let output = mobilesight(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
    let words = String::from_utf8(output.stderr).expect("words");
    assert!(words.starts_with("error: "), "{words}");
    words
}

pub fn sample(name: &str) -> String {
    format!("www/samples/{name}")
}

/// A new folder of this name.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    if path.exists() {
        remove_dir_all(&path).expect("an old folder goes");
    }
    create_dir_all(&path).expect("a folder");
    path
}

pub fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

pub fn detect(picture: &str) -> Vec<Value> {
    let found = parsed(&["run", "--weights", DETECTOR, "--picture", &sample(picture)]);
    found["detections"].as_array().expect("detections").clone()
}

/// x, y, width, height.
pub fn sides(detection: &Value) -> [f64; 4] {
    ["x", "y", "width", "height"].map(|side| detection["box"][side].as_f64().expect("a number"))
}
