//! `mobilesight eval` against scores made by hand.
#![cfg(feature = "cli")]

mod command_line;

use command_line::*;
use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{copy, create_dir_all, read_to_string, write};
use std::path::PathBuf;

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
    let classes: BTreeSet<_> = ["astronaut.png", "coffee.png"]
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
fn two_models_are_compared_without_a_truth() {
    let pictures = folder("unlabelled");
    copy(sample("coffee.png"), pictures.join("coffee.png")).unwrap();
    let pictures = utf8(&pictures);
    for weights in [SEGMENTER, CHECKPOINT] {
        let eval = ["eval", "--weights", weights, "--pictures", pictures];
        let report = parsed(&[&eval[..], &["--against", weights]].concat());
        assert_eq!(report, json!({ "pictures": 1, "agreement": { "share": 100.0 } }), "{weights}");
        assert!(refusal(&eval).starts_with("error: there is no"), "{weights}");
    }
    let eval = ["eval", "--weights", DETECTOR, "--pictures", pictures];
    let fewer = parsed(&[&eval[..], &["--against", DETECTOR, "--rpn-post-nms", "1"]].concat());
    assert!(fewer["agreement"]["share"].as_f64().unwrap() < 100.0 && fewer["ap50"].is_null(), "{fewer}");
    assert!(refusal(&eval).contains("give --truth"));
}

/// The number of a class of one model says nothing of a class of the other.
#[test]
fn models_of_other_classes_are_not_compared() {
    let other = folder("other_classes").join("qat.safetensors");
    text(&["convert", "tests/golden/mobilenet_v3_large_w035_qat.pth", "-o", utf8(&other)]);
    let classes = |file| parsed(&["info", file])["labels"].as_array().unwrap().len();
    let (here, there) = (classes(CHECKPOINT), classes(utf8(&other)));
    let words = refusal(&["eval", "--weights", CHECKPOINT, "--pictures", "www/samples", "--against", utf8(&other)]);
    assert!(words.contains(&format!("has {there} classes, not {here}")), "{words}");
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
fn progress_is_on_stderr_when_asked_for() {
    let (pictures, truth) = coco("progress", &[]);
    let eval = ["eval", "--weights", DETECTOR, "--pictures", utf8(&pictures), "--truth", utf8(&truth), "--progress"];
    let output = mobilesight(&eval);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "pictures 1/2\npictures 2/2\n");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("AP50"));
}
