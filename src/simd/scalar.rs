//! Plain Rust for any target: native tests, and the meaning of each word.

#[cfg(target_arch = "wasm32")]
use super::NoByteDot;
use super::Simd;

#[cfg(not(target_arch = "wasm32"))]
pub use simulated::{Answer as ByteDotAnswer, simulate_byte_dot};

/// A dot of bytes that can be any CPU's, so that tests on one machine run models as all of them would.
#[cfg(not(target_arch = "wasm32"))]
mod simulated {
    use super::Scalar;
    use crate::simd::ByteDot;
    use std::sync::atomic::{AtomicU8, Ordering};

    static ANSWER: AtomicU8 = AtomicU8::new(Answer::None as u8);

    /// What a CPU makes of the dot.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    pub enum Answer {
        /// There is none.
        None,
        /// Exact; activations have no sign.
        Unsigned,
        /// Exact; activations have a sign.
        Signed,
        /// Sums of pairs saturate at 16 bits.
        Saturating,
    }

    /// From now on the dot is the one of such a CPU; models loaded before must not run any more.
    pub fn simulate_byte_dot(answer: Answer) {
        ANSWER.store(answer as u8, Ordering::SeqCst);
    }

    #[derive(Clone, Copy)]
    pub struct Dot;

    impl ByteDot<Scalar> for Dot {
        fn dot_add(w: [u8; 16], a: [u8; 16], acc: [i32; 4]) -> [i32; 4] {
            let answer = ANSWER.load(Ordering::Relaxed);
            let product = |i: usize| match answer == Answer::Signed as u8 {
                true => i32::from(w[i] as i8) * i32::from(a[i] as i8),
                false => i32::from(w[i] as i8) * i32::from(a[i]),
            };
            let pair = |i: usize| match answer == Answer::Saturating as u8 {
                true => (product(i) + product(i + 1)).clamp(i16::MIN.into(), i16::MAX.into()),
                false => product(i) + product(i + 1),
            };
            match answer == Answer::None as u8 {
                true => acc,
                false => std::array::from_fn(|i| acc[i] + pair(4 * i) + pair(4 * i + 2)),
            }
        }
    }
}

/// Four floats in an array.
#[derive(Clone, Copy)]
pub struct Scalar;

#[inline(always)]
fn zip(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl Simd for Scalar {
    type F32 = [f32; 4];
    type I32 = [i32; 4];
    type I16 = [i16; 8];
    type Bytes = [u8; 16];
    #[cfg(target_arch = "wasm32")]
    type Dot = NoByteDot;
    #[cfg(not(target_arch = "wasm32"))]
    type Dot = simulated::Dot;
    const NAME: &'static str = "scalar";
    const GEMM_ROWS: usize = 4;

    #[inline(always)]
    fn splat(value: f32) -> [f32; 4] {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        // SAFETY: the caller's: four floats can be read.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_splat(p: *const f32) -> [f32; 4] {
        // SAFETY: the caller's: one float can be read.
        [unsafe { p.read_unaligned() }; 4]
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 4]) {
        // SAFETY: the caller's: four floats can be written.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_u8(p: *const u8) -> [f32; 4] {
        // SAFETY: the caller's: four bytes can be read.
        unsafe { p.cast::<[u8; 4]>().read() }.map(f32::from)
    }
    #[inline(always)]
    fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn madd(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        Self::add(Self::mul(a, b), c)
    }
    #[inline(always)]
    fn min(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| if b < a { b } else { a })
    }
    #[inline(always)]
    fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        zip(a, b, |a, b| if a < b { b } else { a })
    }

    #[inline(always)]
    fn where_greater(a: [f32; 4], b: [f32; 4], x: [f32; 4], y: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|i| if a[i] > b[i] { x[i] } else { y[i] })
    }

    #[inline(always)]
    fn splat_i32(value: i32) -> [i32; 4] {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> [i32; 4] {
        // SAFETY: the caller's: four integers can be read.
        unsafe { p.cast::<[i32; 4]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_i32(p: *mut i32, v: [i32; 4]) {
        // SAFETY: the caller's: four integers can be written.
        unsafe { p.cast::<[i32; 4]>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add_i32(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| a[i].wrapping_add(b[i]))
    }
    #[inline(always)]
    fn sub_i32(a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }
    #[inline(always)]
    fn shift_right(v: [i32; 4], bits: u32) -> [i32; 4] {
        v.map(|v| v >> bits)
    }
    #[inline(always)]
    fn to_f32(v: [i32; 4]) -> [f32; 4] {
        v.map(|v| v as f32)
    }
    #[inline(always)]
    fn from_bits(v: [i32; 4]) -> [f32; 4] {
        v.map(|v| f32::from_bits(v as u32))
    }
    #[inline(always)]
    fn bits(v: [f32; 4]) -> [i32; 4] {
        v.map(|v| v.to_bits() as i32)
    }
    #[inline(always)]
    unsafe fn load_i16(p: *const i16) -> [i16; 8] {
        // SAFETY: the caller's: eight i16 can be read.
        unsafe { p.cast::<[i16; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_i16(p: *mut u8, v: [i16; 8]) {
        // SAFETY: the caller's: sixteen bytes can be written.
        unsafe { p.cast::<[i16; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_pair_splat(p: *const u8) -> [i16; 8] {
        // SAFETY: the caller's: four bytes can be read.
        let [a, b] = unsafe { p.cast::<[i16; 2]>().read_unaligned() };
        [a, b, a, b, a, b, a, b]
    }
    #[inline(always)]
    unsafe fn load_u8x8(p: *const u8) -> [i16; 8] {
        // SAFETY: the caller's: eight bytes can be read.
        unsafe { p.cast::<[u8; 8]>().read() }.map(i16::from)
    }
    #[inline(always)]
    unsafe fn load_pixel_pairs(p: *const u8) -> [[i16; 8]; 2] {
        // SAFETY: the caller's: sixteen bytes can be read.
        let pixels = unsafe { p.cast::<[[u8; 4]; 4]>().read() };
        [0, 1].map(|first| std::array::from_fn(|i| i16::from(pixels[first + i % 2 * 2][i / 2])))
    }
    #[inline(always)]
    unsafe fn load_i8x8(p: *const u8) -> [i16; 8] {
        // SAFETY: the caller's: eight bytes can be read.
        unsafe { p.cast::<[i8; 8]>().read() }.map(i16::from)
    }
    #[inline(always)]
    fn widen(v: [i16; 8]) -> [[i32; 4]; 2] {
        [0, 4].map(|half| std::array::from_fn(|i| i32::from(v[half + i])))
    }
    #[inline(always)]
    fn interleave(a: [i16; 8], b: [i16; 8]) -> [[i16; 8]; 2] {
        [0, 4].map(|half| std::array::from_fn(|i| if i % 2 == 0 { a[half + i / 2] } else { b[half + i / 2] }))
    }
    #[inline(always)]
    fn dot_add(a: [i16; 8], b: [i16; 8], acc: [i32; 4]) -> [i32; 4] {
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        std::array::from_fn(|i| acc[i] + product(2 * i) + product(2 * i + 1))
    }
    #[inline(always)]
    unsafe fn store_u8x8(p: *mut u8, v: [[i32; 4]; 2], _: [i32; 4]) {
        let bytes: [u8; 8] = std::array::from_fn(|i| (v[i / 4][i % 4].clamp(-128, 127) + 128) as u8);
        // SAFETY: the caller's: eight bytes can be written.
        unsafe { p.cast::<[u8; 8]>().write(bytes) }
    }
    #[inline(always)]
    unsafe fn load_bytes(p: *const u8) -> [u8; 16] {
        // SAFETY: the caller's: sixteen bytes can be read.
        unsafe { p.cast::<[u8; 16]>().read() }
    }
    #[inline(always)]
    unsafe fn load_bytes_splat(p: *const u8) -> [u8; 16] {
        // SAFETY: the caller's: four bytes can be read.
        let four = unsafe { p.cast::<[u8; 4]>().read() };
        std::array::from_fn(|i| four[i % 4])
    }
}
