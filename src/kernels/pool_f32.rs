//! Global average pool: out[c] = sum over pixels of x[pixel, c] / pixels.

use crate::parallel;

/// The mean of `rows`, each [w, c] or sums [c], over `pixels` pixels, into `out` [c]. Rows are added in order, whatever thread has a channel.
pub fn mean_pool<'a>(rows: impl Iterator<Item = &'a [f32]> + Clone + Sync, pixels: usize, out: &mut [f32]) {
    let channels = out.len();
    let summands: usize = rows.clone().map(|row| row.len() / channels).sum();
    let some = channels.div_ceil(parallel::threads());
    parallel::for_each_chunk(out, some, summands * some * parallel::ELEMENT, |i, out| {
        out.fill(0.0);
        for pixel in rows.clone().flat_map(|row| row.chunks_exact(channels)) {
            out.iter_mut().zip(&pixel[i * some..]).for_each(|(sum, v)| *sum += v);
        }
        out.iter_mut().for_each(|sum| *sum /= pixels as f32);
    });
}
