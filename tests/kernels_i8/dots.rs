//! The dots of bytes that CPUs have, in every instruction set of the build: whatever the CPU that runs the tests makes of its own, the
//! kernels run with each.

use mobilesight::simd::{ByteDot, Scalar};

/// x86 with VNNI.
pub struct Vnni;
/// Arm.
pub struct Sdot;
/// x86 without VNNI: pairs saturate in i16.
pub struct Pmaddubsw;

/// Products of a weight, signed, and an activation, as `a` reads it.
fn products(w: [u8; 16], a: [u8; 16], read: impl Fn(u8) -> i32) -> [i32; 16] {
    std::array::from_fn(|i| i32::from(w[i] as i8) * read(a[i]))
}

fn add_fours(p: [i32; 16], acc: [i32; 4]) -> [i32; 4] {
    std::array::from_fn(|i| acc[i] + p[4 * i..][..4].iter().sum::<i32>())
}

impl ByteDot<Scalar> for Vnni {
    fn dot_add(w: [u8; 16], a: [u8; 16], acc: [i32; 4]) -> [i32; 4] {
        add_fours(products(w, a, i32::from), acc)
    }
}

impl ByteDot<Scalar> for Sdot {
    fn dot_add(w: [u8; 16], a: [u8; 16], acc: [i32; 4]) -> [i32; 4] {
        add_fours(products(w, a, |a| i32::from(a as i8)), acc)
    }
}

impl ByteDot<Scalar> for Pmaddubsw {
    fn dot_add(w: [u8; 16], a: [u8; 16], acc: [i32; 4]) -> [i32; 4] {
        let p = products(w, a, i32::from);
        let pair = |i: usize| (p[2 * i] + p[2 * i + 1]).clamp(-32768, 32767);
        std::array::from_fn(|i| acc[i] + pair(2 * i) + pair(2 * i + 1))
    }
}

/// The same of WebAssembly's vectors, from sums of pairs in i32.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod vectors {
    use super::{Pmaddubsw, Sdot, Vnni};
    use core::arch::wasm32::*;
    #[cfg(target_feature = "relaxed-simd")]
    use mobilesight::simd::Relaxed;
    use mobilesight::simd::{ByteDot, Simd128};

    /// The sums of the lower and of the upper eight bytes' pairs, weights signed, activations as they are widened.
    fn pairs(w: v128, low: v128, high: v128) -> [v128; 2] {
        [i32x4_dot_i16x8(i16x8_extend_low_i8x16(w), low), i32x4_dot_i16x8(i16x8_extend_high_i8x16(w), high)]
    }

    fn unsigned_pairs(w: v128, a: v128) -> [v128; 2] {
        pairs(w, i16x8_extend_low_u8x16(a), i16x8_extend_high_u8x16(a))
    }

    fn add_pairs([low, high]: [v128; 2], acc: v128) -> v128 {
        let (even, odd) = (i32x4_shuffle::<0, 2, 4, 6>(low, high), i32x4_shuffle::<1, 3, 5, 7>(low, high));
        i32x4_add(acc, i32x4_add(even, odd))
    }

    fn vnni(w: v128, a: v128, acc: v128) -> v128 {
        add_pairs(unsigned_pairs(w, a), acc)
    }

    fn sdot(w: v128, a: v128, acc: v128) -> v128 {
        add_pairs(pairs(w, i16x8_extend_low_i8x16(a), i16x8_extend_high_i8x16(a)), acc)
    }

    fn pmaddubsw(w: v128, a: v128, acc: v128) -> v128 {
        let [low, high] = unsigned_pairs(w, a);
        i32x4_add(acc, i32x4_extadd_pairwise_i16x8(i16x8_narrow_i32x4(low, high)))
    }

    macro_rules! dots {
        ($isa:ident: $($cpu:ident $dot:ident),*) => {
            $(impl ByteDot<$isa> for $cpu {
                fn dot_add(w: v128, a: v128, acc: v128) -> v128 {
                    $dot(w, a, acc)
                }
            })*
        };
    }
    dots!(Simd128: Vnni vnni, Sdot sdot, Pmaddubsw pmaddubsw);
    #[cfg(target_feature = "relaxed-simd")]
    dots!(Relaxed: Vnni vnni, Sdot sdot, Pmaddubsw pmaddubsw);
}
