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
    /// min(max(x + 3, 0), 6) / 6: the gate of squeeze-excite.
    Hardsigmoid,
}

impl Activation {
    /// The activation of four lanes.
    #[inline(always)]
    pub fn apply<S: Simd>(self, x: S::F32) -> S::F32 {
        match self {
            Activation::Identity => x,
            Activation::Relu => S::max(x, S::splat(0.0)),
            Activation::Relu6 => S::min(S::max(x, S::splat(0.0)), S::splat(6.0)),
            Activation::Hardswish => S::mul(x, hardsigmoid::<S>(x)),
            Activation::Hardsigmoid => hardsigmoid::<S>(x),
        }
    }
}

#[inline(always)]
fn hardsigmoid<S: Simd>(x: S::F32) -> S::F32 {
    // (x + 3) / 6 as one madd, clamped to [0, 1].
    let scaled = S::madd(x, S::splat(1.0 / 6.0), S::splat(0.5));
    S::min(S::max(scaled, S::splat(0.0)), S::splat(1.0))
}

/// The activation of a tile: one branch for all of it.
#[inline(always)]
pub(super) fn activate<S: Simd, const N: usize, const M: usize>(
    activation: Activation,
    acc: [[S::F32; N]; M],
) -> [[S::F32; N]; M] {
    match activation {
        Activation::Identity => acc,
        Activation::Relu => acc.map(|row| row.map(|v| Activation::Relu.apply::<S>(v))),
        Activation::Relu6 => acc.map(|row| row.map(|v| Activation::Relu6.apply::<S>(v))),
        Activation::Hardswish => acc.map(|row| row.map(|v| Activation::Hardswish.apply::<S>(v))),
        Activation::Hardsigmoid => acc.map(|row| row.map(|v| Activation::Hardsigmoid.apply::<S>(v))),
    }
}
