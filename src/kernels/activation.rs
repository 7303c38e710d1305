//! Activation functions on a vector, for the kernels' epilogues.

use crate::simd::Simd;
use std::hint::black_box;

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

/// Vectors that are each one number. Read from memory on purpose: V8 builds a literal vector anew where it is used, in three instructions.
#[inline(always)]
pub(super) fn literals<S: Simd, const N: usize>(values: [f32; N]) -> [S::F32; N] {
    black_box(values).map(S::splat)
}

/// The activation of a tile: one branch for all of it.
#[inline(always)]
pub(super) fn activate<S: Simd, const N: usize, const M: usize>(
    activation: Activation,
    acc: [[S::F32; N]; M],
) -> [[S::F32; N]; M] {
    match activation {
        Activation::Identity => acc,
        Activation::Relu => acc.map(|row| row.map(|x| S::max(x, S::splat(0.0)))),
        Activation::Relu6 => {
            let [zero, six] = literals::<S, 2>([0.0, 6.0]);
            acc.map(|row| row.map(|x| S::min(S::max(x, zero), six)))
        }
        Activation::Hardswish => {
            // (x + 3) / 6 as one madd, clamped to [0, 1].
            let [sixth, half, zero, one] = literals::<S, 4>([1.0 / 6.0, 0.5, 0.0, 1.0]);
            acc.map(|row| row.map(|x| S::mul(x, S::min(S::max(S::madd(x, sixth, half), zero), one))))
        }
    }
}
