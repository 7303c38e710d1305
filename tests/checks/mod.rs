//! Models against their goldens, stage by stage.

use crate::generator::GeneratedWeights;
use crate::support::{Golden, normalised, picture};
use mobilesight::image::Image;
use mobilesight::models::detection::faster_rcnn::{FasterRcnn, FasterRcnnConfig};
use mobilesight::models::detection::roi_heads::{BoxConfig, RoiHeads};
use mobilesight::models::segmentation::{Segmenter, argmax, resize};
use mobilesight::models::{Model, Options, Output};
use mobilesight::nn::Context;
use mobilesight::nn::boxes::{Box2d, Candidate, iou};
use mobilesight::tensor::{Tensor, Workspace};

/// Runs a segmenter and compares the backbone, the head's stages, the upsampled scores and the class map. `folded` are the
/// stages that are part of a later one here: a convolution before its BatchNorm, this before its ReLU, and dropout.
pub fn check_segmenter(file: Golden, model: &dyn Segmenter, folded: &[&str], h: usize, w: usize) {
    let mut seen = 0;
    // The head's sums run over 960 channels whose own error is a thousandth.
    let mut compare = |name: &str, output: &Tensor| {
        file.check(name, output, 2e-3, 2e-3);
        seen += 1;
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let picture = normalised(&mut cx.workspace, h, w);
    let scores = model.scores(&mut cx, picture);
    let mut mask = vec![0; h * w];
    argmax(&mut cx, &scores, (h, w), &mut mask, &mut || ());
    let out = resize(&mut cx, &scores, (h, w));
    drop(cx);
    file.check("out", &out, 2e-3, 2e-3);
    let stages = file.stages("backbone.") + file.stages("classifier.");
    assert_eq!(seen + folded.len(), stages, "every stage but {folded:?} was seen");
    let want = file.bytes_of("argmax");
    let same = mask.iter().zip(&want).filter(|(a, b)| a == b).count();
    // Where two classes' scores differ by less than the tolerance either may win.
    assert!(same * 1000 >= want.len() * 999, "{same} of {} pixels have TorchVision's class", want.len());
}

/// All three steps on `image`.
pub fn run(model: &dyn Model, cx: &mut Context, image: Image) -> Output {
    let mut output = Output::default();
    let input = model.preprocess(cx, image);
    let size = input.size;
    let raw = model.forward(cx, input, &Options::default());
    raw.postprocess(cx, size, (image.height, image.width), &mut output);
    output
}

/// A tensor with its halo, copied.
fn copy(x: &Tensor) -> Tensor {
    let mut out = Workspace::default().tensor(x.h, x.w, x.c, x.halo);
    out.data_mut().copy_from_slice(x.data());
    out
}

/// How many of `found` have a partner in `want` that `same` accepts.
fn matched<T>(found: &[T], want: &[T], same: impl Fn(&T, &T) -> bool) -> usize {
    found.iter().filter(|f| want.iter().any(|w| same(f, w))).count()
}

fn boxes_of(floats: &[f32]) -> Vec<Box2d> {
    floats.as_chunks().0.to_vec()
}

/// Runs the detector and compares the stages as far as the RPN, then proposals and boxes as sets, since their scores are close
/// to one another by construction: a sum in another order may swap two.
pub fn check_fasterrcnn(file: Golden, config: FasterRcnnConfig, h: usize, w: usize) {
    let model = FasterRcnn::load(&GeneratedWeights, config.clone()).expect("generated weights fit");
    let (mut seen, mut features, mut proposals) = (0, None, Vec::new());
    let mut compare = |name: &str, output: &Tensor| match name {
        "rpn.proposals" => proposals = boxes_of(&output.to_vec()),
        _ if name.starts_with("roi_heads.") => {}
        _ => {
            // Sums over 2,304 and 960 channels of a backbone whose own error is a thousandth.
            file.check(name, output, 2e-3, 2e-3);
            seen += 1;
            if name == "features.0" {
                features = Some(copy(output));
            }
        }
    };
    let rgba = picture(h, w);
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    let found = run(&model, &mut cx, Image::new(&rgba, w, h).expect("a picture")).detections;
    drop(cx);
    assert_eq!(seen, file.stages("") - file.stages("roi_heads."), "every stage was seen");
    let want = boxes_of(&file.floats("rpn.proposals"));
    assert_eq!(proposals.len(), want.len());
    let same = matched(&proposals, &want, |a, b| iou(*a, *b) >= 0.99);
    assert!(same * 100 >= want.len() * 98, "{same} of {} proposals are TorchVision's", want.len());

    let size: [usize; 2] = [0, 1].map(|i| file.integers("transform.image_size")[i] as usize);
    check_roi_heads(&file, &features.expect("level 0"), &want, size, &config.boxes);
    check_boxes(&file, &found);
}

/// Compares detections, as sets: by label, score and place.
pub fn check_boxes(file: &Golden, found: &[Candidate]) {
    let (boxes, scores) = (boxes_of(&file.floats("boxes")), file.floats("scores"));
    let labels = file.integers("labels");
    let want: Vec<(Box2d, f32, i64)> = (0..scores.len()).map(|i| (boxes[i], scores[i], labels[i])).collect();
    let found: Vec<(Box2d, f32, i64)> = found.iter().map(|d| (d.b, d.score, d.group as i64)).collect();
    assert_eq!(found.len(), want.len());
    let same = matched(&found, &want, |f, w| f.2 == w.2 && (f.1 - w.1).abs() <= 1e-3 && iou(f.0, w.0) >= 0.99);
    assert!(same * 100 >= want.len() * 98, "{same} of {} boxes are TorchVision's", want.len());
}

/// Runs the box head on TorchVision's own proposals, whose order is then the golden's.
fn check_roi_heads(file: &Golden, features: &Tensor, proposals: &[Box2d], size: [usize; 2], config: &BoxConfig) {
    let heads = RoiHeads::load(&GeneratedWeights, 256, 1024, 91).expect("generated weights fit");
    let mut seen = 0;
    let mut compare = |name: &str, output: &Tensor| {
        let (rows, c) = (output.w, output.c);
        let values = output.to_vec();
        seen += 1;
        match name {
            // A row is (c, y, x) in TorchVision and (y, x, c) here.
            "roi_heads.box_roi_pool" => {
                let index = |i: usize| i / c * c + i % c % 49 * (c / 49) + i % c / 49;
                file.check_by(name, &[rows, c / 49, 7, 7], &values, index, (2e-3, 2e-3));
            }
            _ => file.check_by(name, &[rows, c], &values, |i| i, (5e-3, 5e-3)),
        }
    };
    let mut cx = Context { observer: Some(&mut compare), ..Context::default() };
    heads.forward(&mut cx, features, proposals, (size[0], size[1]), config, None);
    drop(cx);
    assert_eq!(seen, file.stages("roi_heads."), "every stage of the heads was seen");
}
