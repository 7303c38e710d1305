//! Linear layers, and 1x1 convolutions without halos, by a step of Strassen's algorithm in Winograd's form: 7 products of half the pixels, input and
//! output channels in place of 8, for 15 sums (Strassen 1969; Knuth, The Art of Computer Programming, volume 2, section 4.6.4).
//!
//! ```text
//! for chunk of pairs of pixels, i of the first and of the second half
//!     for pass of at most KC steps of each half of the sum
//!         s1 = a21 + a22, s2 = s1 - a11, s3 = a11 - a21, s4 = a12 - s2
//!         for two panels                                                   (a task)
//!             t1 = b12 - b11, t2 = b22 - t1, t3 = b22 - b12, t4 = b21 - t2
//!             for line of LINES
//!                 for tile of mr pairs: a panel of x, y or c
//! ```
//! The halves of the output channels are the even and the odd panels. Biases are a row of b, and t1 has what b12's are more than b11's; after the first
//! pass, c's partial sums stand for them. The last pixel of an odd number is [`super::conv_f32`]'s.
//!
//! The sums are rounded otherwise than [`super::conv_f32`]'s, so a layer whose bits must not depend on the build stays with that one. Which pixels
//! make a pair depends on their number alone: results are the same at any number of threads.

use super::activation::activate;
use super::conv_f32::{Conv, Tap, conv_f32};
use super::pack_f32::NR;
use super::strassen_lines::{LINES, Line, Of, Quarter, X, Y};
use super::tile_f32::{steps, store, tile_sizes, with_rows};
use super::{Activation, Pixels, Shared};
use crate::parallel;
use crate::simd::Simd;
use std::ops::Range;

/// Steps of a pass. With half as many, Faster R-CNN's box head takes 4 % longer in Chromium on Zen 4 (November 2026).
const KC: usize = 512;
/// Most pairs of pixels of a chunk: s of more would leave the second-level cache, and each chunk makes t anew.
const CHUNK_PAIRS: usize = 128;
/// Fewest output channels. With fewer, s costs one thread half of the gain, and more threads have too few tasks: LR-ASPP, whose projections have 160,
/// takes 2 % less on one thread so, but 3 % more on two.
const LEAST_CHANNELS: usize = 512;
/// Fewest input channels: halves of fewer steps end too soon. LR-ASPP's last expansion, of 160, takes as long so on one thread and 8 % longer on two
/// (Chromium on Intel, November 2026).
const LEAST_STEPS: usize = 256;
/// s1 to s4, t1 to t4.
const SUMS: usize = 4;
/// Floats of a vector.
const LANES: usize = 4;

/// How a layer is cut.
struct Parts {
    chunks: usize,
    passes: usize,
    /// The most pairs of a chunk and steps of a pass.
    pairs: usize,
    steps: usize,
}

impl Parts {
    fn of(pairs: usize, k: usize) -> Parts {
        let (chunks, passes) = (pairs.div_ceil(CHUNK_PAIRS), (k / 2).div_ceil(KC));
        Parts { chunks, passes, pairs: pairs.div_ceil(chunks), steps: LANES * (k / 2 / LANES).div_ceil(passes) }
    }

    /// Floats of s.
    fn sums(&self) -> usize {
        SUMS * self.pairs * self.steps
    }

    /// Floats of x, y and t.
    fn room(&self) -> usize {
        2 * self.pairs * NR + SUMS * (self.steps + 1) * NR
    }
}

/// Floats of scratch for `conv`; none where it is no layer that takes less time so. An eighth of the multiplications is spared; a value of a or b costs
/// what an eighth of 26 of them does, one of c of 77.
pub fn scratch(conv: &Conv) -> usize {
    let (m, k, n) = (conv.size.0 * conv.size.1, conv.k, conv.n);
    let is_linear = matches!(conv.taps, [Tap { a: 0, .. }]) && conv.segment == k && conv.residual.is_none();
    let halves = k.is_multiple_of(2 * LANES) && n.is_multiple_of(2 * NR);
    let pays = |[m, k, n]: [u64; 3]| 26 * k * (m + n) + 77 * m * n < m * k * n;
    if is_linear
        && conv.a.1.is_dense(conv.size.1, k)
        && conv.c.1.is_dense(conv.size.1, n)
        && halves
        && n >= LEAST_CHANNELS
        && k >= LEAST_STEPS
        && pays([m, k, n].map(|x| x as u64))
    {
        let parts = Parts::of(m / 2, k);
        return parts.sums() + parallel::threads() * parts.room();
    }
    0
}

/// Runs `conv` with the words of `S`, in as many floats of scratch as [`scratch`] says.
///
/// # Panics
/// When a slice is too short for the pixels that it is said to hold, or `conv` is not for this kernel.
pub fn strassen_f32<S: Simd>(conv: Conv, room: &mut [f32]) {
    let (m, k, n) = (conv.size.0 * conv.size.1, conv.k, conv.n);
    assert!(!room.is_empty() && room.len() == scratch(&conv), "scratch as asked for");
    let (a, b) = (&conv.a.0[conv.a.1.start..], conv.b);
    let c = &mut conv.c.0[conv.c.1.start..];
    assert!(m * k <= a.len(), "a is too short");
    assert!(m * n <= c.len(), "c is too short");
    assert!(b.len() == n * (k + 1), "b holds all panels");

    let (half, last) = (m / 2, m - 1);
    if m % 2 == 1 {
        let one = |pixel| Pixels { start: last * pixel, row: 0, pixel };
        conv_f32::<S>(Conv { size: (1, 1), a: (a, one(k)), c: (&mut *c, one(n)), ..conv });
    }
    let layer = Layer { half, a, b, k, n, activation: conv.activation, c: Shared(c.as_mut_ptr()) };
    let parts = Parts::of(half, k);
    let (sums, room) = room.split_at_mut(parts.sums());
    for (chunk, pass) in (0..parts.chunks).flat_map(|chunk| (0..parts.passes).map(move |pass| (chunk, pass))) {
        let vectors = parallel::part(k / 2 / LANES, parts.passes, pass);
        let pairs = parallel::part(half, parts.chunks, chunk);
        let part = Part { pairs, steps: LANES * vectors.start..LANES * vectors.end };
        let s = &mut sums[..part.pairs.len() * part.pitch()];
        parallel::for_each_chunk(s, part.pitch(), part.pitch() * parallel::ELEMENT, |i, s| {
            // SAFETY: the asserts above cover every pair.
            unsafe { layer.sum_pair::<S>(part.pairs.start + i, &part.steps, s.as_mut_ptr()) };
        });
        let cost = part.pairs.len() * part.pitch() * 2 * NR;
        parallel::for_each_with(n / (2 * NR), cost, room, |panels, room| {
            // SAFETY: as above; tasks differ in panels.
            unsafe { layer.two_panels::<S>(panels, &part, sums.as_ptr(), room.as_mut_ptr()) };
        });
    }
}

/// A layer of m or m - 1 pixels of k channels, whose output has n.
struct Layer<'a> {
    /// Pairs.
    half: usize,
    a: &'a [f32],
    b: &'a [f32],
    k: usize,
    n: usize,
    activation: Activation,
    c: Shared,
}

/// Some pairs of pixels, and some steps of each half of their sums.
struct Part {
    pairs: Range<usize>,
    steps: Range<usize>,
}

impl Part {
    /// Floats of s of a pair.
    fn pitch(&self) -> usize {
        SUMS * self.steps.len()
    }
}

/// Where a quarter's rows lie, one for each pair: the first, and floats from one to the next. What all pairs share, as panels and biases, is one row.
#[derive(Clone, Copy)]
struct Rows {
    at: *mut f32,
    pitch: usize,
}

impl Rows {
    #[inline(always)]
    fn row(self, i: usize) -> *mut f32 {
        self.at.wrapping_add(i * self.pitch)
    }
}

/// A line of two panels: what is where.
struct Task {
    start: Rows,
    products: [(Rows, *const f32, usize); 2],
    /// x, where it is written.
    save: Option<Rows>,
    add: [Option<Rows>; 2],
    activation: Activation,
    to: Rows,
}

impl Task {
    /// Does it for `tiles` of `len` pairs, R or fewer, from `first` on. Never inlined, as conv_f32's tiles.
    ///
    /// # Safety
    /// All rows must be there to read, those of x, y and c to write, and nobody else may write these.
    #[inline(never)]
    unsafe fn run<S: Simd, const R: usize>(&self, tiles: usize, mut first: usize, len: usize) {
        for _ in 0..tiles {
            // Fewer pairs than R: the last one again.
            let at = |rows: Rows, i: usize| rows.row(first + i.min(len - 1));
            // SAFETY: the caller's.
            unsafe {
                let load = |rows, i| [S::load(at(rows, i)), S::load(at(rows, i).add(4))];
                let mut acc: [[S::F32; 2]; R] = std::array::from_fn(|i| load(self.start, i));
                for (j, (a, b, count)) in self.products.iter().enumerate() {
                    if j == 1 {
                        if let Some(x) = self.save {
                            (0..R).for_each(|i| store::<S>(acc[i], at(x, i), None));
                        }
                        for rows in self.add.into_iter().flatten() {
                            acc = std::array::from_fn(|i| {
                                let row = load(rows, i);
                                [S::add(acc[i][0], row[0]), S::add(acc[i][1], row[1])]
                            });
                        }
                    }
                    let start: [*const f32; R] = std::array::from_fn(|i| at(*a, i).cast_const());
                    acc = steps::<S, R>(acc, std::hint::black_box(start), *b, *count);
                }
                acc = activate::<S, _, R>(self.activation, acc);
                (0..R).for_each(|i| store::<S>(acc[i], at(self.to, i), None));
            }
            first += len;
        }
    }
}

impl Layer<'_> {
    /// s of a pair of pixels, [4, steps].
    ///
    /// # Safety
    /// The pair and the steps must be of a, and `to` have room for the sums.
    unsafe fn sum_pair<S: Simd>(&self, pair: usize, steps: &Range<usize>, to: *mut f32) {
        let (below, right) = (self.half * self.k, self.k / 2);
        let a11 = self.a.as_ptr().wrapping_add(pair * self.k + steps.start);
        let a = [0, right, below, below + right].map(|quarter| a11.wrapping_add(quarter));
        // SAFETY: the caller's.
        unsafe {
            sums::<S>(a, (to, steps.len()), steps.len(), |[a11, a12, a21, a22]| {
                let s1 = S::add(a21, a22);
                let s2 = S::sub(s1, a11);
                [s1, s2, S::sub(a11, a21), S::sub(a12, s2)]
            });
        }
    }

    /// t of two panels, [4, biases and steps, NR].
    ///
    /// # Safety
    /// The panels and steps must be of b, and `to` have room for the sums.
    unsafe fn sum_panels<S: Simd>(&self, b: *const f32, steps: &Range<usize>, to: *mut f32) {
        let (below, right) = (self.k / 2 * NR, (self.k + 1) * NR);
        let biases_and_steps = [(0, 0, NR), ((1 + steps.start) * NR, NR, steps.len() * NR)];
        // Not known to the compiler: it would write the loop of each.
        for (from, first, len) in std::hint::black_box(biases_and_steps) {
            let b = [0, right, below, below + right].map(|quarter| b.wrapping_add(from + quarter));
            // SAFETY: the caller's.
            unsafe {
                sums::<S>(b, (to.wrapping_add(first), (steps.len() + 1) * NR), len, |[b11, b12, b21, b22]| {
                    let t1 = S::sub(b12, b11);
                    let t2 = S::sub(b22, t1);
                    [t1, t2, S::sub(b22, b12), S::sub(b21, t2)]
                });
            }
        }
    }

    /// Two panels of a part.
    ///
    /// # Safety
    /// The part must be of the layer, `s` hold its pairs' sums, `room` what [`Parts::room`] says, and nobody else may write the panels of the pairs.
    unsafe fn two_panels<S: Simd>(&self, panels: usize, part: &Part, s: *const f32, room: *mut f32) {
        let count = part.pairs.len();
        let b = self.b.as_ptr().wrapping_add(panels * 2 * (self.k + 1) * NR);
        let t = room.wrapping_add(2 * count * NR);
        // SAFETY: the caller's.
        unsafe { self.sum_panels::<S>(b, &part.steps, t) };
        let places = Places { layer: self, part, b, t, s, xy: room, column: panels * 2 * NR };
        // Not known to the compiler: it would write out each line.
        for line in std::hint::black_box(&LINES[..]) {
            let task = places.task(line);
            let mut first = 0;
            for (tiles, rows) in tile_sizes(count, S::GEMM_ROWS) {
                // SAFETY: the caller's.
                unsafe { with_rows!(S, rows, R => task.run::<S, R>(tiles, first, rows)) };
                first += tiles * rows;
            }
        }
    }
}

/// Where all is that two panels of a part are made of.
struct Places<'a> {
    layer: &'a Layer<'a>,
    part: &'a Part,
    b: *const f32,
    t: *const f32,
    s: *const f32,
    xy: *mut f32,
    /// The first of c's.
    column: usize,
}

impl Places<'_> {
    fn task(&self, line: &Line) -> Task {
        let (steps, to, is_c) = (&self.part.steps, self.rows(line.to), line.to.0 == Of::C);
        let product = |[a, b]: [Quarter; 2]| (self.rows(a), self.rows(b).at.cast_const(), steps.len());
        Task {
            start: self.rows(line.start),
            products: line.products.map(|factors| factors.map_or((to, std::ptr::null(), 0), product)),
            save: line.products[0].map(|_| self.rows(X)),
            add: [line.adds_y.then(|| self.rows(Y)), (is_c && steps.start > 0).then_some(to)],
            activation: if is_c && steps.end == self.layer.k / 2 {
                self.layer.activation
            } else {
                Activation::Identity
            },
            to,
        }
    }

    #[inline(never)]
    fn rows(&self, (of, i, j): Quarter) -> Rows {
        let (Layer { half, a, k, n, c, .. }, Part { pairs, steps }) = (self.layer, self.part);
        let biases = |of_first| if steps.start == 0 { of_first } else { NOTHING.as_ptr() };
        // The first quarter, floats to the next below and to the right, and from row to row.
        let (at, below, right, pitch) = match of {
            Of::A => (a.as_ptr().wrapping_add(pairs.start * k + steps.start), half * k, k / 2, *k),
            Of::S => (self.s, steps.len(), 0, self.part.pitch()),
            Of::B => (self.b.wrapping_add((1 + steps.start) * NR), k / 2 * NR, (k + 1) * NR, 0),
            Of::T => (self.t.wrapping_add(NR), (steps.len() + 1) * NR, 0, 0),
            Of::X => (self.xy.cast_const(), pairs.len() * NR, 0, NR),
            Of::C => (c.get().wrapping_add(pairs.start * n + self.column).cast_const(), half * n, NR, *n),
            Of::BiasesOfB => (biases(self.b), 0, 0, 0),
            Of::BiasesOfT => (biases(self.t), 0, 0, 0),
        };
        Rows { at: at.wrapping_add(i * below + j * right).cast_mut(), pitch }
    }
}

/// What the sums of a later pass begin with.
static NOTHING: [f32; NR] = [0.0; NR];

/// `to` and the others that follow it at `pitch` = f(from), vector by vector.
///
/// # Safety
/// All must hold `len` floats, which come in fours.
#[inline(always)]
unsafe fn sums<S: Simd>(
    from: [*const f32; 4],
    (to, pitch): (*mut f32, usize),
    len: usize,
    f: impl Fn([S::F32; 4]) -> [S::F32; 4],
) {
    for i in (0..len).step_by(LANES) {
        // SAFETY: the caller's.
        unsafe {
            let values = f(from.map(|p| S::load(p.add(i))));
            values.into_iter().enumerate().for_each(|(j, v)| S::store(to.add(j * pitch + i), v));
        }
    }
}
