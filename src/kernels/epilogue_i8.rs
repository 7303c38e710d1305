//! [`Epilogue`] in vectors, shared by the int8 convolutions: sums -> activation -> residual -> bytes or floats.
//!
//! Multiplications and additions stay apart (no [`Simd::madd`]), as the specification has them. Saturating narrows clamp to
//! a byte for nothing. An output costs as much as dozens of multiplications, so what it needs is kept in registers: [`Finish`]
//! takes eight channels through many pixels.

use super::activation::literals;
use super::depthwise_f32::BLOCK;
use super::pack_i8::NR;
use super::pool_i8::sum_row;
use super::values_i8::{Output, Place, Values, reading, row_runs, writing};
use super::{Activation, Pixels, Shared};
use crate::quant::{Epilogue, LOWEST, ROUND};
use crate::simd::{Simd, TOPS};
use std::ops::Range;

/// Vectors that are the same for all channels.
#[derive(Clone, Copy)]
pub(super) struct Literals<S: Simd> {
    zero: S::F32,
    half: S::F32,
    one: S::F32,
    lowest: S::F32,
    round: S::I32,
    pub tops: S::I32,
}

impl<S: Simd> Literals<S> {
    #[inline(always)]
    pub(super) fn new() -> Self {
        let numbers = [0.0, 0.5, 1.0, LOWEST, ROUND + 128.0, f32::from_bits(TOPS as u32)];
        let [zero, half, one, lowest, round, tops] = literals::<S, 6>(numbers);
        Literals { zero, half, one, lowest, round: S::bits(round), tops: S::bits(tops) }
    }

    #[inline(always)]
    fn clamp_to_1(&self, v: S::F32) -> S::F32 {
        S::min(S::max(v, self.zero), self.one)
    }

    /// Rounds `t`, `POSITIVE` or any, to integers with the zero points of `round` (plus [`ROUND`]) added, and 128 taken off, as
    /// [`Simd::store_u8x8`] wants them; not yet clamped above.
    #[inline(always)]
    pub(super) fn quanta<const POSITIVE: bool>(&self, t: S::F32, round: S::F32) -> S::I32 {
        let t = if POSITIVE { t } else { S::max(t, self.lowest) };
        S::sub_i32(S::bits(S::add(t, round)), self.round)
    }
}

/// Sums of eight channels that outputs are made of, where they lie.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    /// Of the first pixel.
    pub data: *mut i32,
    /// From a pixel to the next.
    pub pitch: usize,
}

/// From a layer's sums to its outputs, in passes over eight channels of a few pixels that stay in the first-level cache.
///
/// Each pass is a loop of its own for each case, so that its constants stay in V8's 15 registers and no case is decided for
/// each pixel. With all cases in one loop a 1x1 layer from 16 to 64 channels at 160 x 160 took 2.50 ms in Chromium on Zen 3
/// (2026), so it takes 2.13.
#[derive(Clone, Copy)]
pub(super) struct Finish<'a> {
    /// The constants.
    pub epilogue: &'a Epilogue,
    /// Output channels.
    pub channels: usize,
    /// Added after the activation.
    pub residual: Option<Values<'a>>,
    /// Where to.
    pub output: Output,
}

impl Finish<'_> {
    /// Writes the channels `o..o + 8`, or those that there are, of the pixels at `places`; `o` is a multiple of eight.
    ///
    /// # Safety
    /// `sums` must hold eight sums for each place, and output and residual the channels at each place.
    #[inline(never)]
    pub(super) unsafe fn run<S: Simd>(&self, o: usize, sums: Sums, places: &[Place]) {
        // SAFETY: the caller's.
        unsafe { self.passes::<S>(o, sums, places, S::to_f32) };
    }

    /// [`Finish::run`] of sums that are floats already.
    ///
    /// # Safety
    /// As for [`Finish::run`].
    #[inline(never)]
    pub(super) unsafe fn run_floats<S: Simd>(&self, o: usize, sums: Sums, places: &[Place]) {
        // SAFETY: the caller's.
        unsafe { self.passes::<S>(o, sums, places, S::from_bits) };
    }

    /// One pass to bytes where nothing is added, else activations first.
    ///
    /// # Safety
    /// As for [`Finish::run`].
    #[inline(always)]
    unsafe fn passes<S: Simd>(&self, o: usize, sums: Sums, places: &[Place], read: impl Fn(S::I32) -> S::F32) {
        let e = self.epilogue;
        // SAFETY: the caller's; the constants come in eights.
        unsafe {
            match (self.residual, self.output) {
                (None, Output::U8(c)) if self.channels - o >= NR => {
                    let round = eight::<S>(&e.round, o);
                    activate::<S>(e, o, read, Bytes { sums, places, to: c.0.wrapping_add(o), round });
                }
                _ => {
                    activate::<S>(e, o, read, InPlace { sums, pixels: places.len() });
                    self.output::<S>(o, sums, places);
                }
            }
        }
    }

    /// The sums of the bytes of `channels` in row `y` of `width` pixels at `at`, just written and still near, into
    /// `sums` [h, channels], where they are wanted.
    ///
    /// # Safety
    /// The row must be written and lie in the output and the sums, and no other task may use these channels of it.
    pub(super) unsafe fn sum_row<S: Simd>(
        &self,
        (y, at, width): (usize, Pixels, usize),
        channels: Range<usize>,
        sums: Option<Shared<u32>>,
    ) {
        let (Some(sums), Output::U8(c)) = (sums, self.output) else { return };
        for ch in channels.step_by(8) {
            // SAFETY: the caller's.
            unsafe { sum_row::<S>(c.at(at.at(y, 0) + ch), at.pixel, width, sums.at(y * self.channels + ch)) };
        }
    }

    /// Activations to outputs.
    ///
    /// # Safety
    /// As for [`Finish::run`].
    #[inline(always)]
    unsafe fn output<S: Simd>(&self, o: usize, sums: Sums, places: &[Place]) {
        let width = 8.min(self.channels - o);
        // SAFETY: the caller's; the constants come in eights.
        unsafe {
            match self.residual {
                None => {}
                Some(Values::U8(r)) => self.add::<S>(o, sums, places, |at, zero| {
                    let wide = S::widen(reading(r.as_ptr().add(at + o), width, |r| S::load_u8x8(r)));
                    [0, 1].map(|j| S::to_f32(S::sub_i32(wide[j], zero[j])))
                }),
                Some(Values::F32(r)) => self.add::<S>(o, sums, places, |at, _| {
                    reading(r.as_ptr().add(at + o), width, |r| [S::load(r), S::load(r.add(4))])
                }),
            }
            self.write::<S>(o, width, sums, places);
        }
    }

    /// Adds what `residual` reads at a place, less zero points where they matter, to activations, in place.
    ///
    /// # Safety
    /// As for [`Finish::run`].
    #[inline(always)]
    unsafe fn add<S: Simd>(
        &self,
        o: usize,
        sums: Sums,
        places: &[Place],
        residual: impl Fn(usize, [S::I32; 2]) -> [S::F32; 2],
    ) {
        // SAFETY: the caller's; the constants come in eights.
        unsafe {
            let scale = eight::<S>(&self.epilogue.residual_scale, o);
            let zero = self.epilogue.residual_zero.as_ptr().add(o);
            let zero = [S::load_i32(zero), S::load_i32(zero.add(4))];
            let mut t = sums.data.cast::<f32>();
            for place in places {
                let r = residual(place.residual, zero);
                S::store(t, S::add(S::load(t), S::mul(r[0], scale[0])));
                S::store(t.add(4), S::add(S::load(t.add(4)), S::mul(r[1], scale[1])));
                t = t.add(sums.pitch);
            }
        }
    }

    /// Activations to bytes, or to floats as they are.
    ///
    /// # Safety
    /// As for [`Finish::run`].
    #[inline(always)]
    unsafe fn write<S: Simd>(&self, o: usize, width: usize, sums: Sums, places: &[Place]) {
        let mut t = sums.data.cast::<f32>();
        // SAFETY: the caller's; the constants come in eights.
        unsafe {
            match self.output {
                Output::U8(c) => {
                    let (l, round) = (Literals::<S>::new(), eight::<S>(&self.epilogue.round, o));
                    for place in places {
                        let quanta = [0, 1].map(|j| l.quanta::<false>(S::load(t.add(4 * j)), round[j]));
                        writing(c.0.add(place.output + o), width, |to| S::store_u8x8(to, quanta, l.tops));
                        t = t.add(sums.pitch);
                    }
                }
                Output::F32(c) => {
                    for place in places {
                        let v = [S::load(t), S::load(t.add(4))];
                        writing(c.0.add(place.output + o), width, |to| {
                            S::store(to, v[0]);
                            S::store(to.add(4), v[1]);
                        });
                        t = t.add(sums.pitch);
                    }
                }
            }
        }
    }
}

/// A map of floats to write to, [`BLOCK`] a pixel: where it begins, floats from a row to the next, and columns.
#[derive(Clone, Copy)]
pub(super) struct FloatMap {
    pub to: *mut f32,
    pub pitch: usize,
    pub width: usize,
}

/// Writes what the bytes of `pixels` would be, less the zero points, as floats to `map`. Without residual.
///
/// # Safety
/// `sums` must hold eight sums for each pixel, one pixel after the other, and the map have room for them; `o` is a multiple of eight of the
/// epilogue's channels.
#[inline(never)]
pub(super) unsafe fn above_zero<S: Simd>(
    epilogue: &Epilogue,
    o: usize,
    sums: *const i32,
    pixels: Range<usize>,
    map: FloatMap,
) {
    // SAFETY: the caller's; the constants come in eights.
    unsafe {
        let round = eight::<S>(&epilogue.round, o);
        let [bias, largest] = literals::<S, 2>([ROUND, 255.0]);
        let low = round.map(|round| S::sub(bias, round));
        let high = low.map(|low| S::add(largest, low));
        activate::<S>(epilogue, o, S::to_f32, AboveZero { sums, pixels, map, round, low, high });
    }
}

/// What becomes of activations, in a loop over pixels.
trait Pass<S: Simd> {
    /// Runs it on what `activation` makes of a sum and of which half of the channels it is: never below zero where `POSITIVE`.
    ///
    /// # Safety
    /// The sums and what is written must be there.
    unsafe fn run<const POSITIVE: bool>(self, activation: impl Fn(S::I32, usize) -> S::F32);
}

/// Activations where the sums were.
struct InPlace {
    sums: Sums,
    pixels: usize,
}

impl<S: Simd> Pass<S> for InPlace {
    #[inline(always)]
    unsafe fn run<const POSITIVE: bool>(self, activation: impl Fn(S::I32, usize) -> S::F32) {
        // SAFETY: the caller's.
        unsafe { each::<S>(self.sums, self.pixels, activation) };
    }
}

/// [`above_zero`].
struct AboveZero<S: Simd> {
    sums: *const i32,
    pixels: Range<usize>,
    map: FloatMap,
    round: [S::F32; 2],
    low: [S::F32; 2],
    high: [S::F32; 2],
}

impl<S: Simd> Pass<S> for AboveZero<S> {
    #[inline(always)]
    unsafe fn run<const POSITIVE: bool>(self, activation: impl Fn(S::I32, usize) -> S::F32) {
        let AboveZero { mut sums, pixels, map, round, low, high } = self;
        // An activation of this size has no fraction bits; where it is larger or smaller the byte is clamped anyway.
        let quantised = |sum, j: usize| {
            let rounded = S::sub(S::add(activation(sum, j), round[j]), round[j]);
            S::min(if POSITIVE { rounded } else { S::max(rounded, low[j]) }, high[j])
        };
        row_runs(map.width, pixels, |_, (y, x), count| {
            let mut to = map.to.wrapping_add(y * map.pitch + x * BLOCK);
            for _ in 0..count {
                // SAFETY: the caller's.
                unsafe {
                    S::store(to, quantised(S::load_i32(sums), 0));
                    S::store(to.add(4), quantised(S::load_i32(sums.add(4)), 1));
                    sums = sums.add(NR);
                }
                to = to.wrapping_add(BLOCK);
            }
        });
    }
}

/// Bytes of eight channels at each place from `to` on.
struct Bytes<'a, S: Simd> {
    sums: Sums,
    places: &'a [Place],
    to: *mut u8,
    round: [S::F32; 2],
}

impl<S: Simd> Pass<S> for Bytes<'_, S> {
    #[inline(always)]
    unsafe fn run<const POSITIVE: bool>(self, activation: impl Fn(S::I32, usize) -> S::F32) {
        let (l, mut p) = (Literals::<S>::new(), self.sums.data);
        let quanta = |sum, j: usize| l.quanta::<POSITIVE>(activation(sum, j), self.round[j]);
        for place in self.places {
            // SAFETY: the caller's.
            unsafe {
                let both = [quanta(S::load_i32(p), 0), quanta(S::load_i32(p.add(4)), 1)];
                S::store_u8x8(self.to.add(place.output), both, l.tops);
                p = p.add(self.sums.pitch);
            }
        }
    }
}

/// Runs `pass` on the activations of sums, which `read` makes floats.
///
/// # Safety
/// As for the pass; `o` is a multiple of eight of the epilogue's channels.
#[inline(always)]
unsafe fn activate<S: Simd>(e: &Epilogue, o: usize, read: impl Fn(S::I32) -> S::F32, pass: impl Pass<S>) {
    let l = Literals::<S>::new();
    // SAFETY: the caller's; the constants come in eights.
    unsafe {
        let (multiplier, bias, gate) = (eight::<S>(&e.multiplier, o), eight::<S>(&e.bias, o), eight::<S>(&e.gate, o));
        let x = |sum, j: usize| S::add(S::mul(read(sum), multiplier[j]), bias[j]);
        match e.activation {
            Activation::Identity => pass.run::<false>(x),
            Activation::Relu => pass.run::<true>(|sum, j| S::max(x(sum, j), l.zero)),
            Activation::Relu6 => pass.run::<true>(|sum, j| S::min(S::max(x(sum, j), l.zero), gate[j])),
            Activation::Hardswish => pass.run::<false>(|sum, j| {
                let x = x(sum, j);
                S::mul(x, l.clamp_to_1(S::add(S::mul(x, gate[j]), l.half)))
            }),
        }
    }
}

/// The constants of eight channels.
///
/// # Safety
/// `o + 8` must be within the constants.
#[inline(always)]
unsafe fn eight<S: Simd>(constants: &[f32], o: usize) -> [S::F32; 2] {
    // SAFETY: the caller's.
    unsafe {
        let p = constants.as_ptr().add(o);
        [S::load(p), S::load(p.add(4))]
    }
}

/// Replaces the sums of `pixels` pixels by `f` of them and of which half of the channels they are.
///
/// # Safety
/// `sums` must hold eight sums for each pixel.
#[inline(always)]
unsafe fn each<S: Simd>(sums: Sums, pixels: usize, f: impl Fn(S::I32, usize) -> S::F32) {
    let mut p = sums.data;
    for _ in 0..pixels {
        // SAFETY: the caller's.
        unsafe {
            let t = [f(S::load_i32(p), 0), f(S::load_i32(p.add(4)), 1)];
            S::store(p.cast(), t[0]);
            S::store(p.add(4).cast(), t[1]);
            p = p.add(sums.pitch);
        }
    }
}
