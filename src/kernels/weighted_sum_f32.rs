//! out[i] = sum over terms (offset, weight) of weight * x[offset + i]: bilinear samples of NHWC maps, all channels of a pixel at once.

use crate::simd::Simd;

/// Writes the sum of `terms` to `out`; terms are added in their order.
///
/// # Panics
/// When a term reaches past the end of `x`.
pub fn weighted_sum_f32<S: Simd>(x: &[f32], terms: &[(usize, f32)], out: &mut [f32]) {
    let n = out.len();
    assert!(terms.iter().all(|(offset, _)| *offset <= x.len() && n <= x.len() - offset), "x is too short");
    let mut chunks = out.chunks_exact_mut(4);
    for (i, out) in chunks.by_ref().enumerate() {
        let mut sum = S::splat(0.0);
        for &(offset, weight) in terms {
            // SAFETY: offset + 4 i + 4 <= offset + n, which lies in x; the chunk is four floats.
            sum = S::madd(S::splat(weight), unsafe { S::load(x.as_ptr().add(offset + 4 * i)) }, sum);
        }
        // SAFETY: as above.
        unsafe { S::store(out.as_mut_ptr(), sum) };
    }
    let rest = chunks.into_remainder();
    let first = n - rest.len();
    for (i, out) in rest.iter_mut().enumerate() {
        *out = terms.iter().map(|(offset, weight)| weight * x[offset + first + i]).sum();
    }
}
