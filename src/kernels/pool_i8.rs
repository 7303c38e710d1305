//! Global average pool of bytes, exact until its one division: mean[c] = (sum of q - pixels * zp[c]) * (s[c] / pixels).

use crate::parallel;
use crate::quant::QParams;
use crate::simd::Simd;
use crate::tensor::Tensor;

/// Channels that are added up at once.
const BLOCK: usize = 64;

/// The sums of eight channels over `width` pixels, each `pitch` bytes from the last.
///
/// # Safety
/// `row` must hold eight bytes at each pixel, `sums` room for eight.
#[inline(always)]
pub(super) unsafe fn sum_row<S: Simd>(row: *const u8, pitch: usize, width: usize, sums: *mut u32) {
    let (mut acc, mut row) = ([S::splat_i32(0); 2], row);
    // SAFETY: the caller's.
    unsafe {
        for _ in 0..width {
            let wide = S::widen(S::load_u8x8(row));
            acc = [0, 1].map(|j| S::add_i32(acc[j], wide[j]));
            row = row.wrapping_add(pitch);
        }
        S::store_i32(sums.cast(), acc[0]);
        S::store_i32(sums.add(4).cast(), acc[1]);
    }
}

/// `sums` [h, c] = the sums of the rows of `x`.
pub fn sum_rows(x: &Tensor<u8>, sums: &mut [u32]) {
    parallel::for_each_chunk(sums, x.c, x.w * x.c * parallel::ELEMENT, |y, sums| {
        sums.fill(0);
        for pixel in x.row(y).chunks_exact(x.c) {
            sums.iter_mut().zip(pixel).for_each(|(sum, q)| *sum += u32::from(*q));
        }
    });
}

/// The mean of `pixels` pixels whose rows sum to `row_sums` [rows, c], into `out` [c].
pub fn mean_pool_i8(row_sums: &[u32], pixels: usize, params: &QParams, out: &mut [f32]) {
    let channels = out.len();
    assert!(params.scale().len() == channels && row_sums.len().is_multiple_of(channels), "row sums are [rows, c]");
    // Row by row, of as many channels as have their sums in the first-level cache.
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let (first, mut sums) = (block * BLOCK, [0u32; BLOCK]);
        for row in row_sums.chunks_exact(channels) {
            sums.iter_mut().zip(&row[first..][..out.len()]).for_each(|(sum, row)| *sum += row);
        }
        for ((c, out), sum) in (first..).zip(out).zip(sums) {
            let above_zero = i64::from(sum) - pixels as i64 * i64::from(params.zero_point()[c]);
            *out = above_zero as f32 * (params.scale()[c] / pixels as f32);
        }
    }
}
