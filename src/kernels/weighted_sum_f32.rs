//! out[i] = sum over terms (offset, weight) of weight * x[offset + i]: bilinear samples of NHWC maps, all channels of a pixel at once,
//! as floats or as the bytes of them.
//!
//! Sixteen channels at a time: four sums that do not wait for each other, and one splat of the weight for them all. Bytes go by
//! eight, since their rounding runs beside the next sums.

use super::elementwise_i8::Affine;
use super::epilogue_i8::Literals;
use crate::simd::Simd;

/// V vectors of the sum of `terms`, which are added in their order, from element `i` on.
///
/// # Safety
/// Each term's offset + i + 4 V must be within `x`.
#[inline(always)]
unsafe fn vectors<S: Simd, const V: usize>(x: &[f32], terms: &[(usize, f32)], i: usize) -> [S::F32; V] {
    let mut sums = [S::splat(0.0); V];
    for &(offset, weight) in terms {
        let weight = S::splat(weight);
        // SAFETY: the caller's.
        sums = unsafe {
            let p = x.as_ptr().add(offset + i);
            std::array::from_fn(|j| S::madd(weight, S::load(p.add(4 * j)), sums[j]))
        };
    }
    sums
}

fn check(x: &[f32], terms: &[(usize, f32)], n: usize) {
    assert!(terms.iter().all(|(offset, _)| *offset <= x.len() && n <= x.len() - offset), "x is too short");
}

/// Writes the sum of `terms` to `out`; terms are added in their order.
///
/// # Panics
/// When a term reaches past the end of `x`.
pub fn weighted_sum_f32<S: Simd>(x: &[f32], terms: &[(usize, f32)], out: &mut [f32]) {
    check(x, terms, out.len());
    let mut done = 0;
    let (blocks, rest) = out.as_chunks_mut::<16>();
    for out in blocks {
        // SAFETY: offset + done + 16 <= offset + n, which lies in x; the block is sixteen floats.
        unsafe {
            let sums = vectors::<S, 4>(x, terms, done);
            (0..4).for_each(|j| S::store(out.as_mut_ptr().add(4 * j), sums[j]));
        }
        done += 16;
    }
    let (blocks, rest) = rest.as_chunks_mut::<4>();
    for out in blocks {
        // SAFETY: as above, of four.
        unsafe { S::store(out.as_mut_ptr(), vectors::<S, 1>(x, terms, done)[0]) };
        done += 4;
    }
    for (i, out) in rest.iter_mut().enumerate() {
        *out = terms.iter().map(|(offset, weight)| weight * x[offset + done + i]).sum();
    }
}

/// [`weighted_sum_f32`], quantised as `to` says, whose channels are those of `out`, in eights.
///
/// # Panics
/// When a term reaches past the end of `x`, or the channels are not as said.
pub fn weighted_sum_u8<S: Simd>(x: &[f32], terms: &[(usize, f32)], to: &Affine, out: &mut [u8]) {
    check(x, terms, out.len());
    assert!(out.len().is_multiple_of(8) && to.channels() == out.len(), "channels");
    let literals = Literals::new();
    for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        // SAFETY: offset + 8 i + 8 <= offset + n, which lies in x; the chunk is eight bytes, and `to` has as many constants.
        unsafe { to.quantised::<S>(literals, vectors::<S, 2>(x, terms, 8 * i), 8 * i, out.as_mut_ptr()) };
    }
}
