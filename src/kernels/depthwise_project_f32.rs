//! A depthwise layer and the 1x1 projection that reads it, where nothing lies between them: [`super::depthwise_f32`], then
//! [`super::conv_f32`] of it.
//!
//! ```text
//! for band of output rows      (a task)
//!     scratch = depthwise of the band
//!     c = projection of the scratch
//! ```
//! MobileNetV3's first block has maps of a quarter of the picture's pixels, the largest there are: the one between its layers is neither
//! written to memory nor read from there, and takes no room.

use super::conv_f32::{Conv, Tap, conv_f32_in_task};
use super::depthwise_f32::{Filter, Job};
use super::pack_f32::NR;
use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;

/// Floats of scratch that a band should take: they stay in the first-level cache.
const BAND: usize = 8 << 10;

/// The projection.
#[derive(Clone, Copy)]
pub struct Project<'a> {
    /// Panels, as [`super::pack_f32::PackedB`] lays them out.
    pub b: &'a [f32],
    /// Output channels.
    pub n: usize,
    /// Applied to the sum.
    pub activation: Activation,
    /// Added after the activation.
    pub residual: Option<(&'a [f32], Pixels)>,
}

/// What to compute.
pub struct DepthwiseProject<'a> {
    /// Output rows and columns.
    pub size: (usize, usize),
    /// The input and where the first tap of input pixel (y, x) lies.
    pub a: (&'a [f32], Pixels),
    /// The depthwise layer.
    pub filter: Filter<'a>,
    /// What reads it.
    pub project: Project<'a>,
    /// The output.
    pub c: (&'a mut [f32], Pixels),
}

/// Output rows of a band of `width` columns and `channels`.
fn band(width: usize, channels: usize) -> usize {
    (BAND / (width * channels).max(1)).max(1)
}

/// Floats of scratch, for all threads.
pub fn scratch(width: usize, channels: usize) -> usize {
    band(width, channels) * width * channels * parallel::threads()
}

/// Runs `x` with the words of `S`, in as many floats of scratch as [`scratch`] says.
///
/// # Panics
/// When a slice is too short, or channels, kernel and stride are not of the list.
pub fn depthwise_project_f32<S: Simd>(mut x: DepthwiseProject, room: &mut [f32]) {
    let ((h, w), filter, Project { b, n, activation, residual }) = (x.size, x.filter, x.project);
    let k = filter.check();
    if h == 0 || w == 0 {
        return;
    }
    let seen = |size: usize| (size - 1) * filter.stride + filter.reach() + 1;
    assert!(x.a.1.end(seen(h), seen(w), k) <= x.a.0.len(), "a is too short");
    assert!(x.c.1.end(h, w, n) <= x.c.0.len(), "c is too short");
    assert!(residual.is_none_or(|(r, at)| at.end(h, w, n) <= r.len()), "residual is too short");
    assert_eq!(b.len(), n.div_ceil(NR) * NR * (k + 1), "b holds all panels");
    assert_eq!(room.len(), scratch(w, k), "scratch for each thread");

    let (a, c) = (Shared(x.a.0.as_ptr().cast_mut()), Shared(std::mem::take(&mut x.c.0).as_mut_ptr()));
    let (at_a, at_c, height) = (x.a.1, x.c.1, band(w, k));
    let cost = height * w * k * (filter.kernel * filter.kernel * parallel::DEPTHWISE + n);
    parallel::for_each_with(h.div_ceil(height), cost, room, |task, scratch| {
        let rows = task * height..h.min((task + 1) * height);
        let between = Pixels { start: 0, row: w * k, pixel: k };
        // Row 0: before the scratch, which begins with the band's.
        let to = Shared(scratch.as_mut_ptr().wrapping_sub(between.at(rows.start, 0)));
        let job = Job { filter, width: w, a: (a.get(), at_a), c: (to, between), sums: None };
        // SAFETY: the asserts above cover every tap and output of every row; the scratch has room for the band; each task has rows of its own.
        unsafe { job.rows::<S>(rows.clone(), 0..k) };
        let conv = Conv {
            size: (rows.len(), w),
            a: (scratch, between),
            taps: &[Tap::default()],
            segment: k,
            b,
            k,
            n,
            activation,
            residual: residual.map(|(r, at)| (r, at.below(rows.start))),
            c: (&mut [], at_c.below(rows.start)),
        };
        // SAFETY: as above.
        unsafe { conv_f32_in_task::<S>(&conv, c) };
    });
}
