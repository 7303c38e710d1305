//! Models of a file's header alone, as a page has them while the values are on their way.
#![cfg(not(target_arch = "wasm32"))]

use mobilesight::image::Image;
use mobilesight::models::registry::{describe, entry};
use mobilesight::models::{Model, Options};
use mobilesight::nn::Context;
use mobilesight::weights::{Blank, SafeTensorsFile};
use std::path::Path;

const FILES: [&str; 4] = [
    "coco-fasterrcnn-mobilenetv3-320.f16",
    "coco-fasterrcnn-mobilenetv3-320.int8",
    "street-lraspp-mobilenetv3.f16",
    "street-lraspp-mobilenetv3.int8",
];

/// The header of a default weights file, and the length of the file.
fn head_of(name: &str) -> (Vec<u8>, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("www/models/{name}.safetensors"));
    let mut bytes = std::fs::read(path).expect("the default weights");
    let (len, header) = (bytes.len(), u64::from_le_bytes(*bytes.first_chunk().expect("a header")) as usize);
    bytes.truncate(8 + header);
    (bytes, len)
}

fn load(head: &dyn mobilesight::source::Source) -> mobilesight::Result<Box<dyn Model>> {
    let file = SafeTensorsFile::head(head)?;
    let metadata = describe(&file, None, None)?;
    (entry(&metadata.arch)?.load)(&Blank(&file), &metadata)
}

#[test]
fn every_default_model_runs_without_its_values() {
    for name in FILES {
        let (head, len) = head_of(name);
        assert_eq!(SafeTensorsFile::head(&head).unwrap().promised_len(), len, "{name}");
        let model = load(&head).unwrap_or_else(|error| panic!("{name}: {error}"));
        let rgba = vec![128; 64 * 48 * 4];
        let mut cx = Context::default();
        let input = model.preprocess(&mut cx, Image::new(&rgba, 64, 48).unwrap());
        let (size, options) = (input.size, Options { rpn_score_thresh: Some(0.0), ..Options::default() });
        let mut output = Default::default();
        model.forward(&mut cx, input, &options).postprocess(&mut cx, size, (48, 64), &mut output);
        assert_eq!(output.mask.len(), if name.contains("lraspp") { 48 * 64 } else { 0 }, "{name}");
    }
}

#[test]
fn what_the_header_lacks_or_has_otherwise_is_refused() {
    for (name, from, to) in [
        (FILES[2], "backbone.0.0.weight", "backbone.0.0.weighs"),
        (FILES[2], "[16,3,3,3]", "[16,3,9,1]"),
        (FILES[3], "backbone.4.block.1.0.weight_scale", "backbone.4.block.1.0.weight_scalf"),
    ] {
        let text = String::from_utf8(head_of(name).0.split_off(8)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        let mut head = (text.len() as u64).to_le_bytes().to_vec();
        head.extend(text.replacen(from, to, 1).bytes());
        assert_eq!(load(&head).err().expect("no model").code(), "E_WEIGHTS_MISMATCH", "{name}, {to}");
    }
}
