//! The class of each pixel of a row: argmax over classes of scores resized along the row as [`super::resize_f32`] does,
//! the first class where several are equal.
//!
//! Up to four pixels between the same two columns of scores share their loads, a pixel a lane: at a segmenter's scale of 8 that is a
//! tenth of the instructions of resizing all classes of a pixel and then searching them.

use super::resize_f32::source;
use crate::simd::Simd;

const LANES: usize = 4;

/// Writes the classes of a row of `out.len()` pixels, of `scores` [columns, classes]; no score is NaN, and there are 256 classes
/// at most.
///
/// # Panics
/// When `scores` is empty or no whole number of columns.
pub fn argmax_row<S: Simd>(scores: &[f32], classes: usize, out: &mut [u8]) {
    assert!(!scores.is_empty() && scores.len().is_multiple_of(classes), "scores are [columns, classes]");
    let (columns, width) = (scores.len() / classes, out.len());
    let mut x = 0;
    while x < width {
        let (left, right, first) = source(x, columns, width);
        let mut fractions = [first; LANES];
        let mut count = 1;
        while count < LANES.min(width - x) {
            let (same, _, f) = source(x + count, columns, width);
            if same != left {
                break;
            }
            fractions[count] = f;
            count += 1;
        }
        let column = |i: usize| &scores[i * classes..][..classes];
        let best = best_of::<S>(column(left), column(right), &fractions);
        out[x..x + count].iter_mut().zip(best).for_each(|(class, best)| *class = best as u8);
        x += count;
    }
}

/// The class of the largest a + f * (b - a), for each f of `fractions`.
#[inline(always)]
fn best_of<S: Simd>(a: &[f32], b: &[f32], fractions: &[f32; LANES]) -> [f32; LANES] {
    let mut classes = [0.0; LANES];
    // SAFETY: the arrays are a vector long, the others are read at an element of theirs.
    unsafe {
        let f = S::load(fractions.as_ptr());
        let (mut most, mut best) = (S::splat(f32::NEG_INFINITY), S::splat(0.0));
        let (mut class, one) = (S::splat(0.0), S::splat(1.0));
        for (a, b) in a.iter().zip(b) {
            let (a, b) = (S::load_splat(a), S::load_splat(b));
            let v = S::add(a, S::mul(f, S::sub(b, a)));
            best = S::where_greater(v, most, class, best);
            most = S::max(v, most);
            class = S::add(class, one);
        }
        S::store(classes.as_mut_ptr(), best);
    }
    classes
}
