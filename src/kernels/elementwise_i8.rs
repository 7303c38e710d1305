//! Bytes from floats, floats from bytes, and squeeze-excite's product, by channel:
//! q = round(x * (1 / s) + zp);  x = (q - zp) * s;  q' = round((q - zp) * (s * (1 / s') * gate) + zp').
//!
//! Constants are repeated to a multiple of eight, so that a row is one run of vectors whatever its channels are.

use super::Shared;
use super::epilogue_i8::Literals;
use super::values_i8::{reading, writing};
use crate::parallel;
use crate::quant::{QParams, ROUND};
use crate::simd::Simd;
use crate::tensor::Tensor;

/// [`QParams`] as vectors have them.
#[derive(Clone, Debug)]
pub struct Affine {
    zero: Vec<i32>,
    scale: Vec<f32>,
    inverse: Vec<f32>,
    round: Vec<f32>,
}

impl Affine {
    /// The constants of `params`.
    pub fn new(params: &QParams) -> Affine {
        let channels = params.scale().len();
        let period = if channels.is_multiple_of(8) { channels } else { 8 * channels };
        let scale = || params.scale().iter().cycle().take(period);
        let zero = || params.zero_point().iter().cycle().take(period);
        Affine {
            zero: zero().map(|z| i32::from(*z)).collect(),
            scale: scale().copied().collect(),
            inverse: scale().map(|s| 1.0 / s).collect(),
            round: zero().map(|z| ROUND + f32::from(*z)).collect(),
        }
    }

    /// The channels, where they come in eights.
    pub(super) fn channels(&self) -> usize {
        self.zero.len()
    }

    /// # Panics
    /// When the constants are not for pixels of `channels`.
    pub(super) fn check(&self, channels: usize) {
        assert!(self.scale.len().is_multiple_of(channels), "parameters of the channels");
    }

    /// (q - zp) of eight bytes, as floats.
    ///
    /// # Safety
    /// `p` must be valid for reads of eight bytes and `i + 8` within the constants.
    #[inline(always)]
    unsafe fn above_zero<S: Simd>(&self, p: *const u8, i: usize) -> [S::F32; 2] {
        // SAFETY: the caller's.
        unsafe {
            let wide = S::widen(S::load_u8x8(p));
            let zero = self.zero.as_ptr().add(i);
            [0, 1].map(|j| S::to_f32(S::sub_i32(wide[j], S::load_i32(zero.add(4 * j)))))
        }
    }

    /// Eight floats as bytes.
    ///
    /// # Safety
    /// `to` must be valid for writes of eight bytes, and `i + 8` within the constants.
    #[inline(always)]
    pub(super) unsafe fn quantised<S: Simd>(&self, literals: Literals<S>, v: [S::F32; 2], i: usize, to: *mut u8) {
        // SAFETY: the caller's.
        unsafe {
            let (inverse, round) = (self.inverse.as_ptr().add(i), self.round.as_ptr().add(i));
            let quanta = [0, 4]
                .map(|j| literals.quanta::<false>(S::mul(v[j / 4], S::load(inverse.add(j))), S::load(round.add(j))));
            S::store_u8x8(to, quanta, literals.tops);
        }
    }

    /// The bytes of a `row` of pixels of its channels.
    ///
    /// # Safety
    /// `to` must be valid for writes of as many bytes.
    pub(super) unsafe fn quantise_row<S: Simd>(&self, row: &[f32], to: *mut u8) {
        let literals = Literals::new();
        vectors(row.len(), self.scale.len(), |i, c, width| {
            // SAFETY: the caller's.
            unsafe {
                let v = reading(row.as_ptr().add(i), width, |p| [S::load(p), S::load(p.add(4))]);
                writing(to.add(i), width, |p| self.quantised::<S>(literals, v, c, p));
            }
        });
    }
}

/// Calls `f` with the index in a row, the index in constants of `period`, and the width of each vector of a row of `len`.
#[inline(always)]
fn vectors(len: usize, period: usize, mut f: impl FnMut(usize, usize, usize)) {
    let mut constant = 0;
    for i in (0..len).step_by(8) {
        f(i, constant, 8.min(len - i));
        constant = if constant + 8 == period { 0 } else { constant + 8 };
    }
}

fn assert_same<A: Copy, B: Copy>(a: &Tensor<A>, b: &Tensor<B>) {
    assert_eq!((a.h, a.w, a.c), (b.h, b.w, b.c), "both of one shape");
}

/// The bytes of `x` by the parameters of `to`, into `out` of the same shape.
pub fn quantise<S: Simd>(x: &Tensor, to: &Affine, out: &mut Tensor<u8>) {
    assert_same(x, out);
    to.check(x.c);
    let (start, pitch) = (out.origin(), out.row_pitch());
    let data = Shared(out.data_mut().as_mut_ptr());
    // SAFETY: row y of both has as many elements, and a task has a row of its own.
    parallel::for_each(x.h, x.w * x.c * parallel::ELEMENT, |y| unsafe {
        to.quantise_row::<S>(x.row(y), data.at(start + y * pitch));
    });
}

/// The values of `x` with the parameters of `from`, into `out` of the same shape.
pub fn dequantise<S: Simd>(x: &Tensor<u8>, from: &Affine, out: &mut Tensor) {
    assert_same(x, out);
    from.check(x.c);
    let (start, pitch) = (out.origin(), out.row_pitch());
    let data = Shared(out.data_mut().as_mut_ptr());
    parallel::for_each(x.h, x.w * x.c * parallel::ELEMENT, |y| {
        let row = x.row(y);
        vectors(row.len(), from.scale.len(), |i, c, width| {
            // SAFETY: row y of both has row.len() elements, and a task has a row of its own.
            unsafe {
                let v = reading(row.as_ptr().add(i), width, |p| from.above_zero::<S>(p, c));
                writing(data.at(start + y * pitch + i), width, |p| {
                    for j in [0, 4] {
                        S::store(p.add(j), S::mul(v[j / 4], S::load(from.scale.as_ptr().add(c + j))));
                    }
                });
            }
        });
    });
}

/// Bytes of pixels whose channels [`scale_i8`] does eight after eight: they stay in the first-level cache.
const RUN: usize = 1 << 14;
/// The most that a step above the zero point is multiplied by: it is past all bytes then.
const MOST: f32 = 512.0;

/// Multiplies `x`, in place, by a `gate` [c] in 0..=1, from the parameters of `from` to those of `to`; `product` [c] is
/// room for s * (1 / s') * gate. Channels come in eights.
pub fn scale_i8<S: Simd>(x: &mut Tensor<u8>, from: &Affine, gate: &[f32], to: &Affine, product: &mut [f32]) {
    let c = x.c;
    assert!(c.is_multiple_of(8) && [gate.len(), product.len(), from.scale.len(), to.scale.len()] == [c; 4], "channels");
    for (i, product) in product.iter_mut().enumerate() {
        *product = (from.scale[i] * to.inverse[i] * gate[i]).min(MOST);
    }
    let product = &*product;
    let (start, pitch, width) = (x.origin(), x.row_pitch(), x.w);
    let data = Shared(x.data_mut().as_mut_ptr());
    parallel::for_each(x.h, width * c * parallel::ELEMENT, |y| {
        let run = (RUN / c).max(1);
        for first in (0..width).step_by(run) {
            let count = run.min(width - first);
            for i in (0..c).step_by(8) {
                // SAFETY: row y has `width` pixels of c bytes, and a task has a row of its own.
                unsafe {
                    let p = data.at(start + y * pitch + first * c + i);
                    scale_eight::<S>((from, to), &product[i..], i, (p, c), count);
                }
            }
        }
    });
}

/// Channels `i` to `i + 8` of `count` pixels of `c` bytes, of which `p` is the first one's: their constants stay in registers.
///
/// # Safety
/// The pixels must be there to read and write, and the channels among the constants.
#[inline(always)]
unsafe fn scale_eight<S: Simd>(
    (from, to): (&Affine, &Affine),
    product: &[f32],
    i: usize,
    (mut p, c): (*mut u8, usize),
    count: usize,
) {
    let literals = Literals::<S>::new();
    // SAFETY: the caller's.
    unsafe {
        let floats = |v: *const f32| [S::load(v), S::load(v.add(4))];
        let (product, round) = (floats(product.as_ptr()), floats(to.round.as_ptr().add(i)));
        let zero = from.zero.as_ptr().add(i);
        let zero = [S::load_i32(zero), S::load_i32(zero.add(4))];
        for _ in 0..count {
            let wide = S::widen(S::load_u8x8(p));
            let quanta = [0, 1].map(|j| {
                let above_zero = S::to_f32(S::sub_i32(wide[j], zero[j]));
                literals.quanta::<true>(S::mul(above_zero, product[j]), round[j])
            });
            S::store_u8x8(p, quanta, literals.tops);
            p = p.add(c);
        }
    }
}
