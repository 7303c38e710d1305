//! Work shared between threads; the only file that names rayon.
//!
//! The caller is a thread like those of the pool: it wakes them, takes tasks itself, and waits for the last ones. A region too small to wake
//! anyone for stays in the caller. The split into tasks never depends on the number of threads, so results do not either.
//!
//! Callers say what a task costs, in multiply-accumulates of the f32 GEMM; [`DEPTHWISE`] and [`ELEMENT`] turn other work into them.

#[cfg(feature = "threads")]
use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A multiply-accumulate of a depthwise filter, which loads more for each.
pub const DEPTHWISE: usize = 4;
/// An element that is read, changed and written.
pub const ELEMENT: usize = 16;
/// A multiply-accumulate whose weight comes from memory for it alone.
pub const STREAMED: usize = 5;

/// The least cost of a region that is shared, 40 us on one core. Of MobileNetV3-Large in Chromium on Zen 3 (2026), 23.7 ms on one thread, two
/// threads take 13.3 ms with any least cost from 2^16 to 2^20, and 14.9 with 2^22.
#[cfg(feature = "threads")]
const LEAST_COST: usize = 1 << 20;
/// What a thread claims at once of small tasks, 10 us: two threads that claimed each task of 1 us alone waited for each other, and were as slow as one.
#[cfg(feature = "threads")]
const CLAIM_COST: usize = 1 << 18;
/// The most tasks of a claim; fewer near the end of a region.
#[cfg(feature = "threads")]
const MOST_CLAIMED: usize = 16;
/// How often a thread of the pool looks for the next region before it sleeps: some 0.1 ms, in which most regions of a run follow each other.
#[cfg(feature = "threads")]
const LOOKS: usize = 2000;
/// How often the caller looks whether its helpers are done before it sleeps.
#[cfg(feature = "threads")]
const SPINS: usize = 20_000;
#[cfg(feature = "threads")]
const LAST_SPINS: usize = 200;

/// The threads that a region is shared between: the caller's and the pool's.
pub fn threads() -> usize {
    #[cfg(feature = "threads")]
    return rayon::current_num_threads() + usize::from(rayon::current_thread_index().is_none());
    #[cfg(not(feature = "threads"))]
    1
}

/// Calls `f(0), …, f(tasks - 1)`, each of `cost`, in any order where it is shared.
pub fn for_each(tasks: usize, cost: usize, f: impl Fn(usize) + Sync) {
    share(tasks, cost, &|_, task| f(task));
}

/// As [`for_each`], with `scratch` cut into an equal part for each of [`threads`], which a task may use as it likes.
pub fn for_each_with<T: Send>(tasks: usize, cost: usize, scratch: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
    let part = scratch.len() / threads();
    let scratch = Pieces::of(scratch);
    // SAFETY: a thread does one task after the other, and each thread has a part of its own.
    share(tasks, cost, &|thread, task| f(task, unsafe { scratch.piece(thread * part, part) }));
}

/// Calls `f(i, chunk i)` for the chunks of `len` elements of `data`, the last of which may be shorter, as [`for_each`] does.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, cost: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let data = Pieces::of(data);
    // SAFETY: each task has a chunk of its own.
    share(data.len.div_ceil(len), cost, &|_, i| f(i, unsafe { data.piece(i * len, len) }));
}

/// [`for_each_chunk`] of two slices at once, the chunks of `b` being `len_b` long; the last chunk of `a` may be shorter.
pub fn for_each_pair<A: Send, B: Send>(
    (a, len_a): (&mut [A], usize),
    (b, len_b): (&mut [B], usize),
    cost: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let (a, b) = (Pieces::of(a), Pieces::of(b));
    let count = a.len.div_ceil(len_a).min(b.len / len_b);
    // SAFETY: each task has a chunk of each of its own.
    share(count, cost, &|_, i| unsafe { f(i, a.piece(i * len_a, len_a), b.piece(i * len_b, len_b)) });
}

/// A slice that tasks take pieces of.
struct Pieces<T> {
    data: *mut T,
    len: usize,
}
// SAFETY: whoever takes a piece promises that it is the only one.
unsafe impl<T: Send> Sync for Pieces<T> {}

impl<T> Pieces<T> {
    fn of(slice: &mut [T]) -> Self {
        Pieces { data: slice.as_mut_ptr(), len: slice.len() }
    }

    /// `len` elements from `start` on, or those that there are.
    ///
    /// # Safety
    /// The slice must still be borrowed, and nobody else may have any of these elements.
    #[allow(clippy::mut_from_ref)]
    unsafe fn piece(&self, start: usize, len: usize) -> &mut [T] {
        let len = len.min(self.len - start);
        // SAFETY: within the slice; the rest is the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }
}

/// Calls `f(0, 0), …, f(0, count - 1)`.
#[cfg(not(feature = "threads"))]
#[inline(always)]
fn share(count: usize, _: usize, f: &(dyn Fn(usize, usize) + Sync)) {
    (0..count).for_each(|task| f(0, task));
}

/// Calls `f` with the number of a thread, the caller's being 0, and each of `count` tasks. One body for all regions: what hands work over is much code.
#[cfg(feature = "threads")]
fn share(count: usize, cost: usize, f: &(dyn Fn(usize, usize) + Sync)) {
    let threads = if count.saturating_mul(cost) < LEAST_COST { 1 } else { threads().min(count) };
    if threads == 1 {
        return (0..count).for_each(|task| f(0, task));
    }
    let most = (CLAIM_COST / cost.max(1)).clamp(1, MOST_CLAIMED);
    let next = AtomicUsize::new(0);
    let work = |thread| {
        let share = |from: usize| ((count - from) / (4 * threads)).clamp(1, most);
        let end = |from: usize| (from < count).then(|| from + share(from));
        while let Ok(from) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, end) {
            (from..from + share(from)).for_each(|task| f(thread, task));
        }
    };
    let busy = AtomicUsize::new(threads - 1);
    rayon::in_place_scope(|scope| {
        for thread in 1..threads {
            let (work, busy) = (&work, &busy);
            scope.spawn(move |_| {
                stay_awake();
                work(thread);
                busy.fetch_sub(1, Ordering::Release);
            });
        }
        work(0);
        await_helpers(&busy);
    });
}

/// Waits until no helper is busy, awake for a while: the scope's end would put the caller to sleep at once, and waking it takes longer than most
/// waits.
#[cfg(feature = "threads")]
fn await_helpers(busy: &AtomicUsize) {
    for _ in 0..SPINS {
        if busy.load(Ordering::Acquire) == 0 {
            // The helpers still have to tell the scope.
            (0..LAST_SPINS).for_each(|_| std::hint::spin_loop());
            return;
        }
        std::hint::spin_loop();
    }
}

/// Has this thread of the pool look for more work for a while, since waking one that sleeps takes 20 us.
#[cfg(feature = "threads")]
fn stay_awake() {
    thread_local!(static AWAKE: Cell<bool> = const { Cell::new(false) });
    if AWAKE.get() {
        return;
    }
    // A job of its own, so that the region ends without it; another thread may take it.
    rayon::spawn(|| {
        if AWAKE.replace(true) {
            return;
        }
        let mut looks = 0;
        while looks < LOOKS {
            looks = if rayon::yield_now() == Some(rayon::Yield::Executed) { 0 } else { looks + 1 };
        }
        AWAKE.set(false);
    });
}
