//! Bytes that may lie outside the engine's memory.

/// The bytes of a file or a picture, wherever they lie: in a browser they stay in JavaScript's memory, and are copied as they are read.
pub trait Source {
    /// Bytes in all.
    fn len(&self) -> usize;

    /// Whether there is no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `offset` on; the caller stays inside [`Source::len`].
    fn read(&self, offset: usize, into: &mut [u8]);
}

impl<T: AsRef<[u8]>> Source for T {
    fn len(&self) -> usize {
        self.as_ref().len()
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.as_ref()[offset..offset + into.len()]);
    }
}
