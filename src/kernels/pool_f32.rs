//! Global average pool: out[c] = sum over pixels of x[pixel, c] / pixels.

/// The mean of `rows`, each [w, c] or sums [c], over `pixels` pixels, into `out` [c]. Rows are added in order.
pub fn mean_pool<'a>(rows: impl Iterator<Item = &'a [f32]>, pixels: usize, out: &mut [f32]) {
    out.fill(0.0);
    let channels = out.len();
    for pixel in rows.flat_map(|row| row.chunks_exact(channels)) {
        out.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += v);
    }
    out.iter_mut().for_each(|sum| *sum /= pixels as f32);
}
