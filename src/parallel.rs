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

/// Calls `f(i, chunk i)` for the chunks of `len` elements of `data`, as [`for_each`] does.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, f: impl Fn(usize, &mut [T]) + Sync + Send) {
    #[cfg(feature = "threads")]
    if data.len() > len && rayon::current_num_threads() > 1 {
        use rayon::prelude::*;
        return data.par_chunks_exact_mut(len).enumerate().for_each(|(i, chunk)| f(i, chunk));
    }
    data.chunks_exact_mut(len).enumerate().for_each(|(i, chunk)| f(i, chunk));
}
