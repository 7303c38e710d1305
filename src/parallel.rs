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
