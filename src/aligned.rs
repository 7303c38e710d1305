//! Memory that vectors of 16 bytes are loaded from: maps, scratch and packed weights.

use bytemuck::Pod;
use std::collections::TryReserveError;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

const _: () = assert!(align_of::<u128>() == 16, "blocks lie at multiples of 16 bytes");

/// A slice from a multiple of 16 bytes on.
///
/// The browser's allocator gives multiples of 8, and from an odd one every fourth vector lies across two lines of the cache: where chance had it so,
/// LR-ASPP took 2 % longer in int8 and 1 % in f32, in Chromium on Intel (November 2026). Multiples of 64 or 4096 gain no more.
#[derive(Debug)]
pub struct Aligned<T> {
    blocks: Box<[u128]>,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Aligned<T> {
        Self::of(vec![0; Self::blocks(len)], len)
    }

    /// As [`Aligned::zeros`].
    ///
    /// # Errors
    /// There is no memory.
    #[inline(never)]
    pub fn try_zeros(len: usize) -> Result<Aligned<T>, TryReserveError> {
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(Self::blocks(len))?;
        blocks.resize(Self::blocks(len), 0);
        Ok(Self::of(blocks, len))
    }

    fn of(blocks: Vec<u128>, len: usize) -> Aligned<T> {
        Aligned { blocks: blocks.into(), len, of: PhantomData }
    }

    /// Blocks of `len` elements; more than there can be where their bytes are more than there can be.
    fn blocks(len: usize) -> usize {
        len.saturating_mul(size_of::<T>()).div_ceil(size_of::<u128>())
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Aligned { blocks: Box::default(), len: 0, of: PhantomData }
    }
}

impl<T: Pod> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.blocks)[..self.len]
    }
}

impl<T: Pod> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.blocks)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Pod + PartialEq + std::fmt::Debug>(one: T) {
        for len in [0, 1, 3, 4, 15, 16, 17, 1000] {
            let tried = Aligned::<T>::try_zeros(len).unwrap();
            for mut slice in [Aligned::<T>::zeros(len), tried] {
                assert_eq!(slice[..], vec![T::zeroed(); len]);
                assert_eq!(slice.as_ptr().addr() % 16, 0, "{len} elements");
                slice.fill(one);
                assert_eq!(slice[..], vec![one; len]);
            }
        }
    }

    #[test]
    fn slices_are_zeros_from_a_multiple_of_16_bytes_on() {
        check(7_u8);
        check(-7_i16);
        check(0.5_f32);
        check([0.5_f32; 16]);
        assert!(Aligned::<f32>::default().is_empty());
    }

    #[test]
    fn too_much_is_an_error() {
        for len in [usize::MAX, usize::MAX / 2, usize::MAX / 4 + 2] {
            assert!(Aligned::<f32>::try_zeros(len).is_err(), "{len} floats");
        }
    }
}
