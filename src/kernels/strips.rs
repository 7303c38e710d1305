//! A picture in strips of rows: it may lie outside the engine's memory, and be large. The caller's thread, which alone may see it, reads the next
//! strip while the others work at the last.

use crate::parallel;
use bytemuck::Pod;

/// Bytes of a strip: so few that they are in a core's cache still when they are worked at. A photograph of 12 million pixels is copied in 2.0 ms then, with
/// 2^20 in 2.6, and as a whole in 7.7 (Chromium 156 on Intel, November 2026).
const STRIP: usize = 1 << 18;

/// Rows of a strip of a picture of `width` columns, of `all` that are read: at most a quarter, since nobody has anything to work at before the first strip is
/// there, but two, which is what one row of output may need. They are even.
pub(super) fn strip_rows(width: usize, all: usize) -> usize {
    (STRIP / (4 * width)).min(all / 4).next_multiple_of(2).max(2)
}

/// Two strips, one of which is read.
pub(super) struct Strips<'a> {
    now: &'a mut [u8],
    next: &'a mut [u8],
}

impl<'a> Strips<'a> {
    /// Numbers of room for strips of `pixels`.
    pub fn room(pixels: usize) -> usize {
        2 * pixels.next_multiple_of(2) + 1
    }

    /// The strips in `room`, both at a multiple of eight bytes. A browser copies into memory that threads share by words of eight bytes where both
    /// sides begin at one, elsewhere byte by byte, which takes four times as long: who reads begins at even rows.
    pub fn new<T: Pod>(room: &'a mut [T]) -> Strips<'a> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(room);
        let skipped = bytes.as_ptr().addr().wrapping_neg() % 8;
        let bytes = &mut bytes[skipped..];
        let (now, next) = bytes.split_at_mut(bytes.len() / 16 * 8);
        Strips { now, next }
    }

    /// Has `read` fill the first strip.
    pub fn read(&mut self, read: impl FnOnce(&mut [u8])) {
        read(self.now);
    }

    /// Calls `f(strip, 0), …, f(strip, tasks - 1)`, each of `cost`, and has `read` fill the strip of the next call.
    pub fn for_each(
        &mut self,
        tasks: usize,
        cost: usize,
        mut read: impl FnMut(&mut [u8]),
        f: impl Fn(&[u8], usize) + Sync,
    ) {
        let (now, next) = (&*self.now, &mut *self.next);
        parallel::for_each_beside(&mut || read(next), tasks, cost, |i| f(now, i));
        std::mem::swap(&mut self.now, &mut self.next);
    }
}
