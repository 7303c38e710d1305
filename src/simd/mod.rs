//! The vector words that the kernels are written in, and their implementations: an instruction set is a small vocabulary,
//! not a copy of every kernel.
//!
//! A WebAssembly module is validated whole, so the instruction set is chosen by which module is loaded, never by a branch
//! inside one: [`Best`] is the widest vocabulary that this build was compiled for. The relaxed build has all three, so that
//! one test binary compares them.

mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

pub use scalar::Scalar;
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

/// Four f32 lanes. Every method is one instruction where the instruction set has it.
pub trait Simd: Copy + Send + Sync + 'static {
    /// Four f32 lanes in a register.
    type F32: Copy;
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
}
