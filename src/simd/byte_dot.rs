//! The dot of bytes: one instruction where the engine has it, whose meaning WebAssembly leaves to the CPU when a byte of
//! the second operand has its top bit set. A probe tells what it is, and whether int8 kernels can use it exactly.

use super::{Best, Simd};
use std::hint::black_box;

/// An instruction that adds to each i32 lane the dot of four signed bytes of `w` with four bytes of `a`.
pub trait ByteDot<S: Simd>: Send + Sync + 'static {
    /// acc[i] + sum over j < 4 of w[4i + j] * a[4i + j], as the CPU makes it.
    fn dot_add(w: S::Bytes, a: S::Bytes, acc: S::I32) -> S::I32;
}

/// For instruction sets without a dot of bytes: adds nothing, so that no probe chooses it.
#[derive(Clone, Copy)]
pub struct NoByteDot;

impl<S: Simd> ByteDot<S> for NoByteDot {
    #[inline(always)]
    fn dot_add(_: S::Bytes, _: S::Bytes, acc: S::I32) -> S::I32 {
        acc
    }
}

/// How an int8 GEMM multiplies; the choice changes its speed and never an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DotKind {
    /// Pairs of i16: exact on every CPU.
    I16,
    /// Four bytes, the activations unsigned and nothing saturated (x86 with VNNI).
    I8Unsigned,
    /// Four bytes, the activations signed (Arm, x86 with VNNI-INT8): they go in less 128.
    I8Signed,
}

impl DotKind {
    /// The fastest exact way of this engine, with the best words of this build.
    pub fn of_engine() -> DotKind {
        DotKind::probe::<Best, <Best as Simd>::Dot>()
    }

    /// As `info()` names it.
    pub fn name(self) -> &'static str {
        if self == DotKind::I16 { "dot-i16" } else { "dot-i8" }
    }

    /// The fastest exact way that `D` allows: sixteen weights of 127 with sixteen activations of 255 tell.
    ///
    /// 4 * 127 * 255 is exact and unsigned; 4 * 127 * -1 took 255 for a signed byte; older x86 saturates pairs at 32767.
    pub fn probe<S: Simd, D: ByteDot<S>>() -> DotKind {
        let (w, a) = (black_box([127u8; 16]), black_box([255u8; 16]));
        let mut lanes = [0i32; 4];
        // SAFETY: the arrays hold what is read and written.
        unsafe {
            let dot = D::dot_add(S::load_bytes(w.as_ptr()), S::load_bytes(a.as_ptr()), S::splat_i32(0));
            S::store_i32(lanes.as_mut_ptr(), dot);
        }
        match lanes {
            [129_540, 129_540, 129_540, 129_540] => DotKind::I8Unsigned,
            [-508, -508, -508, -508] => DotKind::I8Signed,
            _ => DotKind::I16,
        }
    }
}
