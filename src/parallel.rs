//! Work shared between threads; the only file that names rayon.
//!
//! The caller is a thread like those of the pool: it wakes them, takes tasks itself, and waits for the last ones. A region too small to wake
//! anyone for stays in the caller. Results never depend on the number of threads: where the split into tasks does, each
//! output is of one task alone.
//!
//! Callers say what a task costs, in multiply-accumulates of the f32 GEMM; [`DEPTHWISE`] and [`ELEMENT`] turn other work into them.

#[cfg(feature = "threads")]
use std::{
    cell::Cell,
    sync::atomic::{
        AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};
use std::{
    ops::Range,
    slice::ChunksMut,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A multiply-accumulate of a depthwise filter, which loads more for each.
pub const DEPTHWISE: usize = 4;
/// An element that is read, changed and written.
pub const ELEMENT: usize = 16;
/// A multiply-accumulate whose weight comes from memory for it alone.
pub const STREAMED: usize = 5;

/// The least cost of a region that is shared, 20 us on one core. With twice as much, gates and their products are of one thread: the fastest runs of LR-ASPP and
/// MobileNetV3-Large in int8 on two threads in Chromium on Zen 4 (November 2026) take 2 % and 3 % longer; with half as much, as long.
#[cfg(feature = "threads")]
const LEAST_COST: usize = 1 << 19;
/// What a thread claims at once of small tasks, 10 us: two threads that claimed each task of 1 us alone waited for each other, and were as slow as one.
#[cfg(feature = "threads")]
const CLAIM_COST: usize = 1 << 18;
/// The most tasks of a claim; fewer near the end of a section, of whose rest a thread takes its share.
#[cfg(feature = "threads")]
const MOST_CLAIMED: usize = 16;
/// The most sections of a region; more threads share them.
#[cfg(feature = "threads")]
const MOST_SECTIONS: usize = 16;
/// How often a thread of the pool looks for the next region before it sleeps: some 60 us, as long as what lies between two regions of a run.
/// Half of it puts it to sleep eight times in a run of LR-ASPP, and each time it comes back 20 to 30 us late.
#[cfg(feature = "threads")]
const LOOKS: usize = 4000;
/// How often the caller looks whether its helpers are done before it sleeps: some 35 us, by which they are with few exceptions. LR-ASPP on two threads,
/// 17.4 ms in Chromium on Zen 4 (November 2026) where the caller sleeps after 6 us, takes 16.8. Waits of 0.1 ms gain no more, and cost it
/// where both threads are on one core: a helper that shares the caller's waits as long.
#[cfg(feature = "threads")]
const SPINS: usize = 120_000;
#[cfg(feature = "threads")]
const LAST_SPINS: usize = 200;

/// The threads that a region is shared between: the caller's and the pool's.
pub fn threads() -> usize {
    #[cfg(feature = "threads")]
    return rayon::current_num_threads() + usize::from(rayon::current_thread_index().is_none());
    #[cfg(not(feature = "threads"))]
    1
}

/// Part `i` of `parts` of `0..len`, all as long as each other or one longer; no product leaves 32 bits below 65,536 parts.
pub fn part(len: usize, parts: usize, i: usize) -> Range<usize> {
    let start = |i: usize| len / parts * i + len % parts * i / parts;
    start(i)..start(i + 1)
}

/// Calls `f(0), …, f(tasks - 1)`, each of `cost`, in any order where it is shared.
pub fn for_each(tasks: usize, cost: usize, f: impl Fn(usize) + Sync) {
    share(tasks, cost, &|claims| {
        while let Some(claim) = claims.next() {
            claim.for_each(&f);
        }
    });
}

/// As [`for_each`]; the caller does `own` first, while the others begin with the tasks.
pub fn for_each_beside(own: &mut dyn FnMut(), tasks: usize, cost: usize, f: impl Fn(usize) + Sync) {
    share_beside(own, tasks, cost, &|claims| {
        while let Some(claim) = claims.next() {
            claim.for_each(&f);
        }
    });
}

/// As [`for_each`], with `scratch` cut into an equal part for each of [`threads`], which begins as zeros and which a task may use as it likes.
pub fn for_each_with<T: Copy + Default + Send>(
    tasks: usize,
    cost: usize,
    scratch: &mut [T],
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let part = scratch.len() / threads();
    let parts = Mutex::new(scratch.chunks_exact_mut(part));
    share(tasks, cost, &|claims| {
        let scratch = lock(&parts).next().expect("a part for each thread");
        scratch.fill(T::default());
        while let Some(claim) = claims.next() {
            claim.for_each(|task| f(task, scratch));
        }
    });
}

/// Calls `f(i, chunk i)` for the chunks of `len` elements of `data`, the last of which may be shorter, as [`for_each`] does.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, cost: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    for_each_chunk_beside(&mut || (), data, len, cost, f);
}

/// As [`for_each_chunk`]; the caller does `own` first, as in [`for_each_beside`].
pub fn for_each_chunk_beside<T: Send>(
    own: &mut dyn FnMut(),
    data: &mut [T],
    len: usize,
    cost: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let count = data.len().div_ceil(len);
    let rest = Mutex::new(Rest { taken: 0, data, len });
    share_beside(own, count, cost, &|claims| {
        while let Some(claim) = claims.next() {
            let (first, chunks) = lock(&rest).take(claim.len());
            chunks.enumerate().for_each(|(i, chunk)| f(first + i, chunk));
        }
    });
}

/// [`for_each_chunk_beside`] of two slices at once, the chunks of `b` being `len_b` long; the last chunk of `a` may be shorter.
pub fn for_each_pair_beside<A: Send, B: Send>(
    own: &mut dyn FnMut(),
    (a, len_a): (&mut [A], usize),
    (b, len_b): (&mut [B], usize),
    cost: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    let count = a.len().div_ceil(len_a).min(b.len() / len_b);
    let rest = Mutex::new((Rest { taken: 0, data: a, len: len_a }, Rest { taken: 0, data: b, len: len_b }));
    share_beside(own, count, cost, &|claims| {
        while let Some(claim) = claims.next() {
            let ((first, a), (_, b)) = {
                let mut rest = lock(&rest);
                (rest.0.take(claim.len()), rest.1.take(claim.len()))
            };
            a.zip(b).enumerate().for_each(|(i, (a, b))| f(first + i, a, b));
        }
    });
}

/// Nothing panics while it takes something of `x`, so there is no poison to look for.
fn lock<T>(x: &Mutex<T>) -> MutexGuard<'_, T> {
    x.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is left of a slice in chunks of `len` elements, of which the first `taken` are gone.
struct Rest<'a, T> {
    taken: usize,
    data: &'a mut [T],
    len: usize,
}

impl<'a, T> Rest<'a, T> {
    /// The next `count` chunks, and the number of the first.
    fn take(&mut self, count: usize) -> (usize, ChunksMut<'a, T>) {
        let data = std::mem::take(&mut self.data);
        let (chunks, rest) = data.split_at_mut((count * self.len).min(data.len()));
        self.data = rest;
        self.taken += count;
        (self.taken - count, chunks.chunks_mut(self.len))
    }
}

/// What a thread does in a region: it takes tasks, a claim of some at a time, until there are no more.
type Work<'a> = &'a (dyn Fn(&mut Claims) + Sync);

/// Where a thread takes its tasks from.
#[cfg(not(feature = "threads"))]
struct Claims(Option<Range<usize>>);

#[cfg(not(feature = "threads"))]
impl Claims {
    #[inline(always)]
    fn next(&mut self) -> Option<Range<usize>> {
        self.0.take()
    }
}

/// Where a thread takes its tasks from. One type and one `next` for all regions and threads, not a `dyn Iterator`: V8 inlines the `next` that it has seen
/// into the work, and goes back to its baseline code, until that is hot again, where a region or thread comes with another. It compiled the work
/// of single layers up to eight times in the first 0.6 s (Chromium 156).
#[cfg(feature = "threads")]
struct Claims<'a> {
    sections: &'a Sections,
    own: usize,
}

#[cfg(feature = "threads")]
impl Claims<'_> {
    #[inline(never)]
    fn next(&mut self) -> Option<Range<usize>> {
        self.sections.claim(self.own)
    }
}

/// [`share_beside`] nothing.
#[inline(always)]
fn share(count: usize, cost: usize, work: Work) {
    share_beside(&mut || (), count, cost, work);
}

/// Does `own`, and has `work` take the tasks `0..count`.
#[cfg(not(feature = "threads"))]
#[inline(always)]
fn share_beside(own: &mut dyn FnMut(), count: usize, _: usize, work: Work) {
    own();
    work(&mut Claims(Some(0..count)));
}

/// Has each thread that is worth it do `work` once, which takes the tasks `0..count` with the others, and the caller `own` before. One body for all
/// regions: what hands work over is much code.
#[cfg(feature = "threads")]
fn share_beside(own: &mut dyn FnMut(), count: usize, cost: usize, work: Work) {
    let threads = if count.saturating_mul(cost) < LEAST_COST { 1 } else { threads().min(count) };
    if threads == 1 {
        own();
        return work(&mut Claims { sections: &Sections::new(count, 1, count), own: 0 });
    }
    let most = (CLAIM_COST / cost.max(1)).clamp(1, MOST_CLAIMED);
    let sections = &Sections::new(count, threads.min(MOST_SECTIONS), most);
    let busy = AtomicUsize::new(threads - 1);
    rayon::in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| {
                stay_awake();
                let own = rayon::current_thread_index().map_or(0, |i| i + 1);
                work(&mut Claims { sections, own });
                busy.fetch_sub(1, Release);
            });
        }
        own();
        work(&mut Claims { sections, own: 0 });
        await_helpers(&busy);
    });
}

/// The tasks of a region that nobody has claimed, a section for each thread: who comes first to the same section in each region finds what it wrote
/// in its own cache, and two threads seldom write to the same cache line. Who has none left takes from the end of the others'.
#[cfg(feature = "threads")]
struct Sections {
    /// The first task of each, and, 32 bits higher, the one past the last.
    left: [AtomicU64; MOST_SECTIONS],
    count: usize,
    /// Tasks of a claim.
    most: usize,
}

#[cfg(feature = "threads")]
impl Sections {
    fn new(tasks: usize, count: usize, most: usize) -> Sections {
        let from = |section: usize| (tasks * section / count) as u64;
        let left = std::array::from_fn(|i| AtomicU64::new(if i < count { from(i) | from(i + 1) << 32 } else { 0 }));
        Sections { left, count, most }
    }

    /// Tasks for the thread whose section is `own`.
    fn claim(&self, own: usize) -> Option<Range<usize>> {
        (0..self.count).find_map(|i| self.take((own + i) % self.count, i > 0))
    }

    /// Some tasks of `section`, the last ones or the first.
    fn take(&self, section: usize, last: bool) -> Option<Range<usize>> {
        let mut taken = 0..0;
        let rest = |left: u64| {
            let (from, end) = (left as u32 as usize, (left >> 32) as usize);
            if from == end {
                return None;
            }
            let some = ((end - from) / self.count).clamp(1, self.most);
            let (first, rest) = if last { (end - some, from..end - some) } else { (from, from + some..end) };
            taken = first..first + some;
            Some(rest.start as u64 | (rest.end as u64) << 32)
        };
        self.left[section].fetch_update(Relaxed, Relaxed, rest).ok().map(|_| taken)
    }
}

/// Has the threads of the pool awake for a run that is about to begin: one that sleeps comes to the first region 80 us late.
#[cfg(target_arch = "wasm32")]
pub fn wake() {
    #[cfg(feature = "threads")]
    (1..threads()).for_each(|_| rayon::spawn(stay_awake));
}

/// Waits until no helper is busy, awake for a while: the scope's end would put the caller to sleep at once, and waking it takes longer than most
/// waits.
#[cfg(feature = "threads")]
fn await_helpers(busy: &AtomicUsize) {
    for _ in 0..SPINS {
        if busy.load(Acquire) == 0 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_but_for_one_and_leave_nothing_out() {
        for (len, parts) in [(0, 1), (7, 7), (10, 3), (1 << 20, 6554), (586_240, 7328)] {
            let mut end = 0;
            for part in (0..parts).map(|i| part(len, parts, i)) {
                assert!(part.start == end && (len / parts..=len / parts + 1).contains(&part.len()), "{len}: {part:?}");
                end = part.end;
            }
            assert_eq!(end, len);
        }
    }
}
