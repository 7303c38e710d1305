//! [`super::conv_f32`] of a single pixel, the linear layers behind a mean.
//!
//! ```text
//! for panel of 8 columns                                             (four are a task)
//!     acc of each phase: biases, and zeros; for tap, k: acc of phase k % 4 += a[k] * b[k, .]; add the phases; store
//! ```
//! All time goes into reading the weights once, from memory: one stream of them at 35 GB/s, four at 26. A tile of one row has two
//! sums, which wait for each other at 32 bytes in four cycles; steps in four phases have eight.
//! The classifier's 10 MB in Chromium on Zen 5 (November 2026): 0.60 ms by tiles, 0.34 ms by four panels at once, 0.29 ms so.

use super::Shared;
use super::activation::activate;
use super::conv_f32::Conv;
use super::pack_f32::NR;
use super::tile_f32::{store, store_part};
use crate::parallel;
use crate::simd::Simd;

/// Steps whose sums do not wait for each other.
const PHASES: usize = 4;
/// Panels of a task.
const PANELS: usize = 4;

/// Runs `conv`, whose output is pixel (0, 0) of `c`, with the words of `S`.
///
/// # Safety
/// `conv` must be what `conv_f32` has checked, with c apart.
pub(super) unsafe fn pixel_f32<S: Simd>(conv: &Conv, c: Shared) {
    let panels = conv.n.div_ceil(NR);
    let cost = PANELS * NR * conv.taps.len() * conv.segment * parallel::STREAMED;
    parallel::for_each(panels.div_ceil(PANELS), cost, |group| {
        for panel in group * PANELS..panels.min((group + 1) * PANELS) {
            // SAFETY: the caller's; tasks differ in panels.
            unsafe { self::panel::<S>(conv, c, panel) };
        }
    });
}

/// The columns of one panel.
///
/// # Safety
/// As for [`pixel_f32`]; the panel must exist, and no other task may write its columns.
#[inline(never)]
unsafe fn panel<S: Simd>(conv: &Conv, c: Shared, panel: usize) {
    let column = panel * NR;
    // SAFETY: the caller's.
    unsafe {
        let b = conv.b.as_ptr().add(column * (conv.k + 1));
        let mut acc = [[S::splat(0.0); 2]; PHASES];
        acc[0] = [S::load(b), S::load(b.add(4))];
        for tap in conv.taps {
            let mut a = conv.a.0.as_ptr().add(conv.a.1.at(0, 0) + tap.a);
            let mut b = b.add((tap.b + 1) * NR);
            for _ in 0..conv.segment / PHASES {
                (0..PHASES).for_each(|i| acc[i] = step::<S>(acc[i], a.add(i), b.add(i * NR)));
                (a, b) = (a.add(PHASES), b.add(PHASES * NR));
            }
            (0..conv.segment % PHASES).for_each(|i| acc[0] = step::<S>(acc[0], a.add(i), b.add(i * NR)));
        }
        let [p, q, r, s] = acc;
        let sum = std::array::from_fn(|i| S::add(S::add(p[i], q[i]), S::add(r[i], s[i])));
        let [row] = activate::<S, _, 1>(conv.activation, [sum]);
        let to = c.0.add(conv.c.1.at(0, 0) + column);
        let residual = conv.residual.map(|(r, at)| r.as_ptr().add(at.at(0, 0) + column));
        match conv.n - column {
            width @ 0..NR => store_part::<S>(row, to, residual, width),
            _ => store::<S>(row, to, residual),
        }
    }
}

/// acc + a[0] * b[0..8].
///
/// # Safety
/// `a` must be valid for a float and `b` for [`NR`].
#[inline(always)]
unsafe fn step<S: Simd>(acc: [S::F32; 2], a: *const f32, b: *const f32) -> [S::F32; 2] {
    // SAFETY: the caller's.
    unsafe {
        let a = S::load_splat(a);
        [S::madd(a, S::load(b), acc[0]), S::madd(a, S::load(b.add(4)), acc[1])]
    }
}
