//! [`Epilogue`] in vectors, shared by the int8 convolutions: sums -> activation -> residual -> bytes or floats.
//!
//! Multiplications and additions stay apart (no [`Simd::madd`]), as the specification has them. Saturating narrows clamp to
//! a byte for nothing.

use super::{Activation, Pixels, Shared};
use crate::quant::{Epilogue, LOWEST, ROUND};
use crate::simd::Simd;

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

/// Four zero-extended bytes times two, as floats less their zero points, scaled and added to `t`.
///
/// # Safety
/// `r` must be valid for reads of eight bytes and `o + 8` within the epilogue.
#[inline(always)]
unsafe fn add_bytes<S: Simd>(e: &Epilogue, t: [S::F32; 2], r: *const u8, o: usize) -> [S::F32; 2] {
    // SAFETY: the caller's.
    unsafe {
        let wide = S::widen(S::load_u8x8(r));
        std::array::from_fn(|j| {
            let value = S::to_f32(S::sub_i32(wide[j], S::load_i32(e.residual_zero.as_ptr().add(o + 4 * j))));
            S::add(t[j], S::mul(value, S::load(e.residual_scale.as_ptr().add(o + 4 * j))))
        })
    }
}

/// As [`add_bytes`] for floats.
///
/// # Safety
/// `r` must be valid for reads of eight floats and `o + 8` within the epilogue.
#[inline(always)]
unsafe fn add_floats<S: Simd>(e: &Epilogue, t: [S::F32; 2], r: *const f32, o: usize) -> [S::F32; 2] {
    // SAFETY: the caller's.
    unsafe {
        std::array::from_fn(|j| {
            S::add(t[j], S::mul(S::load(r.add(4 * j)), S::load(e.residual_scale.as_ptr().add(o + 4 * j))))
        })
    }
}

/// t of the four channels from `o`, without a residual.
///
/// # Safety
/// `o + 4` must be within the epilogue.
#[inline(always)]
unsafe fn activate<S: Simd>(e: &Epilogue, acc: S::I32, o: usize) -> S::F32 {
    let clamp = |v| S::min(S::max(v, S::splat(0.0)), S::splat(1.0));
    // SAFETY: the caller's.
    unsafe {
        let x = S::mul(S::to_f32(acc), S::load(e.multiplier.as_ptr().add(o)));
        let x = S::add(x, S::load(e.bias.as_ptr().add(o)));
        let gate = || S::load(e.gate.as_ptr().add(o));
        match e.activation {
            Activation::Identity => x,
            Activation::Relu => S::max(x, S::splat(0.0)),
            Activation::Relu6 => S::min(S::max(x, S::splat(0.0)), gate()),
            Activation::Hardswish => S::mul(x, clamp(S::add(S::mul(x, gate()), S::splat(0.5)))),
            Activation::Hardsigmoid => S::mul(clamp(S::add(S::mul(x, S::splat(1.0 / 6.0)), S::splat(0.5))), gate()),
        }
    }
}

/// Rounds `t` to integers with the zero points `round` (plus [`ROUND`]) added; not yet clamped above.
#[inline(always)]
pub(super) fn quanta<S: Simd>(t: S::F32, round: S::F32) -> S::I32 {
    let sum = S::add(S::max(t, S::splat(LOWEST)), round);
    S::sub_i32(S::bits(sum), S::splat_i32(ROUND.to_bits() as i32))
}

/// Writes the bytes of the eight channels from `o`.
///
/// # Safety
/// `to` must be valid for writes of eight bytes and `o + 8` within the epilogue.
#[inline(always)]
unsafe fn store_bytes<S: Simd>(e: &Epilogue, t: [S::F32; 2], o: usize, to: *mut u8) {
    // SAFETY: the caller's.
    unsafe {
        let round = e.round.as_ptr().add(o);
        S::store_u8x8(to, [quanta::<S>(t[0], S::load(round)), quanta::<S>(t[1], S::load(round.add(4)))]);
    }
}

/// Writes eight floats.
///
/// # Safety
/// `to` must be valid for writes of eight floats.
#[inline(always)]
unsafe fn store_floats<S: Simd>(t: [S::F32; 2], to: *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        S::store(to, t[0]);
        S::store(to.add(4), t[1]);
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

/// The channels `o..o + width` of one pixel, at most eight: their sums, and where they are in the residual and the output.
///
/// # Safety
/// `o` must be a multiple of eight within the epilogue; the residual and the output must hold `width` values from their indices.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd>(
    e: &Epilogue,
    sums: [S::I32; 2],
    (o, width): (usize, usize),
    residual: Option<(Values, usize)>,
    (output, at): (Output, usize),
) {
    // SAFETY: the caller's; the epilogue is padded to eights.
    unsafe {
        let t = [activate::<S>(e, sums[0], o), activate::<S>(e, sums[1], o + 4)];
        let t = match residual {
            None => t,
            Some((Values::U8(r), at)) => reading(r.as_ptr().add(at), width, |r| add_bytes::<S>(e, t, r, o)),
            Some((Values::F32(r), at)) => reading(r.as_ptr().add(at), width, |r| add_floats::<S>(e, t, r, o)),
        };
        match output {
            Output::U8(c) => writing(c.0.add(at), width, |to| store_bytes::<S>(e, t, o, to)),
            Output::F32(c) => writing(c.0.add(at), width, |to| store_floats::<S>(t, to)),
        }
    }
}

/// Whether `values` hold `len` values at each of `size` pixels.
pub(super) fn holds(values: usize, at: Pixels, (h, w): (usize, usize), len: usize) -> bool {
    at.end(h, w, len) <= values
}
