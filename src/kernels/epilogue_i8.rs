//! [`Epilogue`] in vectors, shared by the int8 convolutions: sums -> activation -> residual -> bytes or floats.
//!
//! Multiplications and additions stay apart (no [`Simd::madd`]), as the specification has them. Saturating narrows clamp to
//! a byte for nothing. It costs as much as sixty multiplications of a sum, so what it needs is kept in registers: see
//! [`Finish`].

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

/// An [`Epilogue`] ready for a loop. It holds copies of the pointers: through a reference each store of an output would make
/// them unknown again.
#[derive(Clone, Copy)]
pub(super) struct Finish<S: Simd> {
    literals: Literals<S>,
    activation: Activation,
    multiplier: *const f32,
    bias: *const f32,
    gate: *const f32,
    round: *const f32,
    residual_scale: *const f32,
    residual_zero: *const i32,
}

impl<S: Simd> Finish<S> {
    #[inline(always)]
    pub(super) fn new(e: &Epilogue) -> Self {
        Finish {
            literals: Literals::new(),
            activation: e.activation,
            multiplier: e.multiplier.as_ptr(),
            bias: e.bias.as_ptr(),
            gate: e.gate.as_ptr(),
            round: e.round.as_ptr(),
            residual_scale: e.residual_scale.as_ptr(),
            residual_zero: e.residual_zero.as_ptr(),
        }
    }

    /// The channels `o..o + count` of one pixel: their sums `acc`, and where they are in the residual and the output.
    ///
    /// # Safety
    /// The epilogue must live. `o` must be a multiple of eight and `o + count` within its channels; `acc` must hold `count` sums
    /// rounded up to eights; the residual and the output `count` values from their indices.
    #[inline(always)]
    pub(super) unsafe fn channels(
        self,
        acc: *const i32,
        (o, count): (usize, usize),
        residual: Option<(Values, usize)>,
        (output, at): (Output, usize),
    ) {
        for j in (0..count).step_by(8) {
            let (o, width) = (o + j, 8.min(count - j));
            // SAFETY: the caller's; the epilogue is padded to eights.
            unsafe {
                let x = [self.x(acc.add(j), o), self.x(acc.add(j + 4), o + 4)];
                let t = [self.activate(x[0], o), self.activate(x[1], o + 4)];
                let t = match residual {
                    None => t,
                    Some((Values::U8(r), at)) => reading(r.as_ptr().add(at + j), width, |r| self.add_bytes(t, r, o)),
                    Some((Values::F32(r), at)) => reading(r.as_ptr().add(at + j), width, |r| self.add_floats(t, r, o)),
                };
                match output {
                    Output::U8(c) => writing(c.0.add(at + j), width, |to| self.store_bytes(t, o, to)),
                    Output::F32(c) => writing(c.0.add(at + j), width, |to| {
                        S::store(to, t[0]);
                        S::store(to.add(4), t[1]);
                    }),
                }
            }
        }
    }

    /// x of four channels.
    ///
    /// # Safety
    /// `acc` must be valid for reads of four sums and `o + 4` within the epilogue.
    #[inline(always)]
    unsafe fn x(self, acc: *const i32, o: usize) -> S::F32 {
        // SAFETY: the caller's.
        unsafe {
            S::add(S::mul(S::to_f32(S::load_i32(acc)), S::load(self.multiplier.add(o))), S::load(self.bias.add(o)))
        }
    }

    /// The activation of four channels.
    ///
    /// # Safety
    /// `o + 4` must be within the epilogue.
    #[inline(always)]
    unsafe fn activate(self, x: S::F32, o: usize) -> S::F32 {
        let (l, gate) = (self.literals, self.gate);
        // SAFETY: the caller's.
        unsafe {
            match self.activation {
                Activation::Identity => x,
                Activation::Relu => S::max(x, l.zero),
                Activation::Relu6 => S::min(S::max(x, l.zero), S::load(gate.add(o))),
                Activation::Hardswish => S::mul(x, l.clamp_to_1(S::add(S::mul(x, S::load(gate.add(o))), l.half))),
                Activation::Hardsigmoid => {
                    S::mul(l.clamp_to_1(S::add(S::mul(x, l.sixth), l.half)), S::load(gate.add(o)))
                }
            }
        }
    }

    /// Adds eight bytes, less their zero points and scaled.
    ///
    /// # Safety
    /// `r` must be valid for reads of eight bytes and `o + 8` within the epilogue.
    #[inline(always)]
    unsafe fn add_bytes(self, t: [S::F32; 2], r: *const u8, o: usize) -> [S::F32; 2] {
        // SAFETY: the caller's.
        unsafe {
            let wide = S::widen(S::load_u8x8(r));
            std::array::from_fn(|j| {
                let value = S::to_f32(S::sub_i32(wide[j], S::load_i32(self.residual_zero.add(o + 4 * j))));
                S::add(t[j], S::mul(value, S::load(self.residual_scale.add(o + 4 * j))))
            })
        }
    }

    /// Adds eight floats, scaled.
    ///
    /// # Safety
    /// `r` must be valid for reads of eight floats and `o + 8` within the epilogue.
    #[inline(always)]
    unsafe fn add_floats(self, t: [S::F32; 2], r: *const f32, o: usize) -> [S::F32; 2] {
        // SAFETY: the caller's.
        unsafe {
            std::array::from_fn(|j| {
                S::add(t[j], S::mul(S::load(r.add(4 * j)), S::load(self.residual_scale.add(o + 4 * j))))
            })
        }
    }

    /// Writes eight channels as bytes.
    ///
    /// # Safety
    /// `to` must be valid for writes of eight bytes and `o + 8` within the epilogue.
    #[inline(always)]
    unsafe fn store_bytes(self, t: [S::F32; 2], o: usize, to: *mut u8) {
        let l = self.literals;
        // SAFETY: the caller's.
        unsafe {
            let round = [S::load(self.round.add(o)), S::load(self.round.add(o + 4))];
            S::store_u8x8(to, [l.quanta(t[0], round[0]), l.quanta(t[1], round[1])]);
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
