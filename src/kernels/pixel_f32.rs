//! [`super::conv_f32`] of a single pixel, the linear layers behind a mean: the same sums in the same order.
//!
//! ```text
//! for group of 4 panels                                              (a task)
//!     acc = biases; for tap, k: acc += a[k] * b[k, .] of each panel; store
//! ```
//! A tile of one row has two sums, which wait for each other, and reads one stream of weights; four panels are eight sums and four
//! streams. The classifier's 10 MB of weights in Chromium on Zen 5 (November 2026): 0.60 ms by tiles, 0.35 ms so.

use super::Shared;
use super::activation::activate;
use super::conv_f32::{Conv, NR, store, store_part};
use crate::parallel;
use crate::simd::Simd;

const PANELS: usize = 4;

/// Runs `conv`, whose output is pixel (0, 0) of `c`, with the words of `S`.
///
/// # Safety
/// `conv` must be what `conv_f32` has checked, with c apart.
pub(super) unsafe fn pixel_f32<S: Simd>(conv: &Conv, c: Shared) {
    let panels = conv.n.div_ceil(NR);
    let cost = PANELS * NR * conv.taps.len() * conv.segment * parallel::STREAMED;
    parallel::for_each(panels.div_ceil(PANELS), cost, |group| {
        let first = group * PANELS;
        // SAFETY: the caller's; tasks differ in panels.
        unsafe {
            match panels - first {
                rest @ 0..PANELS => (first..first + rest).for_each(|panel| group_of::<S, 1>(conv, c, panel)),
                _ => group_of::<S, PANELS>(conv, c, first),
            }
        }
    });
}

/// P panels from `first` on.
///
/// # Safety
/// As for [`pixel_f32`]; the panels must exist, and no other task may write their columns.
#[inline(never)]
unsafe fn group_of<S: Simd, const P: usize>(conv: &Conv, c: Shared, first: usize) {
    let panel = NR * (conv.k + 1);
    // SAFETY: the caller's.
    unsafe {
        let b: [*const f32; P] = std::array::from_fn(|i| conv.b.as_ptr().add((first + i) * panel));
        let mut acc: [[S::F32; 2]; P] = std::array::from_fn(|i| [S::load(b[i]), S::load(b[i].add(4))]);
        for tap in conv.taps {
            let a = conv.a.0.as_ptr().add(conv.a.1.at(0, 0) + tap.a);
            let rows: [*const f32; P] = std::array::from_fn(|i| b[i].add((tap.b + 1) * NR));
            for k in 0..conv.segment {
                let s = S::load_splat(a.add(k));
                for (acc, row) in acc.iter_mut().zip(rows) {
                    acc[0] = S::madd(s, S::load(row.add(k * NR)), acc[0]);
                    acc[1] = S::madd(s, S::load(row.add(k * NR + 4)), acc[1]);
                }
            }
        }
        for (i, row) in activate::<S, _, P>(conv.activation, acc).into_iter().enumerate() {
            let column = (first + i) * NR;
            let to = c.0.add(conv.c.1.at(0, 0) + column);
            let residual = conv.residual.map(|(r, at)| r.as_ptr().add(at.at(0, 0) + column));
            match conv.n - column {
                width @ 0..NR => store_part::<S>(row, to, residual, width),
                _ => store::<S>(row, to, residual),
            }
        }
    }
}
