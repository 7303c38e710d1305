//! WebAssembly's 128-bit vectors, without and with relaxed SIMD: the two differ in a few words only.

#[cfg(target_feature = "relaxed-simd")]
use super::ByteDot;
use super::{NoByteDot, Simd};
use core::arch::wasm32::*;

/// simd128: the floor, in every engine since Safari 16.4.
#[derive(Clone, Copy)]
pub struct Simd128;

/// relaxed-simd: madd is one instruction and rounds once where the CPU has FMA.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Clone, Copy)]
pub struct Relaxed;

/// The relaxed dot; its first operand is the weights, since the second is the one whose sign is the CPU's choice.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Clone, Copy)]
pub struct RelaxedDot;

#[cfg(target_feature = "relaxed-simd")]
impl ByteDot<Relaxed> for RelaxedDot {
    #[inline(always)]
    fn dot_add(w: v128, a: v128, acc: v128) -> v128 {
        i32x4_relaxed_dot_i8x16_i7x16_add(w, a, acc)
    }
}

/// The words that both share, then those that differ as arguments: madd, min, max, the dot of bytes.
macro_rules! words {
    ($isa:ident, $name:literal, $rows:literal, $madd:expr, $min:ident, $max:ident, $dot:ident) => {
        impl Simd for $isa {
            type F32 = v128;
            type I32 = v128;
            type I16 = v128;
            type Bytes = v128;
            type Dot = $dot;
            const NAME: &'static str = $name;
            const GEMM_ROWS: usize = $rows;

            #[inline(always)]
            fn splat(value: f32) -> v128 {
                f32x4_splat(value)
            }
            #[inline(always)]
            unsafe fn load(p: *const f32) -> v128 {
                // SAFETY: the caller's: four floats can be read, and v128.load asks no alignment.
                unsafe { v128_load(p.cast()) }
            }
            #[inline(always)]
            unsafe fn load_splat(p: *const f32) -> v128 {
                // SAFETY: the caller's: one float can be read.
                unsafe { v128_load32_splat(p.cast()) }
            }
            #[inline(always)]
            unsafe fn store(p: *mut f32, v: v128) {
                // SAFETY: the caller's: four floats can be written, and v128.store asks no alignment.
                unsafe { v128_store(p.cast(), v) }
            }
            #[inline(always)]
            unsafe fn load_u8(p: *const u8) -> v128 {
                // SAFETY: the caller's: four bytes can be read.
                let bytes = unsafe { v128_load32_zero(p.cast()) };
                f32x4_convert_i32x4(i32x4_extend_low_i16x8(i16x8_extend_low_u8x16(bytes)))
            }
            #[inline(always)]
            fn add(a: v128, b: v128) -> v128 {
                f32x4_add(a, b)
            }
            #[inline(always)]
            fn sub(a: v128, b: v128) -> v128 {
                f32x4_sub(a, b)
            }
            #[inline(always)]
            fn mul(a: v128, b: v128) -> v128 {
                f32x4_mul(a, b)
            }
            #[inline(always)]
            fn madd(a: v128, b: v128, c: v128) -> v128 {
                $madd(a, b, c)
            }
            #[inline(always)]
            fn min(a: v128, b: v128) -> v128 {
                $min(a, b)
            }
            #[inline(always)]
            fn max(a: v128, b: v128) -> v128 {
                $max(a, b)
            }
            #[inline(always)]
            fn where_greater(a: v128, b: v128, x: v128, y: v128) -> v128 {
                v128_bitselect(x, y, f32x4_gt(a, b))
            }

            #[inline(always)]
            fn splat_i32(value: i32) -> v128 {
                i32x4_splat(value)
            }
            #[inline(always)]
            unsafe fn load_i32(p: *const i32) -> v128 {
                // SAFETY: the caller's: four integers can be read, and v128.load asks no alignment.
                unsafe { v128_load(p.cast()) }
            }
            #[inline(always)]
            unsafe fn store_i32(p: *mut i32, v: v128) {
                // SAFETY: the caller's: four integers can be written, and v128.store asks no alignment.
                unsafe { v128_store(p.cast(), v) }
            }
            #[inline(always)]
            fn add_i32(a: v128, b: v128) -> v128 {
                i32x4_add(a, b)
            }
            #[inline(always)]
            fn sub_i32(a: v128, b: v128) -> v128 {
                i32x4_sub(a, b)
            }
            #[inline(always)]
            fn shift_right(v: v128, bits: u32) -> v128 {
                i32x4_shr(v, bits)
            }
            #[inline(always)]
            fn to_f32(v: v128) -> v128 {
                f32x4_convert_i32x4(v)
            }
            #[inline(always)]
            fn from_bits(v: v128) -> v128 {
                v
            }
            #[inline(always)]
            fn bits(v: v128) -> v128 {
                v
            }
            #[inline(always)]
            unsafe fn load_i16(p: *const i16) -> v128 {
                // SAFETY: the caller's: eight i16 can be read, and v128.load asks no alignment.
                unsafe { v128_load(p.cast()) }
            }
            #[inline(always)]
            unsafe fn store_i16(p: *mut u8, v: v128) {
                // SAFETY: the caller's: sixteen bytes can be written, and v128.store asks no alignment.
                unsafe { v128_store(p.cast(), v) }
            }
            #[inline(always)]
            unsafe fn load_pair_splat(p: *const u8) -> v128 {
                // SAFETY: the caller's: four bytes can be read.
                unsafe { v128_load32_splat(p.cast()) }
            }
            #[inline(always)]
            unsafe fn load_u8x8(p: *const u8) -> v128 {
                // SAFETY: the caller's: eight bytes can be read.
                unsafe { i16x8_load_extend_u8x8(p) }
            }
            #[inline(always)]
            unsafe fn load_pixel_pairs(p: *const u8) -> [v128; 2] {
                // SAFETY: the caller's: sixteen bytes can be read.
                let (a, b) = unsafe { (v128_load64_zero(p.cast()), v128_load64_zero(p.add(8).cast())) };
                let bytes = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b);
                [u16x8_extend_low_u8x16(bytes), u16x8_extend_high_u8x16(bytes)]
            }
            #[inline(always)]
            unsafe fn load_i8x8(p: *const u8) -> v128 {
                // SAFETY: the caller's: eight bytes can be read.
                unsafe { i16x8_load_extend_i8x8(p.cast()) }
            }
            #[inline(always)]
            fn widen(v: v128) -> [v128; 2] {
                [i32x4_extend_low_i16x8(v), i32x4_extend_high_i16x8(v)]
            }
            #[inline(always)]
            fn interleave(a: v128, b: v128) -> [v128; 2] {
                [i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b), i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b)]
            }
            #[inline(always)]
            fn dot_add(a: v128, b: v128, acc: v128) -> v128 {
                i32x4_add(acc, i32x4_dot_i16x8(a, b))
            }
            #[inline(always)]
            unsafe fn store_u8x8(p: *mut u8, v: [v128; 2], tops: v128) {
                let halves = i16x8_narrow_i32x4(v[0], v[1]);
                let bytes = v128_xor(i8x16_narrow_i16x8(halves, halves), tops);
                // SAFETY: the caller's: eight bytes can be written.
                unsafe { v128_store64_lane::<0>(bytes, p.cast()) }
            }
            #[inline(always)]
            unsafe fn load_bytes(p: *const u8) -> v128 {
                // SAFETY: the caller's: sixteen bytes can be read.
                unsafe { v128_load(p.cast()) }
            }
            #[inline(always)]
            unsafe fn load_bytes_splat(p: *const u8) -> v128 {
                // SAFETY: the caller's: four bytes can be read.
                unsafe { v128_load32_splat(p.cast()) }
            }
        }
    };
}

// pmin and pmax: f32x4.min and max order -0 and NaN and take four times as long.
words!(Simd128, "simd128", 4, |a, b, c| f32x4_add(f32x4_mul(a, b), c), f32x4_pmin, f32x4_pmax, NoByteDot);
#[cfg(target_feature = "relaxed-simd")]
words!(Relaxed, "relaxed", 6, f32x4_relaxed_madd, f32x4_relaxed_min, f32x4_relaxed_max, RelaxedDot);
