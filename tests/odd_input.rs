//! Pictures, counts and labels that nobody should give, and what comes of them: a result or words, no panic.

mod generator;
mod whole;

use generator::GeneratedWeights;
use mobilesight::Error;
use mobilesight::image::Image;
use mobilesight::models::mobilenetv3::{Arch, inverted_residual_setting};
use mobilesight::models::registry::{REGISTRY, Task, describe, entry};
use mobilesight::models::segmentation::lraspp::{Lraspp, LrasppConfig};
use mobilesight::models::{Model, Options, Output};
use mobilesight::nn::Context;
use mobilesight::weights::{Metadata, SafeTensorsFile};
use serde_json::Value;

// The same list runs in a browser, whose integers are of 32 bits.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

fn run(model: &dyn Model, image: Image, options: &Options) -> Output {
    model.check(&image).unwrap();
    let (mut cx, mut output) = (Context::default(), Output::default());
    let input = model.preprocess(&mut cx, image);
    let size = input.size;
    let raw = model.forward(&mut cx, input, options);
    raw.postprocess(&mut cx, size, (image.height, image.width), &mut output);
    output
}

/// Detectors bound the longer side; all others make the shorter one as long as their preset has it.
#[test]
fn a_picture_that_would_become_too_long_is_refused() {
    let rgba = vec![128; 4 * 90_000];
    for row in REGISTRY {
        let metadata = Metadata { preset: Value::Null, ..whole::metadata(row.arch) };
        let model = (row.load)(&GeneratedWeights, &metadata).unwrap();
        let check = |width, height| model.check(&Image::new(&rgba, width, height).unwrap());
        assert_eq!(check(300, 300), Ok(()), "{}", row.arch);
        for (width, height) in [(90_000, 1), (1, 90_000)] {
            match check(width, height) {
                Ok(()) => assert!(row.task == Task::Detection, "{}", row.arch),
                Err(Error::Image(words)) => assert!(words.contains("cut it shorter"), "{}: {words}", row.arch),
                Err(other) => panic!("{}: {other}", row.arch),
            }
        }
    }
}

/// The stem's map has 1,048,576 pixels: its blocks were told by a product that left 32 bits.
#[test]
fn a_long_picture_is_segmented() {
    let config = LrasppConfig {
        inverted_residual_setting: inverted_residual_setting(Arch::Large, 0.35, true, true),
        inter_channels: 16,
        resize: 512,
        ..LrasppConfig::lraspp_mobilenet_v3_large(5)
    };
    let model = Lraspp::load(&GeneratedWeights, config).unwrap();
    let rgba = whole::rgba((512, 32));
    let output = run(&model, Image::new(&rgba, 512, 32).unwrap(), &Options::default());
    assert_eq!(output.mask.len(), 512 * 32);
    assert!(output.mask.iter().all(|class| *class < 5));
    assert!(output.mask.iter().any(|class| *class != output.mask[0]), "more than one class");
}

/// More than there is of anything is as good as all of it.
#[test]
fn counts_beyond_all_there_is_are_all_there_is() {
    let rgba = whole::rgba(whole::SIZE);
    let image = Image::new(&rgba, whole::SIZE.0, whole::SIZE.1).unwrap();
    for arch in ["fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large"] {
        let model = (entry(arch).unwrap().load)(&GeneratedWeights, &whole::metadata(arch)).unwrap();
        let found = |count| {
            let options = Options {
                rpn_pre_nms_top_n: Some(count),
                rpn_post_nms_top_n: Some(count),
                detections_per_img: Some(count),
                ..Options::default()
            };
            run(&*model, image, &options).detections
        };
        assert_eq!(format!("{:?}", found(usize::MAX)), format!("{:?}", found(1_000_000)), "{arch}");
    }
}

#[test]
fn labels_are_as_many_as_classes() {
    let bytes = include_bytes!("../www/models/street-lraspp-mobilenetv3.int8.safetensors") as &[u8];
    let file = SafeTensorsFile::new(&bytes).unwrap();
    let error = describe(&file, None, Some(vec!["road".to_string()])).unwrap_err();
    assert_eq!(error.code(), "E_WEIGHTS_MISMATCH");
    assert!(error.to_string().contains("1 labels for 11 classes"), "{error}");
    assert_eq!(describe(&file, None, Some(vec![String::new(); 11])).unwrap().labels.len(), 11);
}
