//! [`Epilogue`] in vectors, shared by the int8 convolutions: sums -> activation -> residual -> bytes or floats.
//!
//! Multiplications and additions stay apart (no [`Simd::madd`]), as the specification has them. Saturating narrows clamp to
//! a byte for nothing. An output costs as much as dozens of multiplications, so what it needs is kept in registers: a caller
//! takes eight channels, [`Finish`], through many pixels.

use super::{Activation, Pixels, Shared};
use crate::quant::{Epilogue, LOWEST, ROUND};
use crate::simd::Simd;
use std::hint::black_box;

/// Values to read.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// Quantised.
    U8(&'a [u8]),
    /// Real.
    F32(&'a [f32]),
}

impl Values<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Values::U8(v) => v.len(),
            Values::F32(v) => v.len(),
        }
    }
}

/// Values to write.
#[derive(Debug)]
pub enum ValuesMut<'a> {
    /// Quantised.
    U8(&'a mut [u8]),
    /// Real.
    F32(&'a mut [f32]),
}

impl ValuesMut<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            ValuesMut::U8(v) => v.len(),
            ValuesMut::F32(v) => v.len(),
        }
    }

    /// For tasks that each write elements of their own.
    pub(super) fn shared(&mut self) -> Output {
        match self {
            ValuesMut::U8(v) => Output::U8(Shared(v.as_mut_ptr())),
            ValuesMut::F32(v) => Output::F32(Shared(v.as_mut_ptr())),
        }
    }
}

/// [`ValuesMut`] that tasks share.
#[derive(Clone, Copy)]
pub(super) enum Output {
    U8(Shared<u8>),
    F32(Shared<f32>),
}

/// Vectors that are the same for all channels. Read from memory on purpose: V8 builds a literal vector anew where it is used.
#[derive(Clone, Copy)]
pub(super) struct Literals<S: Simd> {
    zero: S::F32,
    half: S::F32,
    one: S::F32,
    sixth: S::F32,
    lowest: S::F32,
    round: S::I32,
}

impl<S: Simd> Literals<S> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let [zero, half, one, sixth, lowest, round] =
            black_box([0.0, 0.5, 1.0, 1.0 / 6.0, LOWEST, ROUND]).map(S::splat);
        Literals { zero, half, one, sixth, lowest, round: S::bits(round) }
    }

    #[inline(always)]
    fn clamp_to_1(&self, v: S::F32) -> S::F32 {
        S::min(S::max(v, self.zero), self.one)
    }

    /// Rounds `t` to integers with the zero points of `round` (plus [`ROUND`]) added; not yet clamped above.
    #[inline(always)]
    pub(super) fn quanta(&self, t: S::F32, round: S::F32) -> S::I32 {
        S::sub_i32(S::bits(S::add(S::max(t, self.lowest), round)), self.round)
    }
}

/// An [`Epilogue`]'s eight channels from one on, by value: through a reference each store of an output would make them
/// unknown again, to be read anew.
#[derive(Clone, Copy)]
pub(super) struct Finish<S: Simd> {
    literals: Literals<S>,
    activation: Activation,
    multiplier: [S::F32; 2],
    bias: [S::F32; 2],
    gate: [S::F32; 2],
    round: [S::F32; 2],
    residual_scale: [S::F32; 2],
    residual_zero: [S::I32; 2],
}

impl<S: Simd> Finish<S> {
    /// The channels `o..o + 8`; `o` is a multiple of eight.
    #[inline(always)]
    pub(super) fn new(literals: Literals<S>, e: &Epilogue, o: usize) -> Self {
        // SAFETY: eight floats can be read.
        let eight = |v: &[f32]| unsafe { [0, 4].map(|j| S::load(v[o..o + 8].as_ptr().add(j))) };
        Finish {
            literals,
            activation: e.activation,
            multiplier: eight(&e.multiplier),
            bias: eight(&e.bias),
            gate: eight(&e.gate),
            round: eight(&e.round),
            residual_scale: eight(&e.residual_scale),
            // SAFETY: eight integers can be read.
            residual_zero: [0, 4].map(|j| unsafe { S::load_i32(e.residual_zero[o..o + 8].as_ptr().add(j)) }),
        }
    }

    /// Writes one pixel's outputs, the first `width` of the channels, from their sums and their place in a residual.
    ///
    /// # Safety
    /// The residual and the output must hold `width` values, at most eight, from their indices.
    #[inline(always)]
    pub(super) unsafe fn store(
        self,
        sums: [S::I32; 2],
        width: usize,
        residual: Option<(Values, usize)>,
        (output, at): (Output, usize),
    ) {
        let t = [self.activate(sums[0], 0), self.activate(sums[1], 1)];
        let add = |r: [S::F32; 2]| [0, 1].map(|j| S::add(t[j], S::mul(r[j], self.residual_scale[j])));
        // SAFETY: the caller's.
        unsafe {
            let t = match residual {
                None => t,
                Some((Values::U8(r), at)) => {
                    let wide = S::widen(reading(r.as_ptr().add(at), width, |r| S::load_u8x8(r)));
                    add([0, 1].map(|j| S::to_f32(S::sub_i32(wide[j], self.residual_zero[j]))))
                }
                Some((Values::F32(r), at)) => {
                    add(reading(r.as_ptr().add(at), width, |r| [S::load(r), S::load(r.add(4))]))
                }
            };
            match output {
                Output::U8(c) => writing(c.0.add(at), width, |to| {
                    S::store_u8x8(to, [0, 1].map(|j| self.literals.quanta(t[j], self.round[j])));
                }),
                Output::F32(c) => writing(c.0.add(at), width, |to| {
                    S::store(to, t[0]);
                    S::store(to.add(4), t[1]);
                }),
            }
        }
    }

    /// The activation of half `j` of the channels.
    #[inline(always)]
    fn activate(self, sums: S::I32, j: usize) -> S::F32 {
        let (l, gate) = (self.literals, self.gate[j]);
        let x = S::add(S::mul(S::to_f32(sums), self.multiplier[j]), self.bias[j]);
        match self.activation {
            Activation::Identity => x,
            Activation::Relu => S::max(x, l.zero),
            Activation::Relu6 => S::min(S::max(x, l.zero), gate),
            Activation::Hardswish => S::mul(x, l.clamp_to_1(S::add(S::mul(x, gate), l.half))),
            Activation::Hardsigmoid => S::mul(l.clamp_to_1(S::add(S::mul(x, l.sixth), l.half)), gate),
        }
    }
}

/// Runs `f` on the eight elements at `p`, or on a copy of them where only `width` are there to read.
///
/// # Safety
/// `p` must be valid for reads of `width` elements, at most eight.
#[inline(always)]
pub(super) unsafe fn reading<T: Copy + Default, R>(p: *const T, width: usize, f: impl FnOnce(*const T) -> R) -> R {
    if width == 8 {
        return f(p);
    }
    let mut copy = [T::default(); 8];
    // SAFETY: the caller's: `width` < 8 elements can be read.
    unsafe { copy.as_mut_ptr().copy_from_nonoverlapping(p, width) };
    f(copy.as_ptr())
}

/// As [`reading`], to write.
///
/// # Safety
/// `p` must be valid for writes of `width` elements, at most eight.
#[inline(always)]
pub(super) unsafe fn writing<T: Copy + Default>(p: *mut T, width: usize, f: impl FnOnce(*mut T)) {
    if width == 8 {
        return f(p);
    }
    let mut copy = [T::default(); 8];
    f(copy.as_mut_ptr());
    // SAFETY: the caller's: `width` < 8 elements can be written.
    unsafe { p.copy_from_nonoverlapping(copy.as_ptr(), width) };
}

/// Whether `values` hold `len` values at each of `size` pixels.
pub(super) fn holds(values: usize, at: Pixels, (h, w): (usize, usize), len: usize) -> bool {
    at.end(h, w, len) <= values
}
