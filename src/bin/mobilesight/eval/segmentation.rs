//! mIoU and pixel accuracy from a confusion matrix over the whole set, which hotcoco keeps, and the agreement of two segmenters.

use super::{Args, Equal, Pass, Report, truth};
use crate::{picture, report};
use anyhow::{Context, Result, ensure};
use hotcoco::metrics::semantic::PixelConfusion;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

/// In per cent.
#[derive(Debug, PartialEq, Serialize)]
struct Scores {
    miou: f64,
    pixel_accuracy: f64,
}

/// Runs the command on segmenters.
pub fn eval(args: &Args, mut pass: Pass) -> Result<()> {
    let pictures = picture::list(&args.pictures)?;
    let folder = truth(args, "the folder of the class maps")?;
    let masks = folder.map(|folder| pictures.iter().map(|path| mask_of(path, folder)).collect::<Result<Vec<_>>>());
    let masks = masks.transpose()?;
    let mut confusion = PixelConfusion::new(pass.model.num_classes());
    let (mut same, mut all) = (0, 0);
    pass.over(&pictures, |i, seen| {
        if let Some(masks) = &masks {
            count(&mut confusion, &mask(&masks[i], seen.size)?, &seen.output.mask)?;
        }
        if let Some(reference) = seen.reference {
            same += seen.output.mask.iter().zip(&reference.mask).filter(|(a, b)| a == b).count();
            all += reference.mask.len();
        }
        Ok(())
    })?;
    let measured = folder.map(|folder| {
        let nothing = || format!("the class maps in {} have no pixel of a class of the model", folder.display());
        scores(&confusion).with_context(nothing)
    });
    let agreement = pass.reference.is_some().then(|| Equal { share: 100.0 * same as f64 / all as f64 });
    report::write(&Report { scores: measured.transpose()?, pictures: pictures.len(), agreement }, args.json)
}

/// The class map of `picture` in `folder`.
fn mask_of(picture: &Path, folder: &Path) -> Result<PathBuf> {
    let name = picture.with_extension("png");
    let mask = folder.join(name.file_name().context("a picture has a name")?);
    ensure!(mask.is_file(), "{} is missing; --truth is a folder with a class map for every picture", mask.display());
    Ok(mask)
}

/// The class map in file `path`, of a picture of `size` = [h, w].
fn mask(path: &Path, size: (usize, usize)) -> Result<Vec<u8>> {
    let (mask, found) = picture::open_mask(path)?;
    ensure!(
        found == size,
        "its class map {} is {} x {}, not {} x {}; a class map has the size of its picture",
        path.display(),
        found.1,
        found.0,
        size.1,
        size.0
    );
    Ok(mask)
}

/// Adds a picture; a pixel whose truth is no class of the model does not count.
fn count(confusion: &mut PixelConfusion, truth: &[u8], found: &[u8]) -> Result<()> {
    let classes = confusion.num_classes() as u64;
    Ok(confusion.update_with(truth, found, |class| (class < classes).then_some(class))?)
}

/// None where no pixel counts.
fn scores(confusion: &PixelConfusion) -> Option<Scores> {
    let scores = confusion.scores();
    (confusion.total() > 0).then_some(Scores { miou: 100.0 * scores.miou, pixel_accuracy: 100.0 * scores.aacc })
}

impl Display for Scores {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "mIoU            {:.2}\npixel accuracy  {:.2}", self.miou, self.pixel_accuracy)
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
        let Scores { miou, pixel_accuracy: accuracy } = scores(&confusion).unwrap();
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
