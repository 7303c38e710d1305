//! Work shared between threads; the only file that names rayon.

/// Calls `f(0), …, f(tasks - 1)`, on all threads of the pool with the feature `threads`, in order without it.
///
/// The split never depends on the number of threads, so results do not either.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    #[cfg(feature = "threads")]
    if tasks > 1 && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        return (0..tasks).into_par_iter().for_each(f);
    }
    (0..tasks).for_each(f);
}

/// The threads that calls of this file share work between.
pub fn threads() -> usize {
    #[cfg(feature = "threads")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "threads"))]
    1
}

/// As [`for_each`], with `scratch` cut into an equal part for each of [`threads`], which a task may use as it likes.
pub fn for_each_with<T: Send>(tasks: usize, scratch: &mut [T], f: impl Fn(usize, &mut [T]) + Sync + Send) {
    #[cfg(feature = "threads")]
    if tasks > 1 && threads() > 1 {
        use rayon::prelude::*;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (next, len) = (AtomicUsize::new(0), scratch.len() / threads());
        let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|task| *task < tasks);
        return scratch.par_chunks_exact_mut(len).for_each(|scratch| {
            while let Some(task) = claim() {
                f(task, scratch);
            }
        });
    }
    (0..tasks).for_each(|task| f(task, scratch));
}

/// Calls `f(i, chunk i)` for the chunks of `len` elements of `data`, as [`for_each`] does.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, f: impl Fn(usize, &mut [T]) + Sync + Send) {
    #[cfg(feature = "threads")]
    if data.len() > len && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        return data.par_chunks_exact_mut(len).enumerate().for_each(|(i, chunk)| f(i, chunk));
    }
    data.chunks_exact_mut(len).enumerate().for_each(|(i, chunk)| f(i, chunk));
}

/// [`for_each_chunk`] of two slices at once, the chunks of `b` being `len_b` long; the last chunk of `a` may be shorter.
pub fn for_each_pair<A: Send, B: Send>(
    (a, len_a): (&mut [A], usize),
    (b, len_b): (&mut [B], usize),
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync + Send,
) {
    #[cfg(feature = "threads")]
    if a.len() > len_a && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        let pairs = a.par_chunks_mut(len_a).zip(b.par_chunks_exact_mut(len_b)).enumerate();
        return pairs.for_each(|(i, (a, b))| f(i, a, b));
    }
    a.chunks_mut(len_a).zip(b.chunks_exact_mut(len_b)).enumerate().for_each(|(i, (a, b))| f(i, a, b));
}
