//! The index of the largest of some floats, the first where several are equal: a pixel's class.

use crate::simd::Simd;

/// argmax of `x`, which is not empty and holds no NaN: the largest in vectors, then the first that is equal to it.
///
/// # Panics
/// When `x` is empty.
pub fn argmax_f32<S: Simd>(x: &[f32]) -> usize {
    let n = x.len();
    let largest = if n < 4 {
        x.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    } else {
        // The last vector overlaps the one before.
        let starts = (0..n - 3).step_by(4).chain([n - 4]);
        // SAFETY: start + 4 <= n.
        let vectors = starts.map(|start| unsafe { S::load(x.as_ptr().add(start)) });
        let mut lanes = [0.0; 4];
        let most = vectors.reduce(S::max).expect("four floats or more");
        // SAFETY: four floats.
        unsafe { S::store(lanes.as_mut_ptr(), most) };
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    };
    x.iter().position(|v| *v == largest).expect("one of them is the largest")
}
