//! Panels of a 1x1 convolution or linear layer whose input pixels follow each other in memory: [`super::conv_f32`]'s sums and order without its table
//! of where the pixels of each tile lie.
//!
//! ```text
//! for tile of mr pixels: acc = bias; for k: acc += a[., k] * b[k, .]; activation (+ residual); store
//! ```
//! MobileNetV3's first layers have 16 to 40 channels. What is round the loop over k, some 150 instructions with the table, took a third of the time of
//! a tile of 16 in Chromium on Intel (November 2026).

use super::activation::activate;
use super::conv_f32::{Conv, Tap};
use super::pack_f32::NR;
use super::tile_f32::{steps, store, store_part, tile_sizes, with_rows};
use super::{Activation, Pixels};
use crate::simd::Simd;

/// From a pixel of a map to the next, and how much farther it is from the last one of a row to the first of the next row, in floats.
#[derive(Clone, Copy)]
pub(super) struct Pitch {
    pub pixel: usize,
    pub gap: usize,
}

impl Pitch {
    /// Of rows of `width` pixels.
    fn of(at: Pixels, width: usize) -> Pitch {
        // Of a map of one row, `row` may be anything: there is no next one.
        Pitch { pixel: at.pixel, gap: at.row.wrapping_sub(width * at.pixel) }
    }
}

/// Some columns of a layer.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    /// Their biases and weights, as [`super::pack_f32::PackedB`] lays them out.
    pub b: *const f32,
    /// Input channels.
    pub k: usize,
    /// Output channels, [`NR`] or fewer.
    pub columns: usize,
    /// Applied to the sum.
    pub activation: Activation,
    /// Pixels of a row of the output and of the residual.
    pub width: usize,
    /// The output's.
    pub c: Pitch,
    /// The residual's.
    pub residual: Pitch,
}

/// A pixel: its input, its output and what is added to it, if that is not null; and how many are left of its row, itself among them.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub a: *const f32,
    pub c: *mut f32,
    pub residual: *const f32,
    pub left: usize,
}

/// The first panel of `conv` and pixel `first`, whose output begins `c`, where this is a layer for [`Panel::run`].
pub(super) fn pointwise(conv: &Conv, c: *mut f32, first: usize) -> Option<(Panel, Place)> {
    let ((h, w), k, at) = (conv.size, conv.k, conv.a.1);
    let [Tap { a: tap, b: 0 }] = *conv.taps else { return None };
    if conv.segment != k || !at.is_dense(w, k) {
        return None;
    }
    let (added, at_added) = conv.residual.map_or((std::ptr::null(), Pixels::NOWHERE), |(r, at)| (r.as_ptr(), at));
    let (y, x) = (first / w, first % w);
    let (to, from) = (Pitch::of(conv.c.1, w), Pitch::of(at_added, w));
    let (a, c) = (conv.a.0.as_ptr().wrapping_add(at.at(y, x) + tap), c.wrapping_add(conv.c.1.at(y, x)));
    // Without gaps all pixels are one row.
    let left = if (to.gap, from.gap) == (0, 0) { h * w - first } else { w - x };
    let place = Place { a, c, residual: added.wrapping_add(at_added.at(y, x)), left };
    let (b, activation) = (conv.b.as_ptr(), conv.activation);
    Some((Panel { b, k, columns: NR.min(conv.n), activation, width: w, c: to, residual: from }, place))
}

impl Panel {
    /// Panel `index` of a layer of `n` channels, of whose first panel this is, and its first pixel.
    pub(super) fn at(self, place: Place, index: usize, n: usize) -> (Panel, Place) {
        let first = index * NR;
        let residual = if place.residual.is_null() { place.residual } else { place.residual.wrapping_add(first) };
        let panel = Panel { b: self.b.wrapping_add(first * (self.k + 1)), columns: NR.min(n - first), ..self };
        (panel, Place { c: place.c.wrapping_add(first), residual, ..place })
    }

    /// The panel of `count` pixels from `place` on.
    ///
    /// # Safety
    /// The pixels must be there to read, with room for the panel's columns each, which nobody else may write, and `b` must hold a panel.
    pub(super) unsafe fn run<S: Simd>(&self, count: usize, mut place: Place) {
        for (tiles, rows) in tile_sizes(count, S::GEMM_ROWS).into_iter().filter(|(tiles, _)| *tiles > 0) {
            // SAFETY: the caller's.
            place = unsafe { with_rows!(S, rows, R => self.tiles::<S, R>(tiles, rows, place)) };
        }
    }

    /// `count` tiles of `rows` pixels, R or fewer; gives what comes after them. Never inlined, as conv_f32's.
    ///
    /// # Safety
    /// As for [`Panel::run`].
    #[inline(never)]
    unsafe fn tiles<S: Simd, const R: usize>(&self, count: usize, rows: usize, mut place: Place) -> Place {
        let panel = *self;
        let Panel { b, k, activation, .. } = panel;
        // SAFETY: the caller's.
        unsafe {
            for _ in 0..count {
                let start: [*const f32; R] = std::array::from_fn(|i| place.a.wrapping_add(i.min(rows - 1) * k));
                let acc = [[S::load(b), S::load(b.add(4))]; R];
                // LLVM would add what is between two pixels at every step.
                let acc = steps::<S, R>(acc, std::hint::black_box(start), b.add(NR), k);
                let acc = activate::<S, _, R>(activation, acc);
                place.a = place.a.wrapping_add(rows * k);
                place = panel.write::<S, R>(acc, rows, place);
            }
        }
        place
    }

    /// Writes a tile of `rows` pixels; gives what comes after them.
    ///
    /// # Safety
    /// As for [`Panel::run`].
    #[inline(always)]
    unsafe fn write<S: Simd, const R: usize>(self, mut acc: [[S::F32; 2]; R], rows: usize, mut at: Place) -> Place {
        let (adds, is_whole) = (!at.residual.is_null(), rows == R && self.columns == NR);
        // SAFETY: the caller's.
        unsafe {
            if is_whole && at.left > R {
                if adds {
                    for row in &mut acc {
                        *row = [S::add(row[0], S::load(at.residual)), S::add(row[1], S::load(at.residual.add(4)))];
                        at.residual = at.residual.wrapping_add(self.residual.pixel);
                    }
                }
                for row in acc {
                    store::<S>(row, at.c, None);
                    at.c = at.c.wrapping_add(self.c.pixel);
                }
                at.left -= R;
            } else if is_whole && !adds {
                for row in acc {
                    store::<S>(row, at.c, None);
                    at = self.next(at);
                }
            } else {
                // From memory: a loop of few instructions, for few tiles.
                for row in std::hint::black_box(&{ acc }).iter().take(rows) {
                    let added = adds.then_some(at.residual);
                    match self.columns {
                        NR => store::<S>(*row, at.c, added),
                        columns => store_part::<S>(*row, at.c, added, columns),
                    }
                    at = self.next(at);
                }
            }
        }
        at
    }

    /// The output and residual of the next pixel, in this row or the one below.
    #[inline(always)]
    fn next(&self, at: Place) -> Place {
        let (c, residual) = (at.c.wrapping_add(self.c.pixel), at.residual.wrapping_add(self.residual.pixel));
        match at.left {
            1 => Place {
                c: c.wrapping_add(self.c.gap),
                residual: residual.wrapping_add(self.residual.gap),
                left: self.width,
                ..at
            },
            left => Place { c, residual, left: left - 1, ..at },
        }
    }
}
