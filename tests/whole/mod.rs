//! Every architecture at its full width on a small picture: its layers are large enough to be shared between threads.

use mobilesight::models::registry::entry;
use mobilesight::weights::Metadata;
use serde_json::{Value, json};

/// Columns and rows of the picture.
pub const SIZE: (usize, usize) = (120, 90);

/// RGBA of a picture of so many columns and rows.
pub fn rgba((width, height): (usize, usize)) -> Vec<u8> {
    (0..width * height * 4).map(|i| (i * 7 % 251) as u8).collect()
}

/// What a file would say of the model of `arch`.
pub fn metadata(arch: &str) -> Metadata {
    let is_segmenter = entry(arch).unwrap().labels.lines().count() == 21;
    Metadata {
        arch: arch.to_string(),
        labels: vec![String::new(); 7],
        config: json!({"representation_size": 32, "min_size": 128, "max_size": 256}),
        preset: if is_segmenter { json!({"resize": 96}) } else { Value::Null },
        source: None,
        license: None,
    }
}
