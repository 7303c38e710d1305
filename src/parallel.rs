//! Work shared between threads; the only file that names rayon.
//!
//! The caller is a thread like those of the pool: it wakes them, takes tasks itself, and waits for the last ones. A region too small to wake
//! anyone for stays in the caller. The split into tasks never depends on the number of threads, so results do not either.
//!
//! Callers say what a task costs, in multiply-accumulates of the f32 GEMM; [`DEPTHWISE`] and [`ELEMENT`] turn other work into them.

#[cfg(feature = "threads")]
use std::{cell::Cell, sync::Mutex};

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
/// How often a thread of the pool looks for the next region before it sleeps: some 0.1 ms, in which most regions of a run follow each other.
#[cfg(feature = "threads")]
const LOOKS: usize = 2000;

/// The threads that a region is shared between: the caller's and the pool's.
pub fn threads() -> usize {
    #[cfg(feature = "threads")]
    return rayon::current_num_threads() + usize::from(rayon::current_thread_index().is_none());
    #[cfg(not(feature = "threads"))]
    1
}

/// Calls `f(0), …, f(tasks - 1)`, each of `cost`, in any order where it is shared.
pub fn for_each(tasks: usize, cost: usize, f: impl Fn(usize) + Sync) {
    share(0..tasks, cost, std::iter::repeat(()), |(), task| f(task));
}

/// As [`for_each`], with `scratch` cut into an equal part for each of [`threads`], which a task may use as it likes.
pub fn for_each_with<T: Send>(tasks: usize, cost: usize, scratch: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
    let part = scratch.len() / threads();
    share(0..tasks, cost, scratch.chunks_exact_mut(part), |scratch, task| f(task, scratch));
}

/// Calls `f(i, chunk i)` for the chunks of `len` elements of `data`, the last of which may be shorter, as [`for_each`] does.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, cost: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let chunks = data.chunks_mut(len).enumerate();
    share(chunks, cost, std::iter::repeat(()), |(), (i, chunk)| f(i, chunk));
}

/// [`for_each_chunk`] of two slices at once, the chunks of `b` being `len_b` long; the last chunk of `a` may be shorter.
pub fn for_each_pair<A: Send, B: Send>(
    (a, len_a): (&mut [A], usize),
    (b, len_b): (&mut [B], usize),
    cost: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let pairs = a.chunks_mut(len_a).zip(b.chunks_exact_mut(len_b)).enumerate();
    share(pairs, cost, std::iter::repeat(()), |(), (i, (a, b))| f(i, a, b));
}

/// Calls `f` with each of `tasks` and what of `scratch` the thread has taken.
#[cfg(not(feature = "threads"))]
fn share<T, S>(tasks: impl Iterator<Item = T>, _: usize, mut scratch: impl Iterator<Item = S>, f: impl Fn(&mut S, T)) {
    if let Some(mut scratch) = scratch.next() {
        tasks.for_each(|task| f(&mut scratch, task));
    }
}

/// Calls `f` with each of `tasks` and what of `scratch` the thread has taken.
#[cfg(feature = "threads")]
fn share<T, S: Send>(
    tasks: impl ExactSizeIterator<Item = T> + Send,
    cost: usize,
    mut scratch: impl Iterator<Item = S>,
    f: impl Fn(&mut S, T) + Sync,
) {
    let count = tasks.len();
    let helpers = if count.saturating_mul(cost) < LEAST_COST { 0 } else { threads().min(count) - 1 };
    let tasks = Mutex::new(tasks);
    let claim = || tasks.lock().expect("no task is claimed by a panic").next();
    let work = |mut scratch: S| {
        while let Some(task) = claim() {
            f(&mut scratch, task);
        }
    };
    let Some(own) = scratch.next() else { return };
    if helpers == 0 {
        return work(own);
    }
    rayon::in_place_scope(|scope| {
        for scratch in scratch.take(helpers) {
            scope.spawn(|_| {
                work(scratch);
                stay_awake();
            });
        }
        work(own);
    });
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
