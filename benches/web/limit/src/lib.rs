//! The most multiply-accumulates a second that this machine's browser can do: the inner loops of a matrix product on operands that
//! stay in the first-level cache. For each of `repeats` tiles: c[mr, 8] += a[mr, k] b[k, 8], b packed by steps of k.
#![deny(missing_docs)]

use core::arch::wasm32::*;

/// Bytes of a step of one row of `a`, and of the two vectors of `b` that it meets.
const STEP_A: usize = 4;
const STEP_B: usize = 32;

/// The loop that all kernels share. Each element of `a` is splat right before its two products: with 12 accumulators, only that order
/// fits the browser's 15 vector registers.
///
/// # Safety
/// `a` holds MR rows of `steps` steps, `b` `steps` steps, `c` MR rows of 8 values.
#[inline(always)]
unsafe fn tiles<const MR: usize>(
    (a, b, c): (*const u8, *const u8, *mut v128),
    steps: usize,
    repeats: usize,
    product: impl Fn(v128, v128, v128) -> v128,
    add: impl Fn(v128, v128) -> v128,
) {
    for _ in 0..repeats {
        let mut sums = [[i32x4_splat(0); 2]; MR];
        for step in 0..steps {
            // SAFETY: step < steps and row < MR, so the caller's bounds hold; wasm loads need no alignment.
            unsafe {
                let column = b.add(step * STEP_B).cast::<v128>();
                let (b0, b1) = (v128_load(column), v128_load(column.add(1)));
                for (row, sum) in sums.iter_mut().enumerate() {
                    let element = v128_load32_splat(a.add((row * steps + step) * STEP_A).cast());
                    sum[0] = product(element, b0, sum[0]);
                    sum[1] = product(element, b1, sum[1]);
                }
            }
        }
        for (i, sum) in sums.as_flattened().iter().enumerate() {
            // SAFETY: i < 2 MR vectors of four values.
            unsafe { v128_store(c.add(i), add(v128_load(c.add(i)), *sum)) }
        }
    }
}

/// f32, 6 x 8, fused multiply-add, one k a step.
///
/// # Safety
/// See [`tiles`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn f32_fma(a: *const u8, b: *const u8, c: *mut v128, steps: usize, repeats: usize) {
    // SAFETY: the caller's.
    unsafe { tiles::<6>((a, b, c), steps, repeats, |a, b, sum| f32x4_relaxed_madd(a, b, sum), |x, y| f32x4_add(x, y)) }
}

/// int8 widened to i16, 4 x 8, two k a step: exact on every engine.
///
/// # Safety
/// See [`tiles`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn i8_dot_i16(a: *const u8, b: *const u8, c: *mut v128, steps: usize, repeats: usize) {
    let product = |a, b, sum| i32x4_add(sum, i32x4_dot_i16x8(a, b));
    // SAFETY: the caller's.
    unsafe { tiles::<4>((a, b, c), steps, repeats, product, |x, y| i32x4_add(x, y)) }
}

/// int8, 4 x 8, four k a step in one instruction; the weights are the signed operand. Usable only where [`dot`] is exact.
///
/// # Safety
/// See [`tiles`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn i8_dot_i8(a: *const u8, b: *const u8, c: *mut v128, steps: usize, repeats: usize) {
    let product = |a, b, sum| i32x4_relaxed_dot_i8x16_i7x16_add(b, a, sum);
    // SAFETY: the caller's.
    unsafe { tiles::<4>((a, b, c), steps, repeats, product, |x, y| i32x4_add(x, y)) }
}

/// What the engine makes of four products of 127 and 255: 129540 if exact with an unsigned second operand, 65534 if pairs
/// saturate, -508 if the second operand is signed. Arguments, so that the compiler cannot decide.
#[unsafe(no_mangle)]
pub extern "C" fn dot(weight: i32, activation: i32) -> i32 {
    let sum =
        i32x4_relaxed_dot_i8x16_i7x16_add(i8x16_splat(weight as i8), u8x16_splat(activation as u8), i32x4_splat(0));
    i32x4_extract_lane::<0>(sum)
}
