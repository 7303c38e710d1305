//! The command line as it is built: its results against TorchVision's, its words and exit codes.
#![cfg(feature = "cli")]

mod command_line;

use command_line::*;
use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder};
use mobilesight::models::registry::REGISTRY;
use mobilesight::nn::boxes::iou;
use serde_json::{Value, json};
use std::fs::{read, read_to_string, write};

const SAMPLES: [&str; 5] = ["astronaut.png", "chelsea.png", "china.png", "coffee.png", "grace_hopper.png"];

fn golden() -> Value {
    serde_json::from_str(&read_to_string("tests/golden/samples/samples.json").expect("goldens")).expect("JSON")
}

#[test]
fn run_finds_torchvisions_boxes() {
    let golden = golden();
    for name in SAMPLES {
        let (found, want) = (detect(name), &golden[name]);
        assert_eq!(found.len(), want["scores"].as_array().unwrap().len(), "{name}");
        for (i, d) in found.iter().enumerate() {
            let [x, y, width, height] = sides(d);
            let got = [x, y, x + width, y + height].map(|v| v as f32);
            let b = [0, 1, 2, 3].map(|k| want["boxes"][i][k].as_f64().unwrap() as f32);
            assert!(iou(got, b) >= 0.99, "{name}[{i}]: {d}");
            assert_eq!(d["classId"], want["labels"][i], "{name}[{i}]");
            assert!((d["score"].as_f64().unwrap() - want["scores"][i].as_f64().unwrap()).abs() <= 1e-3, "{name}[{i}]");
        }
    }
    // The cat is a dog to TorchVision with these weights too.
    assert_eq!(detect("chelsea.png")[0]["label"], "dog");
}

#[test]
fn run_takes_thresholds_and_counts() {
    let run = |more: &[&str]| {
        let picture = sample("china.png");
        let found = parsed(&[&["run", "--weights", DETECTOR, "--picture", &picture], more].concat());
        found["detections"].as_array().unwrap().clone()
    };
    let all = run(&[]);
    let above: Vec<_> = all.iter().filter(|d| d["score"].as_f64().unwrap() > 0.1).cloned().collect();
    assert!(!above.is_empty() && above.len() < all.len());
    assert_eq!(run(&["--threshold", "0.1"]), above);
    assert!(run(&["--rpn-post-nms", "1"]).len() < all.len());
    assert!(run(&["--rpn-score", "1"]).is_empty());
}

#[test]
fn run_writes_torchvisions_class_map() {
    let (golden, folder) = (golden(), folder("class_map"));
    let file = folder.join("mask.png");
    for name in SAMPLES {
        let picture = sample(name);
        let report = parsed(&["run", "--weights", SEGMENTER, "--picture", &picture, "--mask", utf8(&file)]);
        let mask = image::open(&file).unwrap().into_luma8();
        assert_eq!((report["width"].as_u64(), report["height"].as_u64()), {
            let (w, h) = mask.dimensions();
            (Some(w.into()), Some(h.into()))
        });
        let want: Vec<f64> =
            golden[name]["street_pixels"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
        let mut counts = vec![0; want.len()];
        mask.iter().for_each(|class| counts[usize::from(*class)] += 1);
        for class in report["classes"].as_array().unwrap() {
            let id = class["classId"].as_u64().unwrap() as usize;
            assert_eq!(class["pixels"], counts[id], "{name}: the report counts the mask's pixels");
        }
        let (all, want_all) = (mask.len() as f64, want.iter().sum::<f64>());
        for (class, (count, want)) in counts.iter().zip(&want).enumerate() {
            let (share, want) = (f64::from(*count) / all, want / want_all);
            // The golden is at the network's size, this at the picture's.
            assert!((share - want).abs() < 2e-3, "{name}: {share} of class {class}, should be {want}");
        }
    }
}

#[test]
fn run_draws() {
    let file = folder("draw").join("drawn.png");
    let original = image::open(sample("chelsea.png")).unwrap().into_rgb8();
    for weights in [DETECTOR, SEGMENTER] {
        text(&["run", "--weights", weights, "--picture", &sample("chelsea.png"), "--draw", utf8(&file)]);
        let drawn = image::open(&file).unwrap().into_rgb8();
        assert_eq!(drawn.dimensions(), original.dimensions());
        let changed = drawn.pixels().zip(original.pixels()).filter(|(a, b)| a != b).count();
        assert!(changed > 1000, "{changed} pixels are drawn on");
    }
}

/// A JPEG of `width` x `height` whose EXIF says how to turn it.
fn jpeg(width: u32, height: u32, orientation: u8) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    tiff.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new(&mut bytes);
    encoder.set_exif_metadata(tiff).expect("JPEG has EXIF");
    let grey = vec![128; (width * height) as usize];
    encoder.write_image(&grey, width, height, ExtendedColorType::L8).expect("a JPEG");
    bytes
}

#[test]
fn a_photo_is_turned_as_its_exif_says() {
    let folder = folder("exif");
    for (orientation, size) in [(1, (64, 40)), (6, (40, 64))] {
        let file = folder.join("turned.jpg");
        write(&file, jpeg(64, 40, orientation)).unwrap();
        let report = parsed(&["run", "--weights", SEGMENTER, "--picture", utf8(&file)]);
        let found = (report["width"].as_u64().unwrap(), report["height"].as_u64().unwrap());
        assert_eq!(found, size, "orientation {orientation}");
    }
}

#[test]
fn a_checkpoint_is_converted() {
    let folder = folder("convert");
    let (converted, labels) = (folder.join("small.safetensors"), folder.join("labels.txt"));
    let run = |weights: &str| parsed(&["run", "--weights", weights, "--picture", &sample("coffee.png")]);
    text(&["convert", CHECKPOINT, "-o", utf8(&converted), "--source", "a test"]);
    assert_eq!(run(utf8(&converted)), run(CHECKPOINT), "the same weights give the same scores");
    let info = parsed(&["info", utf8(&converted)]);
    assert_eq!((info["arch"].as_str(), info["source"].as_str()), (Some("mobilenet_v3_small"), Some("a test")));
    let count = info["labels"].as_array().unwrap().len();
    let bytes = info["dtypes"]["F32"]["bytes"].as_u64().unwrap();
    let names: Vec<String> = (0..count).map(|i| format!("name {i}")).collect();
    write(&labels, names.join("\n")).unwrap();
    let again = folder.join("again.safetensors");
    text(&["convert", utf8(&converted), "-o", utf8(&again), "--dtype", "f16", "--labels", utf8(&labels)]);
    let half = parsed(&["info", utf8(&again)]);
    assert_eq!(half["dtypes"]["F16"]["bytes"].as_u64(), Some(bytes / 2));
    assert_eq!((&half["labels"][2], &half["source"]), (&json!("name 2"), &json!("a test")));
    write(&labels, "one\n").unwrap();
    let words = refusal(&["convert", CHECKPOINT, "-o", utf8(&again), "--labels", utf8(&labels)]);
    assert!(words.contains("1 labels for"), "{words}");
}

/// A misspelt parameter would change nothing.
#[test]
fn convert_takes_parameters_that_a_builder_reads() {
    let folder = folder("parameters");
    let (json, file) = (folder.join("given.json"), folder.join("small.safetensors"));
    let convert = |option: &'static str| ["convert", CHECKPOINT, "-o", utf8(&file), option, utf8(&json)];
    for (option, given, known) in [("--config", "num_clases", "num_classes"), ("--preset", "size", "resize")] {
        write(&json, format!("{{\"{given}\": 224}}")).unwrap();
        let words = refusal(&convert(option));
        assert!(words.contains(&format!("{given:?} is not known")) && words.contains(known), "{words}");
    }
    write(&json, r#"{"resize": 240, "crop": 192}"#).unwrap();
    text(&convert("--preset"));
    let info = parsed(&["info", utf8(&file)]);
    assert_eq!(info["input"], json!([192, 192]));
    // What info prints can be given back, as can an int8 file's, with its remarks.
    write(&json, info["config"].to_string()).unwrap();
    text(&convert("--config"));
    assert_eq!(parsed(&["info", utf8(&file)])["config"], info["config"]);
    let config = parsed(&["info", "www/models/street-lraspp-mobilenetv3.int8.safetensors"])["config"].clone();
    assert!(config["quantization"].is_object(), "{config}");
    write(&json, config.to_string()).unwrap();
    text(&["convert", SEGMENTER, "-o", utf8(&file), "--config", utf8(&json)]);
}

/// TorchVision's arguments stand for the rows that it makes of them.
#[test]
fn convert_takes_the_arguments_of_torchvisions_table() {
    let folder = folder("table");
    let (json, file) = (folder.join("given.json"), folder.join("small.safetensors"));
    let convert = ["convert", CHECKPOINT, "-o", utf8(&file), "--config", utf8(&json)];
    let rows = |given: &str| {
        write(&json, given).unwrap();
        text(&convert);
        parsed(&["info", utf8(&file)])["config"]["inverted_residual_setting"].as_array().unwrap().clone()
    };
    let plain = rows("{}");
    assert_eq!(rows(r#"{"width_mult": 0.35}"#), plain, "what the shapes tell, too");
    let dilated = rows(r#"{"dilated": true}"#);
    assert_eq!(dilated[..8], plain[..8]);
    for (row, plain) in dilated.iter().zip(&plain).skip(8) {
        assert_eq!((&row[0], &row[2], &row[6], &row[7]), (&plain[0], &plain[2], &plain[6], &json!(2)), "{row}");
    }
    let both = json!({"dilated": true, "inverted_residual_setting": plain}).to_string();
    for (given, what) in [
        (r#"{"width_mult": 0.5}"#, "has shape"),
        (r#"{"reduced_tail": true}"#, "has shape"),
        (r#"{"width_mult": "wide"}"#, "cannot be read"),
        (r#"{"width_mult": -1}"#, "a width of -1"),
        (&both, "leave them out, or it"),
    ] {
        write(&json, given).unwrap();
        let words = refusal(&convert);
        assert!(words.contains(what), "{given}: {words}");
    }
}

/// A checkpoint of quantisation-aware training becomes an int8 file, which runs and is measured.
#[test]
fn a_quantisation_aware_checkpoint_is_converted() {
    let (folder, qat) = (folder("qat"), "tests/golden/mobilenet_v3_large_w035_qat.pth");
    let (int8, classes) = (folder.join("int8.safetensors"), folder.join("classes"));
    text(&["convert", qat, "-o", utf8(&int8), "--license", "MIT"]);
    let info = parsed(&["info", utf8(&int8)]);
    assert_eq!((&info["arch"], &info["license"]), (&json!("quantized_mobilenet_v3_large"), &json!("MIT")));
    assert_eq!((&info["dtypes"]["I8"]["tensors"], &info["task"]), (&json!(64), &json!("classification")));
    let best = parsed(&["run", "--weights", utf8(&int8), "--picture", &sample("coffee.png"), "--top", "1"]);
    let class = classes.join(best["classes"][0]["classId"].to_string());
    std::fs::create_dir_all(&class).unwrap();
    std::fs::copy(sample("coffee.png"), class.join("coffee.png")).unwrap();
    let measured = parsed(&["eval", "--weights", utf8(&int8), "--pictures", utf8(&classes)]);
    assert_eq!((&measured["top1"], &measured["pictures"]), (&json!(100.0), &json!(1)));
    let words = refusal(&["convert", qat, "-o", utf8(&int8), "--dtype", "f16"]);
    assert!(words.contains("leave --dtype out"), "{words}");
    let words = refusal(&["run", "--weights", qat, "--picture", &sample("coffee.png")]);
    assert!(words.contains("mobilesight convert"), "{words}");
}

#[test]
fn info_tells_what_is_in_a_file() {
    let info = parsed(&["info", SEGMENTER]);
    assert_eq!((&info["arch"], &info["task"]), (&json!("lraspp_mobilenet_v3_large"), &json!("segmentation")));
    assert_eq!((info["labels"].as_array().unwrap().len(), &info["preset"]["resize"]), (11, &json!(320)));
    let bytes = info["dtypes"]["F16"]["bytes"].as_u64().unwrap();
    let size = read(SEGMENTER).unwrap().len() as u64;
    assert!(bytes < size && size < bytes + 100_000, "all but the header is tensors");
    // BatchNorm's statistics are no parameters.
    let parameters = info["parameters"].as_u64().unwrap();
    assert!(2 * parameters < bytes && 2 * parameters > bytes * 9 / 10, "{parameters}");
    assert!(text(&["info", SEGMENTER]).contains("sky, building"));
    assert_eq!(info["input"], json!([320, 320]));
    let int8 = parsed(&["info", "www/models/street-lraspp-mobilenetv3.int8.safetensors"]);
    assert_eq!((&int8["macs"], &int8["input"]), (&info["macs"], &info["input"]));
    let words = text(&["info", DETECTOR]);
    assert!(words.contains(" at 320 x 320") && words.contains(" more for each proposal"), "{words}");
}

/// The README's table is this command's.
#[test]
fn models_lists_the_registry() {
    let table = text(&["models"]);
    let readme = read_to_string("README.md").unwrap();
    for line in table.lines() {
        assert!(readme.contains(line), "README.md lacks {line}; take the table of `mobilesight models`");
    }
    let models = parsed(&["models"])["models"].as_array().unwrap().clone();
    let archs: Vec<_> = models.iter().map(|model| model["arch"].as_str().unwrap()).collect();
    assert_eq!(archs, REGISTRY.iter().map(|entry| entry.arch).collect::<Vec<_>>());
}

#[test]
fn bench_times_every_layer() {
    let report = parsed(&["bench", "--weights", SEGMENTER, "--picture", &sample("china.png"), "--runs", "1"]);
    let layers = report["layers"].as_array().unwrap();
    let outputs: Vec<_> = layers.iter().filter(|l| l["name"] == "backbone.0").map(|l| &l["output"]).collect();
    assert_eq!(outputs, [&json!([160, 240, 16])]);
    let all: f64 = layers.iter().map(|layer| layer["ms"].as_f64().unwrap()).sum();
    assert!(all > 0.0 && report["network"].as_f64().unwrap() > 0.0);
}

#[test]
fn bad_input_is_refused_in_words() {
    let (folder, picture) = (folder("bad"), sample("coffee.png"));
    let cut = folder.join("cut.safetensors");
    write(&cut, &read(SEGMENTER).unwrap()[..100_000]).unwrap();
    let page = folder.join("page.png");
    write(&page, "<!doctype html>").unwrap();
    let (cut, page, empty) = (utf8(&cut), utf8(&page), utf8(&folder));
    let readme = "www/samples/README.md";
    let eval = |weights, pictures, truth| ["eval", "--weights", weights, "--pictures", pictures, "--truth", truth];
    let strips = folder.join("strips");
    std::fs::create_dir_all(&strips).unwrap();
    let strip = strips.join("strip.png");
    image::RgbImage::new(30_000, 1).save(&strip).unwrap();
    let (strip, strips) = (utf8(&strip), utf8(&strips));
    let cases: [(&[&str], &str); 20] = [
        (&["run", "--weights", "absent.safetensors", "--picture", &picture], "absent.safetensors cannot be read"),
        (&["run", "--weights", cut, "--picture", &picture], "the weights end too early, after 100000 bytes"),
        (&["run", "--weights", page, "--picture", &picture], "HTML page"),
        (&["run", "--weights", SEGMENTER, "--picture", "absent.png"], "absent.png cannot be read"),
        (&["run", "--weights", SEGMENTER, "--picture", page], "page.png is no JPEG or PNG picture"),
        (
            &["run", "--weights", SEGMENTER, "--picture", strip],
            "strip.png: a picture of 30000 x 1 becomes more than 8 million pixels",
        ),
        (&["quantize", SEGMENTER, "--pictures", strips, "-o", "x.safetensors"], "cut it shorter"),
        (&["run", "--weights", DETECTOR, "--picture", &picture, "--mask", "mask.png"], "gives no mask"),
        (&["run", "--weights", SEGMENTER, "--picture", &picture, "--mask", "mask.jpg"], "a class map is a PNG"),
        (&["run", "--weights", CHECKPOINT, "--picture", &picture, "--draw", "drawn.png"], "nothing to draw"),
        (&eval(DETECTOR, "www/samples", "absent.json"), "absent.json is no COCO annotation file"),
        (&eval(DETECTOR, "www/samples", readme), "README.md is no COCO annotation file"),
        (&eval(SEGMENTER, "www/samples", empty), "astronaut.png is missing; --truth is a folder"),
        (&eval(SEGMENTER, "www/samples", "www/samples"), "astronaut.png is no class map"),
        (&["eval", "--weights", SEGMENTER, "--pictures", "www/samples"], "give --truth"),
        (&["convert", DETECTOR, "-o", "absent/x.safetensors"], "absent/x.safetensors cannot be written"),
        (
            &["quantize", CHECKPOINT, "--pictures", empty, "-o", "absent/x.safetensors"],
            "x.safetensors cannot be written",
        ),
        (&["run", "--weights", SEGMENTER, "--picture", &picture, "--draw", "drawn.gif"], "a PNG or a JPEG"),
        (&["run", "--weights", SEGMENTER, "--picture", &picture, "--arch", "unet"], "\"unet\" is not known"),
        (&["run", "--weights", CHECKPOINT, "--picture", &picture, "--arch", "unet"], "\"unet\" is not known"),
    ];
    for (args, words) in cases {
        let error = refusal(args);
        assert!(error.contains(words), "{error} should say {words:?}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_two() {
    for args in [
        &["run"][..],
        &["paint"],
        &[],
        &["run", "--weights", DETECTOR, "--picture", "x.png", "--threshold", "2"],
        &["bench", "--weights", DETECTOR, "--picture", "x.png", "--runs", "0"],
        &["quantize", DETECTOR, "--pictures", "www/samples", "-o", "x.safetensors", "--widen", "nan"],
    ] {
        assert_eq!(mobilesight(args).status.code(), Some(2), "{args:?}");
    }
    for command in ["run", "convert", "quantize", "eval", "info", "models", "bench"] {
        assert!(text(&[command, "--help"]).contains(&format!("  mobilesight {command} ")), "{command} has an example");
    }
}
