//! The first layer of every model, 3x3 at stride 2 of a picture's three channels: [`super::conv_f32`]'s sums and order for a kernel whose rows are nine
//! floats and whose pixels lie six apart.
//!
//! ```text
//! for row of output pixels      (a task)
//!     for panel of 8 columns
//!         for tile of mr pixels: acc = bias; for row of the kernel: nine steps; activation; store
//! ```
//! All distances within a tile are known when the loop is compiled, so that a step is loads, multiplications and additions only; sums of 27 steps are
//! too short for what conv_f32 does round them: of 320 x 320 x 3 it takes 0.63 ms, and this kernel 0.53, in Chromium on Intel (November 2026).

use super::Shared;
use super::activation::activate;
use super::conv_f32::Conv;
use super::pack_f32::NR;
use super::tile_f32::{step, store, with_rows};
use crate::parallel;
use crate::simd::Simd;

/// Rows of the kernel.
const ROWS: usize = 3;
/// Floats of a row of the kernel: three pixels of three channels.
const SEGMENT: usize = 9;
/// Floats from a pixel's first tap to the next pixel's.
const PIXEL: usize = 6;

/// Such a layer.
pub(super) struct Stem<'a> {
    conv: &'a Conv<'a>,
    /// The first tap of pixel (0, 0) in the input, and floats from a row of the kernel to the next.
    first: usize,
    below: usize,
}

impl<'a> Stem<'a> {
    /// `conv`, if it is one, of rows that fill a tile.
    pub(super) fn of<S: Simd>(conv: &'a Conv) -> Option<Self> {
        let [first, second, third] = *conv.taps else { return None };
        let below = second.a.wrapping_sub(first.a);
        let follows =
            [first.b, second.b, third.b] == [0, SEGMENT, 2 * SEGMENT] && third.a == second.a.wrapping_add(below);
        let is_stem = (conv.segment, conv.k, conv.a.1.pixel) == (SEGMENT, ROWS * SEGMENT, PIXEL) && follows;
        let is_whole = conv.size.1 >= S::GEMM_ROWS && conv.n.is_multiple_of(NR) && conv.residual.is_none();
        (is_stem && is_whole).then(|| Stem { conv, first: conv.a.1.start + first.a, below })
    }

    /// Runs it to `c`.
    ///
    /// # Safety
    /// The layer must be what [`super::conv_f32::conv_f32`] takes, but for its own c.
    pub(super) unsafe fn run<S: Simd>(&self, c: Shared) {
        let ((h, w), n) = (self.conv.size, self.conv.n);
        parallel::for_each(h, w * n * ROWS * SEGMENT, |y| {
            for column in (0..n).step_by(NR) {
                // SAFETY: the caller's; tasks differ in rows.
                unsafe { with_rows!(S, S::GEMM_ROWS, R => self.row::<S, R>(c, y, column)) };
            }
        });
    }

    /// A panel of row `y` of the output, from `column` on. The last tile ends where the row does and may begin in the one before it. Never inlined,
    /// as conv_f32's tiles.
    ///
    /// # Safety
    /// As for [`Stem::run`]; no other task may write the row.
    #[inline(never)]
    unsafe fn row<S: Simd, const R: usize>(&self, c: Shared, y: usize, column: usize) {
        let Conv { size: (_, w), a: (a, at_a), b, activation, c: (_, at_c), .. } = self.conv;
        let panel = b.as_ptr().wrapping_add(column * (ROWS * SEGMENT + 1));
        let (a, c) = (a.as_ptr().wrapping_add(self.first + y * at_a.row), c.0.wrapping_add(at_c.at(y, 0) + column));
        // Opaque, so that rows stay a loop: all 27 steps one after the other are more code and no faster.
        let rows = std::hint::black_box(ROWS);
        for x in (0..*w).step_by(R).map(|x| x.min(w - R)) {
            // SAFETY: the caller's: all taps and outputs of R pixels from x on are there, and b holds the panel.
            unsafe {
                let mut acc = [[S::load(panel), S::load(panel.add(4))]; R];
                let (mut a, mut b) = (a.wrapping_add(x * PIXEL), panel.add(NR));
                for _ in 0..rows {
                    for k in 0..SEGMENT {
                        let pixels = std::array::from_fn(|i| a.add(i * PIXEL + k));
                        acc = step::<S, R>(acc, pixels, b.add(k * NR));
                    }
                    (a, b) = (a.wrapping_add(self.below), b.wrapping_add(SEGMENT * NR));
                }
                let to = c.wrapping_add(x * at_c.pixel);
                for (i, row) in activate::<S, _, R>(*activation, acc).into_iter().enumerate() {
                    store::<S>(row, to.wrapping_add(i * at_c.pixel), None);
                }
            }
        }
    }
}
