//! Activation functions on a vector, for the kernels' epilogues.

use crate::simd::Simd;

/// The activations of the family, by torch.nn's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x.
    Identity,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6).
    Relu6,
    /// x * min(max(x + 3, 0), 6) / 6.
    Hardswish,
}

#[inline(always)]
fn hardswish<S: Simd>(x: S::F32) -> S::F32 {
    // (x + 3) / 6 as one madd, clamped to [0, 1].
    let scaled = S::madd(x, S::splat(1.0 / 6.0), S::splat(0.5));
    S::mul(x, S::min(S::max(scaled, S::splat(0.0)), S::splat(1.0)))
}

/// The activation of a tile: one branch for all of it.
#[inline(always)]
pub(super) fn activate<S: Simd, const N: usize, const M: usize>(
    activation: Activation,
    acc: [[S::F32; N]; M],
) -> [[S::F32; N]; M] {
    match activation {
        Activation::Identity => acc,
        Activation::Relu | Activation::Relu6 => {
            // One body for both: each tile size of each kernel has its own.
            let most = S::splat(if activation == Activation::Relu6 { 6.0 } else { f32::INFINITY });
            acc.map(|row| row.map(|v| S::min(S::max(v, S::splat(0.0)), most)))
        }
        Activation::Hardswish => acc.map(|row| row.map(hardswish::<S>)),
    }
}
