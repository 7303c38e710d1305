//! How far a quantised model's results are from the f32 model's: 0 where they are equal, 1 where nothing is left of them.
//!
//! Nothing here counts matches: a box that is moved a little costs a little, so that on some dozens of pictures layers can be told
//! apart whose rounding no count of boxes would show.

use crate::models::Output;
use crate::nn::boxes::{Candidate, iou};

/// IoU up to which two boxes have nothing in common, and from which they are the same; linear between.
const OTHER: f32 = 0.5;
const SAME: f32 = 0.9;

/// Of detections: 1 - 2 * sum of what matched boxes share / sum of all squared scores: Dice's coefficient, in which boxes that
/// hardly anybody would be shown count little. Of class maps: the share of pixels that differ. Of class probabilities: their
/// total variation.
pub fn distance(a: &Output, b: &Output) -> f64 {
    if !a.mask.is_empty() {
        return a.mask.iter().zip(&b.mask).filter(|(a, b)| a != b).count() as f64 / a.mask.len() as f64;
    }
    if !a.classes.is_empty() {
        let other = |class: usize| b.classes.iter().find(|(other, _)| *other == class).map_or(0.0, |(_, p)| *p);
        return 1.0 - a.classes.iter().map(|(class, p)| f64::from(p.min(other(*class)))).sum::<f64>();
    }
    let total: f32 = a.detections.iter().chain(&b.detections).map(|d| d.score.powi(2)).sum();
    if total == 0.0 { 0.0 } else { 1.0 - f64::from(2.0 * common(&a.detections, &b.detections) / total) }
}

/// What two boxes of a class share: the lesser squared score, by how far they are the same.
fn shared(a: &Candidate, b: &Candidate) -> f32 {
    let same = ((iou(a.b, b.b) - OTHER) / (SAME - OTHER)).clamp(0.0, 1.0);
    if a.group == b.group { same * a.score.min(b.score).powi(2) } else { 0.0 }
}

/// The sum of what matched boxes share, the best of `a` taking its partner first.
fn common(a: &[Candidate], b: &[Candidate]) -> f32 {
    let mut taken = vec![false; b.len()];
    let mut sum = 0.0;
    for d in a {
        let free = (0..b.len()).filter(|i| !taken[*i]).map(|i| (i, shared(d, &b[i])));
        if let Some((i, share)) = free.max_by(|(_, s), (_, t)| s.total_cmp(t)).filter(|(_, share)| *share > 0.0) {
            taken[i] = true;
            sum += share;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(fill: impl FnOnce(&mut Output)) -> Output {
        let mut output = Output::default();
        fill(&mut output);
        output
    }

    fn found(detections: &[(f32, f32, usize)]) -> Output {
        let candidate = |&(x, score, group)| Candidate { b: [x, 0.0, x + 10.0, 10.0], score, group };
        output(|output| output.detections = detections.iter().map(candidate).collect())
    }

    #[test]
    fn detections_are_compared_by_place_label_and_score() {
        let a = found(&[(0.0, 0.8, 1), (50.0, 0.4, 2)]);
        assert!(distance(&a, &a).abs() < 1e-6);
        // 1 - 2 * 0.64 / (0.64 + 0.16 + 0.64).
        assert!((distance(&a, &found(&[(0.5, 0.8, 1)])) - 1.0 / 9.0).abs() < 1e-6);
        assert!((distance(&a, &found(&[(0.0, 0.8, 3), (90.0, 0.4, 2)])) - 1.0).abs() < 1e-6);
        assert_eq!(distance(&found(&[]), &found(&[])), 0.0);
        // IoU 0.7: half of it is the same.
        assert!((distance(&found(&[(0.0, 0.8, 1)]), &found(&[(30.0 / 17.0, 0.8, 1)])) - 0.5).abs() < 1e-5);
        // A box matches once.
        assert!(distance(&found(&[(0.0, 0.5, 1)]), &found(&[(0.0, 0.5, 1), (0.1, 0.5, 1)])) > 0.3);
    }

    #[test]
    fn masks_and_classes_are_compared_by_share() {
        let mask = |mask: &[u8]| output(|output| output.mask = mask.to_vec());
        assert_eq!(distance(&mask(&[1, 2, 3, 4]), &mask(&[1, 2, 3, 0])), 0.25);
        let classes = |classes: &[(usize, f32)]| output(|output| output.classes = classes.to_vec());
        assert_eq!(distance(&classes(&[(0, 0.75), (1, 0.25)]), &classes(&[(1, 0.5), (0, 0.5)])), 0.25);
    }
}
