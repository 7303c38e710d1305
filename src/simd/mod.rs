//! The vector words that the kernels are written in, and their implementations: an instruction set is a small vocabulary,
//! not a copy of every kernel.
//!
//! A WebAssembly module is validated whole, so the instruction set is chosen by which module is loaded, never by a branch
//! inside one: [`Best`] is the widest vocabulary that this build was compiled for. The relaxed build has all three, so that
//! one test binary compares them.

mod byte_dot;
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

pub use byte_dot::{ByteDot, DotKind, NoByteDot};
pub use scalar::Scalar;
#[cfg(not(target_arch = "wasm32"))]
pub use scalar::{ByteDotAnswer, simulate_byte_dot};
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub use simd128::Relaxed;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use simd128::Simd128;

/// The best vocabulary of this build.
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
pub type Best = Relaxed;
/// The best vocabulary of this build.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(target_feature = "relaxed-simd")))]
pub type Best = Simd128;
/// The best vocabulary of this build.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub type Best = Scalar;

/// The best vocabulary whose madd rounds twice, so that every build computes the same bits: for the f32 layers of an int8
/// model, whose last bits would move bytes further on.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub type Exact = Simd128;
/// The best vocabulary whose madd rounds twice.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub type Exact = Scalar;

/// The top bit of each of four bytes.
pub const TOPS: i32 = i32::from_ne_bytes([0x80; 4]);

/// Four lanes of f32 or i32, eight of i16, sixteen bytes. Every method is one instruction, or two, where the instruction
/// set has it.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Four f32 lanes in a register.
    type F32: Copy;
    /// Four i32 lanes.
    type I32: Copy;
    /// Eight i16 lanes.
    type I16: Copy;
    /// Sixteen bytes; who uses them says whether they have a sign.
    type Bytes: Copy;
    /// The instruction set's dot of bytes.
    type Dot: ByteDot<Self>;
    /// As `info()` names it.
    const NAME: &'static str;
    /// Rows of the GEMM tile: what the registers hold beside two vectors of B and one splat of A.
    const GEMM_ROWS: usize;

    /// Four lanes of `value`.
    fn splat(value: f32) -> Self::F32;
    /// Four consecutive floats.
    ///
    /// # Safety
    /// `p` must be valid for reads of four floats; no alignment is asked.
    unsafe fn load(p: *const f32) -> Self::F32;
    /// One float in all four lanes.
    ///
    /// # Safety
    /// `p` must be valid for a read of one float.
    unsafe fn load_splat(p: *const f32) -> Self::F32;
    /// Writes four consecutive floats.
    ///
    /// # Safety
    /// `p` must be valid for writes of four floats; no alignment is asked.
    unsafe fn store(p: *mut f32, v: Self::F32);
    /// Four consecutive bytes as floats, 0 to 255.
    ///
    /// # Safety
    /// `p` must be valid for reads of four bytes.
    unsafe fn load_u8(p: *const u8) -> Self::F32;
    /// a + b.
    fn add(a: Self::F32, b: Self::F32) -> Self::F32;
    /// a - b.
    fn sub(a: Self::F32, b: Self::F32) -> Self::F32;
    /// a * b.
    fn mul(a: Self::F32, b: Self::F32) -> Self::F32;
    /// a * b + c, rounded once or twice.
    fn madd(a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The smaller, lane by lane; neither is NaN.
    fn min(a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger, lane by lane; neither is NaN.
    fn max(a: Self::F32, b: Self::F32) -> Self::F32;

    /// x where a > b, else y, lane by lane.
    fn where_greater(a: Self::F32, b: Self::F32, x: Self::F32, y: Self::F32) -> Self::F32;

    /// Four lanes of `value`.
    fn splat_i32(value: i32) -> Self::I32;
    /// Four consecutive integers.
    ///
    /// # Safety
    /// `p` must be valid for reads of four integers; no alignment is asked.
    unsafe fn load_i32(p: *const i32) -> Self::I32;
    /// Writes four consecutive integers.
    ///
    /// # Safety
    /// `p` must be valid for writes of four integers; no alignment is asked.
    unsafe fn store_i32(p: *mut i32, v: Self::I32);
    /// a + b, wrapping.
    fn add_i32(a: Self::I32, b: Self::I32) -> Self::I32;
    /// a - b, wrapping.
    fn sub_i32(a: Self::I32, b: Self::I32) -> Self::I32;
    /// v / 2^bits, rounded down.
    fn shift_right(v: Self::I32, bits: u32) -> Self::I32;
    /// The nearest floats.
    fn to_f32(v: Self::I32) -> Self::F32;
    /// The floats of these bits.
    fn from_bits(v: Self::I32) -> Self::F32;
    /// The floats' bits.
    fn bits(v: Self::F32) -> Self::I32;

    /// Eight consecutive i16.
    ///
    /// # Safety
    /// `p` must be valid for reads of eight i16; no alignment is asked.
    unsafe fn load_i16(p: *const i16) -> Self::I16;
    /// Writes eight consecutive i16 as they lie in memory.
    ///
    /// # Safety
    /// `p` must be valid for writes of sixteen bytes; no alignment is asked.
    unsafe fn store_i16(p: *mut u8, v: Self::I16);
    /// Two consecutive i16 in all four pairs of lanes.
    ///
    /// # Safety
    /// `p` must be valid for reads of four bytes; no alignment is asked.
    unsafe fn load_pair_splat(p: *const u8) -> Self::I16;
    /// Eight consecutive u8, widened.
    ///
    /// # Safety
    /// `p` must be valid for reads of eight bytes.
    unsafe fn load_u8x8(p: *const u8) -> Self::I16;
    /// Of four consecutive pixels of four bytes the first and the third, widened, channel by channel, a0 b0 a1 b1 a2 b2 a3 b3; and the second
    /// and the fourth.
    ///
    /// # Safety
    /// `p` must be valid for reads of sixteen bytes.
    unsafe fn load_pixel_pairs(p: *const u8) -> [Self::I16; 2];
    /// Eight consecutive i8, widened.
    ///
    /// # Safety
    /// `p` must be valid for reads of eight bytes.
    unsafe fn load_i8x8(p: *const u8) -> Self::I16;
    /// The lower and the upper four lanes, widened.
    fn widen(v: Self::I16) -> [Self::I32; 2];
    /// a0 b0 a1 b1 a2 b2 a3 b3, and the same of the upper four.
    fn interleave(a: Self::I16, b: Self::I16) -> [Self::I16; 2];
    /// acc + the dots of pairs of lanes: acc[i] + a[2i] * b[2i] + a[2i + 1] * b[2i + 1].
    fn dot_add(a: Self::I16, b: Self::I16, acc: Self::I32) -> Self::I32;
    /// Writes eight integers, each 128 less than its byte, clamped to that; `tops` is [`TOPS`] in each lane. Only a narrowing to signed bytes
    /// is one instruction as LLVM compiles it (1.95): one to unsigned bytes is clamped before, to the bounds to which it clamps.
    ///
    /// # Safety
    /// `p` must be valid for writes of eight bytes.
    unsafe fn store_u8x8(p: *mut u8, v: [Self::I32; 2], tops: Self::I32);

    /// Sixteen consecutive bytes.
    ///
    /// # Safety
    /// `p` must be valid for reads of sixteen bytes.
    unsafe fn load_bytes(p: *const u8) -> Self::Bytes;
    /// Four consecutive bytes, four times.
    ///
    /// # Safety
    /// `p` must be valid for reads of four bytes.
    unsafe fn load_bytes_splat(p: *const u8) -> Self::Bytes;
}
