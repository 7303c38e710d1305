//! Bilinear resize as torch.nn.functional.interpolate(align_corners=False) defines it, a row of output at a time:
//! src = max((dst + 0.5) * in / out - 0.5, 0); out = (1 - f) * x[i] + f * x[i + 1], f = src - floor(src), on both axes.

use crate::tensor::Tensor;

/// The two source indices of `dst` and the weight of the second.
pub(super) fn source(dst: usize, from: usize, to: usize) -> (usize, usize, f32) {
    let scale = from as f32 / to as f32;
    let src = ((dst as f32 + 0.5) * scale - 0.5).max(0.0);
    let first = (src as usize).min(from - 1);
    (first, (first + 1).min(from - 1), src - first as f32)
}

/// Output row `y` of `x` [h, w, c] resized to `size`, into `out` [size.1, c].
pub fn bilinear_row(x: &Tensor, size: (usize, usize), y: usize, out: &mut [f32]) {
    assert!(x.h > 0 && x.w > 0, "a picture with pixels");
    let lerp = |a: f32, b: f32, f: f32| a + f * (b - a);
    let (top, bottom, fy) = source(y, x.h, size.0);
    let (top, bottom) = (x.row(top), x.row(bottom));
    for (i, out) in out.chunks_exact_mut(x.c).enumerate() {
        let (left, right, fx) = source(i, x.w, size.1);
        let corners = [top, bottom].map(|row| [left, right].map(|column| &row[column * x.c..][..x.c]));
        for (c, out) in out.iter_mut().enumerate() {
            let [left, right] = [0, 1].map(|side| lerp(corners[0][side][c], corners[1][side][c], fy));
            *out = lerp(left, right, fx);
        }
    }
}
