//! mIoU and pixel accuracy from a confusion matrix over the whole set, which hotcoco keeps, and the agreement of two segmenters.

use super::{Args, Pass, truth};
use crate::{picture, report};
use anyhow::{Context, Result, ensure};
use hotcoco::metrics::semantic::PixelConfusion;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// The report, in per cent.
#[derive(Serialize)]
struct Report {
    miou: f64,
    pixel_accuracy: f64,
    pictures: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<Agreement>,
}

/// How near two segmenters are.
#[derive(Serialize)]
struct Agreement {
    /// Pixels of the same class.
    share: f64,
}

/// Runs the command on segmenters.
pub fn eval(args: &Args, mut pass: Pass) -> Result<()> {
    let pictures = picture::list(&args.pictures)?;
    let folder = truth(args, "the folder of the class maps")?;
    let masks = pictures.iter().map(|path| mask_of(path, folder)).collect::<Result<Vec<_>>>()?;
    let mut confusion = PixelConfusion::new(pass.model.num_classes());
    let (mut same, mut all) = (0, 0);
    pass.over(&pictures, |i, seen| {
        let (truth, size) = picture::open_mask(&masks[i])?;
        ensure!(
            size == seen.size,
            "its class map {} is {} x {}, not {} x {}; a class map has the size of its picture",
            masks[i].display(),
            size.1,
            size.0,
            seen.size.1,
            seen.size.0
        );
        count(&mut confusion, &truth, &seen.output.mask)?;
        if let Some(reference) = seen.reference {
            same += seen.output.mask.iter().zip(&reference.mask).filter(|(a, b)| a == b).count();
            all += reference.mask.len();
        }
        Ok(())
    })?;
    let (miou, pixel_accuracy) = scores(&confusion)
        .with_context(|| format!("the class maps in {} have no pixel of a class of the model", folder.display()))?;
    let agreement = pass.reference.is_some().then(|| Agreement { share: 100.0 * same as f64 / all as f64 });
    report::write(&Report { miou, pixel_accuracy, pictures: pictures.len(), agreement }, args.json)
}

/// The class map of `picture` in `folder`.
fn mask_of(picture: &Path, folder: &Path) -> Result<PathBuf> {
    let name = picture.with_extension("png");
    let mask = folder.join(name.file_name().context("a picture has a name")?);
    ensure!(mask.is_file(), "{} is missing; --truth is a folder with a class map for every picture", mask.display());
    Ok(mask)
}

/// Adds a picture; a pixel whose truth is no class of the model does not count.
fn count(confusion: &mut PixelConfusion, truth: &[u8], found: &[u8]) -> Result<()> {
    let classes = confusion.num_classes() as u64;
    Ok(confusion.update_with(truth, found, |class| (class < classes).then_some(class))?)
}

/// mIoU and pixel accuracy in per cent; none where no pixel counts.
fn scores(confusion: &PixelConfusion) -> Option<(f64, f64)> {
    let scores = confusion.scores();
    (confusion.total() > 0).then_some((100.0 * scores.miou, 100.0 * scores.aacc))
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "mIoU            {:.2}", self.miou)?;
        writeln!(f, "pixel accuracy  {:.2}", self.pixel_accuracy)?;
        writeln!(f, "over {} pictures", self.pictures)?;
        self.agreement.iter().try_for_each(|a| writeln!(f, "equal pixels    {:.2} %", a.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn miou_is_over_the_set_and_the_classes_that_occur() {
        let mut confusion = PixelConfusion::new(5);
        // Class 3 is only predicted: IoU 0. Class 4 occurs nowhere. 11 is no class.
        count(&mut confusion, &[0, 0, 1, 11], &[0, 1, 1, 0]).unwrap();
        count(&mut confusion, &[2, 2, 0, 255], &[2, 3, 0, 4]).unwrap();
        let (miou, accuracy) = scores(&confusion).unwrap();
        // Class 0: 2 of 3, class 1: 1 of 2, class 2: 1 of 2, class 3: 0 of 1.
        assert!((miou - 100.0 * (2.0 / 3.0 + 0.5 + 0.5) / 4.0).abs() < 1e-9, "{miou}");
        assert!((accuracy - 100.0 * 4.0 / 6.0).abs() < 1e-9, "{accuracy}");
    }

    #[test]
    fn pixels_of_no_class_give_no_score() {
        let mut confusion = PixelConfusion::new(2);
        count(&mut confusion, &[7, 2], &[0, 1]).unwrap();
        assert_eq!(scores(&confusion), None);
    }
}
