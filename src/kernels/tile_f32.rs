//! A tile of the f32 GEMM, up to mr rows of a with a panel of b, which [`super::conv_f32`], [`super::pixel_f32`], [`super::pointwise_f32`],
//! [`super::stem_f32`] and [`super::strassen_f32`] share: its sizes, the steps of its sums, and how a row of it is written.
//!
//! The splat of a is loaded right before its two multiplies: V8 has 15 vector registers and keeps the order it is given,
//! and 6x8 takes 12 accumulators, 2 of b and 1 splat.

use super::pack_f32::NR;
use crate::simd::Simd;

/// `$call` with the rows of a tile as `$R`: as many as registers hold or one less, which every count of some twenty pixels is a sum of. A smaller tile,
/// of a picture of fewer, counts some of its pixels twice: sizes of their own for it were 6 kB of the compressed engine.
macro_rules! with_rows {
    ($S:ty, $rows:expr, $R:ident => $call:expr) => {{
        macro_rules! of {
            ($number:literal) => {{
                const $R: usize = $number;
                $call
            }};
        }
        match (<$S>::GEMM_ROWS, $rows) {
            (6, 6) => of!(6),
            (6, _) => of!(5),
            (5, 5) => of!(5),
            (5, _) => of!(4),
            (_, 4) => of!(4),
            _ => of!(3),
        }
    }};
}
pub(super) use with_rows;

/// How many tiles of how many rows cover `count` pixels, one or more: of at most `most` rows, then of one less, so that no short tile is left.
pub(super) fn tile_sizes(count: usize, most: usize) -> [(usize, usize); 2] {
    let tiles = count.div_ceil(most);
    let (rows, larger) = (count / tiles, count % tiles);
    [(larger, rows + 1), (tiles - larger, rows)]
}

/// acc + `count` steps of the sum, of R rows from `a` and of a panel from `b`.
///
/// # Safety
/// `a` must be valid for reads of `count` floats each, and `b` of `count` * [`NR`].
#[inline(always)]
pub(super) unsafe fn steps<S: Simd, const R: usize>(
    mut acc: [[S::F32; 2]; R],
    start: [*const f32; R],
    mut b: *const f32,
    count: usize,
) -> [[S::F32; 2]; R] {
    // Not the array itself, which lies in memory.
    let mut a: [*const f32; R] = std::array::from_fn(|i| start[i]);
    let mut left = count;
    // SAFETY: the caller's.
    unsafe {
        while left > 0 {
            acc = step::<S, R>(acc, a, b);
            // A way out between two steps keeps their instructions apart: else LLVM puts all loads of both first, and V8 spills sums.
            if left == 1 {
                break;
            }
            acc = step::<S, R>(acc, a.map(|a| a.add(1)), b.add(NR));
            (a, b) = (a.map(|a| a.add(2)), b.add(2 * NR));
            left -= 2;
        }
    }
    acc
}

/// acc + one step of the sum.
///
/// # Safety
/// As for [`steps`].
#[inline(always)]
pub(super) unsafe fn step<S: Simd, const R: usize>(
    mut acc: [[S::F32; 2]; R],
    a: [*const f32; R],
    b: *const f32,
) -> [[S::F32; 2]; R] {
    // SAFETY: the caller's.
    unsafe {
        let (b0, b1) = (S::load(b), S::load(b.add(4)));
        for (acc, a) in acc.iter_mut().zip(a) {
            let s = S::load_splat(a);
            *acc = [S::madd(s, b0, acc[0]), S::madd(s, b1, acc[1])];
        }
    }
    acc
}

/// Writes eight columns, the residual's added.
///
/// # Safety
/// `to` and `residual` must be valid for eight floats.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(row: [S::F32; 2], to: *mut f32, residual: Option<*const f32>) {
    // SAFETY: the caller's.
    unsafe {
        for (j, v) in row.into_iter().enumerate() {
            let v = residual.map_or(v, |p| S::add(v, S::load(p.add(4 * j))));
            S::store(to.add(4 * j), v);
        }
    }
}

/// As [`store`] for the first `width` columns: the last panel may reach past n.
///
/// # Safety
/// `to` and `residual` must be valid for `width` floats, fewer than eight.
#[inline(never)]
pub(super) unsafe fn store_part<S: Simd>(row: [S::F32; 2], to: *mut f32, residual: Option<*const f32>, width: usize) {
    let mut copy = [0.0f32; NR];
    // SAFETY: the array has eight floats; the rest is the caller's.
    unsafe {
        store::<S>(row, copy.as_mut_ptr(), None);
        for (j, v) in copy[..width].iter().enumerate() {
            *to.add(j) = v + residual.map_or(0.0, |p| *p.add(j));
        }
    }
}
