//! AP by COCO's definition, which hotcoco computes, and the agreement of two detectors.

use super::{Args, Pass, Report, truth};
use crate::bench::median;
use crate::session::Session;
use crate::{picture, report};
use anyhow::{Context, Result, ensure};
use hotcoco::{Annotation, COCO, COCOeval, Category, IouType};
use mobilesight::nn::boxes::{Candidate, iou};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// Score above which a box of the reference must come back.
const SCORE: f32 = 0.4;
/// IoU above which a box has come back.
const SAME: f32 = 0.7;

/// In per cent.
#[derive(Serialize)]
struct Scores {
    ap50: f64,
    map: f64,
    /// Median of the network's time, in milliseconds.
    network_ms: f64,
}

/// How near two detectors are.
#[derive(Serialize)]
struct Agreement {
    /// The reference's boxes above [`SCORE`].
    boxes: usize,
    /// Of those, how many have come back, in per cent; none where there is no box.
    share: Option<f64>,
    /// The mean absolute change of the scores of those; none where none has come back.
    score_shift: Option<f64>,
}

/// Labelled pictures and boxes.
struct Truth {
    coco: COCO,
    /// The pictures' ids.
    ids: Vec<u64>,
    pictures: Vec<PathBuf>,
    /// The category of each class, where there is one.
    categories: Vec<Option<u64>>,
}

/// Runs the command on detectors.
pub fn eval(args: &Args, mut pass: Pass) -> Result<()> {
    let path = truth(args, "a COCO annotation file")?;
    let truth = path.map(|path| Truth::read(path, &args.pictures, &pass.model)).transpose()?;
    let pictures = truth.as_ref().map_or_else(|| picture::list(&args.pictures), |truth| Ok(truth.pictures.clone()))?;
    let (mut found, mut returned) = (Vec::new(), Returned::default());
    pass.over(&pictures, |i, seen| {
        let boxes = &seen.output.detections;
        found.extend(truth.iter().flat_map(|truth| truth.annotations(i, boxes)));
        if let Some(reference) = seen.reference {
            returned.add(boxes, &reference.detections);
        }
        Ok(())
    })?;
    let network_ms = median(std::mem::take(&mut pass.times));
    let scores = truth.map(|truth| truth.score(found, network_ms)).transpose()?;
    let agreement = pass.reference.is_some().then(|| returned.agreement());
    report::write(&Report { scores, pictures: pictures.len(), agreement }, args.json)
}

/// A detection as COCO writes it; none where the truth does not have the class.
fn annotation(image_id: u64, category: Option<u64>, d: &Candidate) -> Option<Annotation> {
    let [x1, y1, x2, y2] = d.b.map(f64::from);
    let bbox = Some([x1, y1, x2 - x1, y2 - y1]);
    Some(Annotation {
        image_id,
        category_id: category?,
        bbox,
        score: Some(f64::from(d.score)),
        ..Annotation::default()
    })
}

impl Truth {
    fn read(path: &Path, folder: &Path, model: &Session) -> Result<Truth> {
        let what = || format!("the truth {} is no COCO annotation file that can be read", path.display());
        let coco = COCO::new(path).with_context(what)?;
        let dataset = &coco.dataset;
        ensure!(
            dataset.annotations.iter().any(|a| a.bbox.is_some()),
            "the truth {} has no box; a COCO annotation file has images, annotations with bbox, and categories",
            path.display()
        );
        let categories = categories(&dataset.categories, model);
        ensure!(
            categories.iter().any(Option::is_some),
            "no category of {} has the name or the id of a class of the model; take the truth of the model's classes",
            path.display()
        );
        let (ids, pictures): (Vec<_>, Vec<_>) =
            dataset.images.iter().map(|image| (image.id, folder.join(&image.file_name))).unzip();
        for picture in &pictures {
            ensure!(picture.is_file(), "{} is missing; --pictures holds every picture of the truth", picture.display());
        }
        Ok(Truth { ids, pictures, categories, coco })
    }

    /// What was `found` on picture `i`, of the classes that the truth has.
    fn annotations(&self, i: usize, found: &[Candidate]) -> impl Iterator<Item = Annotation> {
        found.iter().filter_map(move |d| annotation(self.ids[i], *self.categories.get(d.group)?, d))
    }

    /// AP50 and mAP of all that was `found`.
    fn score(self, found: Vec<Annotation>, network_ms: f64) -> Result<Scores> {
        let found = self.coco.load_res_anns(found)?;
        let mut eval = COCOeval::new(self.coco, found, IouType::Bbox);
        eval.evaluate()?;
        eval.accumulate();
        // It computes the metrics; its lines are not needed.
        eval.summarize_lines();
        let metrics = eval.get_results(None, false);
        Ok(Scores { ap50: 100.0 * metrics["AP50"], map: 100.0 * metrics["AP"], network_ms })
    }
}

/// The category of each class: the one of its name or, where no name is any class's, of its number.
fn categories(categories: &[Category], model: &Session) -> Vec<Option<u64>> {
    let find = |same: &dyn Fn(usize, &Category) -> bool| -> Vec<_> {
        let of = |class| categories.iter().find(|category| same(class, category)).map(|category| category.id);
        (0..model.num_classes()).map(of).collect()
    };
    let by_name = find(&|class, category| category.name == model.label(class));
    if by_name.iter().any(Option::is_some) {
        return by_name;
    }
    find(&|class, category| category.id == class as u64)
}

/// The boxes of a reference that come back.
#[derive(Default)]
struct Returned {
    boxes: usize,
    shifts: Vec<f64>,
}

impl Returned {
    /// Adds a picture.
    fn add(&mut self, found: &[Candidate], reference: &[Candidate]) {
        for wanted in reference.iter().filter(|wanted| wanted.score > SCORE) {
            self.boxes += 1;
            let same = found.iter().filter(|d| d.group == wanted.group).map(|d| (iou(d.b, wanted.b), d.score));
            let nearest = same.filter(|(overlap, _)| *overlap > SAME).max_by(|a, b| a.0.total_cmp(&b.0));
            self.shifts.extend(nearest.map(|(_, score)| f64::from((score - wanted.score).abs())));
        }
    }

    fn agreement(&self) -> Agreement {
        let back = self.shifts.len() as f64;
        Agreement {
            boxes: self.boxes,
            share: (self.boxes > 0).then(|| 100.0 * back / self.boxes as f64),
            score_shift: (back > 0.0).then(|| self.shifts.iter().sum::<f64>() / back),
        }
    }
}

impl Display for Scores {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "AP50  {:.2}\nmAP   {:.2}", self.ap50, self.map)?;
        write!(f, "{:.1} ms a picture in the network, the median", self.network_ms)
    }
}

impl Display for Agreement {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "{} boxes of the reference have a score above {SCORE}", self.boxes)?;
        writeln!(f, "of those come back  {:.1} %", self.share.unwrap_or(f64::NAN))?;
        write!(f, "mean score shift    {:.4}", self.score_shift.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, score: f32, group: usize) -> Candidate {
        Candidate { b: [x, 0.0, x + 10.0, 10.0], score, group }
    }

    #[test]
    fn agreement_counts_the_references_boxes_by_label_iou_and_score() {
        let mut returned = Returned::default();
        let reference = [at(0.0, 0.9, 1), at(50.0, 0.5, 2), at(80.0, 0.5, 1), at(90.0, 0.4, 1)];
        // Shifted by one of ten columns: IoU 9/11. The nearer of the two counts. By two: 8/12, too far.
        let found = [at(1.0, 0.3, 1), at(0.0, 0.8, 1), at(50.0, 0.5, 1), at(82.0, 0.5, 1), at(90.0, 0.4, 1)];
        returned.add(&found, &reference);
        let Agreement { boxes, share, score_shift } = returned.agreement();
        assert_eq!(boxes, 3, "0.4 is not above 0.4");
        assert!((share.unwrap() - 100.0 / 3.0).abs() < 1e-9, "{share:?}");
        assert!((score_shift.unwrap() - 0.1).abs() < 1e-6, "{score_shift:?}");
    }

    #[test]
    fn without_a_box_there_is_no_share() {
        let Agreement { boxes, share, score_shift } = Returned::default().agreement();
        assert_eq!((boxes, share, score_shift), (0, None, None));
    }
}
