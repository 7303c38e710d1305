//! Top-1 and top-5 over a folder of classes' folders, and the agreement of two classifiers.

use super::{Args, Equal, Pass, Report};
use crate::{picture, report};
use anyhow::{Context, Result, ensure};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::fs::read_dir;
use std::path::{Path, PathBuf};

/// In per cent.
#[derive(Serialize)]
struct Scores {
    top1: f64,
    top5: f64,
}

/// Runs the command on classifiers.
pub fn eval(args: &Args, mut pass: Pass) -> Result<()> {
    let (names, folders) = folders(&args.pictures)?;
    let (mut pictures, mut truth) = (Vec::new(), Vec::new());
    if folders.is_empty() {
        ensure!(args.against.is_some(), "there is no folder of a class in {}", args.pictures.display());
        pictures = picture::list(&args.pictures)?;
    }
    for (folder, class) in folders.iter().zip(classes_of(&names, &pass, &args.pictures)?) {
        pictures.extend(picture::list(folder)?);
        truth.resize(pictures.len(), class);
    }
    let (mut first, mut five, mut same) = (0, 0, 0);
    pass.over(&pictures, |i, seen| {
        let place = seen.output.classes.iter().position(|(class, _)| Some(class) == truth.get(i));
        first += usize::from(place == Some(0));
        five += usize::from(place.is_some_and(|place| place < 5));
        let likeliest = |classes: &[(usize, f32)]| classes.first().map(|(class, _)| *class);
        let reference = seen.reference.map(|reference| likeliest(&reference.classes));
        same += usize::from(reference == Some(likeliest(&seen.output.classes)));
        Ok(())
    })?;
    let share = |count: usize| 100.0 * count as f64 / pictures.len() as f64;
    let agreement = pass.reference.is_some().then(|| Equal { share: share(same) });
    let scores = (!truth.is_empty()).then(|| Scores { top1: share(first), top5: share(five) });
    report::write(&Report { scores, pictures: pictures.len(), agreement }, args.json)
}

/// The class of each folder of `names`, which lie in `folder`.
fn classes_of(names: &[String], pass: &Pass, folder: &Path) -> Result<Vec<usize>> {
    let labels: Vec<String> = (0..pass.model.num_classes()).map(|class| pass.model.label(class)).collect();
    classes(names, &labels).with_context(|| {
        format!(
            "the folders in {} are not the classes of the model; call each by its class's label or number",
            folder.display()
        )
    })
}

/// The folders in `folder`, by name, and their names.
fn folders(folder: &Path) -> Result<(Vec<String>, Vec<PathBuf>)> {
    let unreadable = || format!("the folder {} cannot be read", folder.display());
    let mut found = Vec::new();
    for item in read_dir(folder).with_context(unreadable)? {
        let item = item.with_context(unreadable)?;
        if item.path().is_dir() {
            found.push((item.file_name().to_string_lossy().into_owned(), item.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().unzip())
}

/// The class of each folder of `names`, sorted: by label, by number, or by order where there are as many, as TorchVision's
/// ImageFolder has it.
fn classes(names: &[String], labels: &[String]) -> Option<Vec<usize>> {
    let by_label: Option<Vec<usize>> = names.iter().map(|name| labels.iter().position(|label| label == name)).collect();
    let by_number = || names.iter().map(|name| name.parse().ok().filter(|class| *class < labels.len())).collect();
    let by_order = || (names.len() == labels.len()).then(|| (0..labels.len()).collect());
    by_label.or_else(by_number).or_else(by_order)
}

impl Display for Scores {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        write!(f, "top-1  {:.2}\ntop-5  {:.2}", self.top1, self.top5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_classes_by_label_number_or_order() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let labels = names(&["tench", "goldfish", "shark"]);
        assert_eq!(classes(&names(&["goldfish", "tench"]), &labels), Some(vec![1, 0]));
        assert_eq!(classes(&names(&["0", "2"]), &labels), Some(vec![0, 2]));
        assert_eq!(classes(&names(&["n01440764", "n01443537", "n01484850"]), &labels), Some(vec![0, 1, 2]));
        assert_eq!(classes(&names(&["0", "3"]), &labels), None);
        assert_eq!(classes(&names(&["cat", "tench"]), &labels), None);
    }
}
