//! A step of an int8 sum, either way: two activations widened to i16 with two weights a column ([`Pairs`]), or four bytes with four
//! weights a column ([`Quads`]); and the packing of pixels into rows of steps.

use super::Pixels;
use crate::simd::{ByteDot, DotKind, Simd};
use std::marker::PhantomData;

/// How a step multiplies: the form of a packed row of a, and one row against eight columns.
pub(super) trait Step<S: Simd> {
    /// Values of k in a step.
    const K: usize;
    /// A vector of a or b.
    type V: Copy;
    /// Writes `len` activations as a packed row has them: 4 / K bytes each.
    ///
    /// # Safety
    /// `from` must be valid for reads of `len` bytes, `to` for writes of `len` * 4 / K.
    unsafe fn pack(from: *const u8, to: *mut u8, len: usize);
    /// A step of a row, in all columns.
    ///
    /// # Safety
    /// `p` must be valid for reads of four bytes.
    unsafe fn load_a(p: *const u8) -> Self::V;
    /// A step of eight columns.
    ///
    /// # Safety
    /// `p` must be valid for reads of 8 * K bytes.
    unsafe fn load_b(p: *const u8) -> [Self::V; 2];
    /// acc + the dots of w and a.
    fn dot_add(w: Self::V, a: Self::V, acc: S::I32) -> S::I32;
}

/// Calls `eight` with the first of each eight of `len` elements, and for what is left once more with what comes before it;
/// `one` with each where there are not eight in all.
#[inline(always)]
fn by_eights(len: usize, eight: impl Fn(usize), one: impl Fn(usize)) {
    (0..len / 8).for_each(|i| eight(8 * i));
    match len {
        0..8 => (0..len).for_each(one),
        _ if len.is_multiple_of(8) => {}
        _ => eight(len - 8),
    }
}

/// Two activations a step, as i16.
pub(super) struct Pairs;

impl<S: Simd> Step<S> for Pairs {
    const K: usize = 2;
    type V = S::I16;

    #[inline(always)]
    unsafe fn pack(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: the caller's: `len` bytes are read and 2 `len` written.
        let one = |i| unsafe { to.add(2 * i).cast::<i16>().write_unaligned(i16::from(*from.add(i))) };
        // SAFETY: as above.
        by_eights(len, |i| unsafe { S::store_i16(to.add(2 * i), S::load_u8x8(from.add(i))) }, one);
    }
    #[inline(always)]
    unsafe fn load_a(p: *const u8) -> S::I16 {
        // SAFETY: the caller's.
        unsafe { S::load_pair_splat(p) }
    }
    #[inline(always)]
    unsafe fn load_b(p: *const u8) -> [S::I16; 2] {
        // SAFETY: the caller's.
        unsafe { [S::load_i8x8(p), S::load_i8x8(p.add(8))] }
    }
    #[inline(always)]
    fn dot_add(w: S::I16, a: S::I16, acc: S::I32) -> S::I32 {
        S::dot_add(w, a, acc)
    }
}

/// Four activations a step, as they are or, with `FLIP`, less 128: the flipped top bit makes them signed.
pub(super) struct Quads<D, const FLIP: bool>(PhantomData<D>);

impl<S: Simd, D: ByteDot<S>, const FLIP: bool> Step<S> for Quads<D, FLIP> {
    const K: usize = 4;
    type V = S::Bytes;

    #[inline(always)]
    unsafe fn pack(from: *const u8, to: *mut u8, len: usize) {
        let flip: u8 = if FLIP { 0x80 } else { 0 };
        let flips = u64::from_ne_bytes([flip; 8]);
        // SAFETY: the caller's: `len` bytes are read and written.
        let one = |i| unsafe { *to.add(i) = *from.add(i) ^ flip };
        let eight = |i| {
            // SAFETY: as above.
            unsafe { to.add(i).cast::<u64>().write_unaligned(from.add(i).cast::<u64>().read_unaligned() ^ flips) };
        };
        by_eights(len, eight, one);
    }
    #[inline(always)]
    unsafe fn load_a(p: *const u8) -> S::Bytes {
        // SAFETY: the caller's.
        unsafe { S::load_bytes_splat(p) }
    }
    #[inline(always)]
    unsafe fn load_b(p: *const u8) -> [S::Bytes; 2] {
        // SAFETY: the caller's.
        unsafe { [S::load_bytes(p), S::load_bytes(p.add(16))] }
    }
    #[inline(always)]
    fn dot_add(w: S::Bytes, a: S::Bytes, acc: S::I32) -> S::I32 {
        D::dot_add(w, a, acc)
    }
}

/// Whether the dot of `kind` takes the `k` activations of pixels at `at`, `width` a row, as they are: packed rows would be the same bytes.
pub(super) fn are_packed(kind: DotKind, k: usize, at: Pixels, width: usize) -> bool {
    kind == DotKind::I8Unsigned && k.is_multiple_of(kind.step()) && at.is_dense(width, k)
}

/// Packs `len` activations of each of `count` pixels, from and to a pointer and a pitch.
///
/// # Safety
/// As for [`Step::pack`], for each pixel.
#[inline(always)]
pub(super) unsafe fn pack_pixels<S: Simd, P: Step<S>>(
    (mut from, pitch_from): (*const u8, usize),
    (mut to, pitch_to): (*mut u8, usize),
    len: usize,
    count: usize,
) {
    // Pixels without a gap are one long one.
    let is_dense = (pitch_from, pitch_to) == (len, len * 4 / P::K);
    let (len, count) = if is_dense { (len * count, 1) } else { (len, count) };
    for _ in 0..count {
        // SAFETY: the caller's.
        unsafe { P::pack(from, to, len) };
        (from, to) = (from.wrapping_add(pitch_from), to.wrapping_add(pitch_to));
    }
}
