//! `cargo run --release --features cli --example int8_weights -- OUT_DIR`: a small int8 model of every architecture, for the tests in a
//! browser: what the quantiser makes of generated weights, and the golden checkpoint of TorchVision's own int8 classifier.

#[path = "../tests/generator/mod.rs"]
mod generator;
#[path = "../tests/quantised/mod.rs"]
#[allow(dead_code, reason = "its runs serve tests")]
mod quantised;

use mobilesight::models::registry::REGISTRY;
use std::path::Path;

fn main() {
    let folder = std::env::args().nth(1).expect("the folder to write");
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/quantized_mobilenet_v3_large_w035.safetensors");
    for row in REGISTRY {
        let path = Path::new(&folder).join(format!("{}.int8.safetensors", row.arch));
        let file = match row.quantised() {
            Some(_) => std::fs::read(golden).unwrap_or_else(|e| panic!("{golden}: {e}")),
            None => quantised::int8_file(row.arch),
        };
        std::fs::write(&path, file).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
