//! The command line as it is built: its results against TorchVision's and against scores made by hand, its words and exit codes.
#![cfg(feature = "cli")]

use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder, codecs::png::PngEncoder};
use mobilesight::nn::boxes::iou;
use serde_json::{Value, json};
use std::fs::{copy, create_dir_all, read, read_to_string, remove_dir_all, write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const DETECTOR: &str = "www/models/coco-fasterrcnn-mobilenetv3-320.f16.safetensors";
const SEGMENTER: &str = "www/models/street-lraspp-mobilenetv3.f16.safetensors";
const CHECKPOINT: &str = "tests/golden/mobilenet_v3_small_w035.pth";
const SAMPLES: [&str; 5] = ["astronaut.png", "chelsea.png", "china.png", "coffee.png", "grace_hopper.png"];

/// Runs the command line in the project's folder.
fn mobilesight(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mobilesight"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
    command.output().expect("the command line starts")
}

/// What it prints to stdout.
fn text(args: &[&str]) -> String {
    let output = mobilesight(args);
    let error = String::from_utf8(output.stderr).expect("words");
    assert!(output.status.success(), "{args:?}: {error}");
    assert_eq!(error, "", "stderr is quiet where it is no terminal");
    String::from_utf8(output.stdout).expect("words")
}

fn parsed(args: &[&str]) -> Value {
    serde_json::from_str(&text(&[args, &["--json"]].concat())).expect("JSON")
}

/// Its error, with exit code 1.
fn refusal(args: &[&str]) -> String {
    let output = mobilesight(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
    let words = String::from_utf8(output.stderr).expect("words");
    assert!(words.starts_with("error: "), "{words}");
    words
}

fn sample(name: &str) -> String {
    format!("www/samples/{name}")
}

/// A new folder of this name.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    if path.exists() {
        remove_dir_all(&path).expect("an old folder goes");
    }
    create_dir_all(&path).expect("a folder");
    path
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn golden() -> Value {
    serde_json::from_str(&read_to_string("tests/golden/samples/samples.json").expect("goldens")).expect("JSON")
}

fn detect(picture: &str) -> Vec<Value> {
    let found = parsed(&["run", "--weights", DETECTOR, "--picture", &sample(picture)]);
    found["detections"].as_array().expect("detections").clone()
}

/// x, y, width, height.
fn sides(detection: &Value) -> [f64; 4] {
    ["x", "y", "width", "height"].map(|side| detection["box"][side].as_f64().expect("a number"))
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

/// Two pictures and a COCO truth of the detector's own boxes, and of `more`.
fn coco(name: &str, more: &[Value]) -> (PathBuf, PathBuf) {
    let folder = folder(name);
    let mut boxes = more.to_vec();
    let mut images = Vec::new();
    for (i, name) in ["astronaut.png", "coffee.png"].iter().enumerate() {
        copy(sample(name), folder.join(name)).unwrap();
        images.push(json!({ "id": i, "file_name": name, "width": 600, "height": 600 }));
        boxes.extend(
            detect(name).iter().map(
                |d| json!({ "image_id": i, "category_id": 100 + d["classId"].as_u64().unwrap(), "bbox": sides(d) }),
            ),
        );
    }
    for (i, b) in boxes.iter_mut().enumerate() {
        let area = b["bbox"][2].as_f64().unwrap() * b["bbox"][3].as_f64().unwrap();
        (b["id"], b["area"], b["iscrowd"]) = (json!(i + 1), json!(area), json!(0));
    }
    let info = parsed(&["info", DETECTOR]);
    // The ids are others than the classes' numbers: names decide.
    let categories = info["labels"].as_array().unwrap().iter().enumerate();
    let categories: Vec<_> = categories.map(|(i, label)| json!({ "id": 100 + i, "name": label })).collect();
    let truth = folder.join("truth.json");
    let json = json!({ "images": images, "annotations": boxes, "categories": categories });
    write(&truth, json.to_string()).unwrap();
    (folder, truth)
}

#[test]
fn a_detector_is_perfect_on_its_own_boxes() {
    let (pictures, truth) = coco("perfect", &[]);
    let eval = ["eval", "--weights", DETECTOR, "--pictures", utf8(&pictures), "--truth", utf8(&truth)];
    let report = parsed(&eval);
    assert_eq!((report["pictures"].as_u64(), &report["agreement"]), (Some(2), &Value::Null));
    for metric in ["ap50", "map"] {
        assert!((report[metric].as_f64().unwrap() - 100.0).abs() < 1e-9, "{report}");
    }
    let report = parsed(&[&eval[..], &["--against", DETECTOR]].concat());
    assert!(report["agreement"]["boxes"].as_u64().unwrap() > 0);
    assert_eq!((&report["agreement"]["share"], &report["agreement"]["score_shift"]), (&json!(100.0), &json!(0.0)));
    assert!(text(&eval).contains("AP50  100.00"));
}

#[test]
fn a_missed_object_costs_what_coco_says() {
    // A giraffe that the detector does not find: its category has recall 0, all others 1.
    let giraffe = json!({ "image_id": 1, "category_id": 124, "bbox": [0.0, 0.0, 50.0, 50.0] });
    let (pictures, truth) = coco("missed", &[giraffe]);
    let classes: std::collections::BTreeSet<_> = ["astronaut.png", "coffee.png"]
        .iter()
        .flat_map(|name| detect(name))
        .map(|d| d["classId"].as_u64().unwrap())
        .collect();
    assert!(!classes.contains(&24));
    let report = parsed(&["eval", "--weights", DETECTOR, "--pictures", utf8(&pictures), "--truth", utf8(&truth)]);
    let want = 100.0 * classes.len() as f64 / (classes.len() + 1) as f64;
    assert!((report["ap50"].as_f64().unwrap() - want).abs() < 1e-9, "{report}, should be {want}");
}

#[test]
fn a_segmenter_is_measured_against_masks() {
    let (pictures, masks) = (folder("street"), folder("street_masks"));
    let classes = 11;
    let mut maps = Vec::new();
    for name in ["astronaut.png", "china.png"] {
        copy(sample(name), pictures.join(name)).unwrap();
        text(&["run", "--weights", SEGMENTER, "--picture", &sample(name), "--mask", utf8(&masks.join(name))]);
        maps.push(image::open(masks.join(name)).unwrap().into_luma8());
    }
    let eval = ["eval", "--weights", SEGMENTER, "--pictures", utf8(&pictures), "--truth", utf8(&masks)];
    let report = parsed(&[&eval[..], &["--against", SEGMENTER]].concat());
    let perfect = json!({ "miou": 100.0, "pixel_accuracy": 100.0, "pictures": 2, "agreement": { "share": 100.0 } });
    assert_eq!(report, perfect);
    // The first map says that all is sky, where it does not say that a pixel has no class; the second is right.
    let mut counts = [[0.0f64; 11]; 2];
    for (map, counts) in maps.iter().zip(&mut counts) {
        map.iter().filter(|class| **class != 1).for_each(|class| counts[usize::from(*class)] += 1.0);
    }
    counts[1][1] = maps[1].iter().filter(|class| **class == 1).count() as f64;
    let sky: Vec<u8> = maps[0].iter().map(|class| if *class == 1 { classes } else { 0 }).collect();
    let (mut file, (w, h)) = (Vec::new(), maps[0].dimensions());
    PngEncoder::new(&mut file).write_image(&sky, w, h, ExtendedColorType::L8).unwrap();
    write(masks.join("astronaut.png"), file).unwrap();
    let [wrong, right] = counts.map(|c| c.iter().sum::<f64>());
    let accuracy = 100.0 * (counts[0][0] + right) / (wrong + right);
    let ious = (0..11).filter(|class| counts[0][*class] + counts[1][*class] > 0.0).map(|class| match class {
        0 => (counts[0][0] + counts[1][0]) / (wrong + counts[1][0]),
        _ => counts[1][class] / (counts[0][class] + counts[1][class]),
    });
    let ious: Vec<f64> = ious.collect();
    let report = parsed(&eval);
    let near = |metric: &str, want: f64| {
        assert!((report[metric].as_f64().unwrap() - want).abs() < 1e-9, "{metric} of {report}, should be {want}");
    };
    near("pixel_accuracy", accuracy);
    near("miou", 100.0 * ious.iter().sum::<f64>() / ious.len() as f64);
}

#[test]
fn a_classifier_runs_and_is_measured_from_a_checkpoint() {
    let folder = folder("classes");
    let classes = |weights: &str| parsed(&["run", "--weights", weights, "--picture", &sample("coffee.png")]);
    let best = classes(CHECKPOINT);
    let ids: Vec<u64> = best["classes"].as_array().unwrap().iter().map(|c| c["classId"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), 5);
    let scores: Vec<f64> = best["classes"].as_array().unwrap().iter().map(|c| c["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().sum::<f64>() <= 1.0, "{scores:?}");
    // Right the first time; right within five; wrong.
    let others = (0..).filter(|class| !ids.contains(class));
    let folders = [ids[0], ids[3]].into_iter().chain(others.take(2));
    for class in folders {
        let class = folder.join(class.to_string());
        create_dir_all(&class).unwrap();
        copy(sample("coffee.png"), class.join("coffee.png")).unwrap();
    }
    let eval = ["eval", "--weights", CHECKPOINT, "--pictures", utf8(&folder), "--against", CHECKPOINT];
    let want = json!({ "top1": 25.0, "top5": 50.0, "pictures": 4, "agreement": { "share": 100.0 } });
    assert_eq!(parsed(&eval), want);
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
    let cases: [(&[&str], &str); 14] = [
        (&["run", "--weights", "absent.safetensors", "--picture", &picture], "absent.safetensors cannot be read"),
        (&["run", "--weights", cut, "--picture", &picture], "the weights end too early, after 100000 bytes"),
        (&["run", "--weights", page, "--picture", &picture], "HTML page"),
        (&["run", "--weights", SEGMENTER, "--picture", "absent.png"], "absent.png cannot be read"),
        (&["run", "--weights", SEGMENTER, "--picture", page], "page.png is no JPEG or PNG picture"),
        (&["run", "--weights", DETECTOR, "--picture", &picture, "--mask", "mask.png"], "gives no mask"),
        (&["run", "--weights", SEGMENTER, "--picture", &picture, "--mask", "mask.jpg"], "a class map is a PNG"),
        (&["run", "--weights", CHECKPOINT, "--picture", &picture, "--draw", "drawn.png"], "nothing to draw"),
        (&eval(DETECTOR, "www/samples", "absent.json"), "absent.json is no COCO annotation file"),
        (&eval(DETECTOR, "www/samples", readme), "README.md is no COCO annotation file"),
        (&eval(SEGMENTER, "www/samples", empty), "astronaut.png is missing; --truth is a folder"),
        (&eval(SEGMENTER, "www/samples", "www/samples"), "astronaut.png is no class map"),
        (&["eval", "--weights", SEGMENTER, "--pictures", "www/samples"], "give --truth"),
        (&["convert", DETECTOR, "-o", "absent/x.safetensors"], "absent/x.safetensors cannot be written"),
    ];
    for (args, words) in cases {
        let error = refusal(args);
        assert!(error.contains(words), "{error} should say {words:?}");
    }
}

#[test]
fn a_truth_that_does_not_fit_is_refused() {
    let (pictures, truth) = coco("misfit", &[]);
    let eval = ["eval", "--weights", DETECTOR, "--pictures", "www/models", "--truth", utf8(&truth)];
    assert!(refusal(&eval).contains("astronaut.png is missing"));
    let eval = ["eval", "--weights", DETECTOR, "--pictures", utf8(&pictures), "--truth", utf8(&truth)];
    let others =
        read_to_string(&truth).unwrap().replace("\"name\":\"", "\"name\":\"no ").replace("\"id\":1", "\"id\":9");
    write(&truth, others).unwrap();
    assert!(refusal(&eval).contains("no category"));
    write(&truth, json!({ "images": [], "annotations": [], "categories": [] }).to_string()).unwrap();
    assert!(refusal(&eval).contains("has no box"));
    let words = refusal(&[&eval[..], &["--against", SEGMENTER]].concat());
    assert!(words.contains("another task"), "{words}");
}

#[test]
fn a_wrong_command_line_exits_with_two() {
    for args in [
        &["run"][..],
        &["paint"],
        &[],
        &["run", "--weights", DETECTOR, "--picture", "x.png", "--threshold", "2"],
        &["bench", "--weights", DETECTOR, "--picture", "x.png", "--runs", "0"],
    ] {
        assert_eq!(mobilesight(args).status.code(), Some(2), "{args:?}");
    }
    for command in ["run", "convert", "eval", "info", "bench"] {
        assert!(text(&[command, "--help"]).contains(&format!("  mobilesight {command} ")), "{command} has an example");
    }
}

#[test]
fn progress_is_on_stderr_when_asked_for() {
    let (pictures, truth) = coco("progress", &[]);
    let eval = ["eval", "--weights", DETECTOR, "--pictures", utf8(&pictures), "--truth", utf8(&truth), "--progress"];
    let output = mobilesight(&eval);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "pictures 1/2\npictures 2/2\n");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("AP50"));
}
