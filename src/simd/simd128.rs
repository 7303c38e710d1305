//! WebAssembly's 128-bit vectors, without and with relaxed SIMD: the two differ in four words only.

use super::Simd;
use core::arch::wasm32::*;

/// simd128: the floor, in every engine since Safari 16.4.
#[derive(Clone, Copy)]
pub struct Simd128;

/// relaxed-simd: madd is one instruction and rounds once where the CPU has FMA.
#[cfg(target_feature = "relaxed-simd")]
#[derive(Clone, Copy)]
pub struct Relaxed;

/// The words that both share, then those that differ as arguments: madd, min, max.
macro_rules! words {
    ($isa:ident, $name:literal, $rows:literal, $madd:expr, $min:ident, $max:ident) => {
        impl Simd for $isa {
            type F32 = v128;
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
        }
    };
}

// pmin and pmax: f32x4.min and max order -0 and NaN and take four times as long.
words!(Simd128, "simd128", 4, |a, b, c| f32x4_add(f32x4_mul(a, b), c), f32x4_pmin, f32x4_pmax);
#[cfg(target_feature = "relaxed-simd")]
words!(Relaxed, "relaxed", 6, f32x4_relaxed_madd, f32x4_relaxed_min, f32x4_relaxed_max);
