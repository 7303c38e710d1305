//! Naive loops that say what each kernel computes.

mod shape;

use mobilesight::kernels::Activation;
pub use shape::Shape;

/// [`Activation`] of one float, by its definition.
pub fn activation(kind: Activation, x: f32) -> f32 {
    match kind {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
    }
}

impl Shape {
    /// x[y, x, c] or zero outside.
    fn at(&self, x: &[f32], out: (usize, usize), tap: (usize, usize), c: usize) -> f32 {
        self.source(out, tap).map_or(0.0, |pixel| x[pixel * self.c + c])
    }
}

/// Dense convolution of x [h, w, c] with weight [n, kernel, kernel, c], summed in f64; [h, w, n].
pub fn conv(s: Shape, x: &[f32], weight: &[f32], bias: &[f32], act: Activation) -> Vec<f32> {
    let (h, w) = s.out();
    let mut out = Vec::new();
    for (i, n) in (0..h * w).flat_map(|i| (0..s.n).map(move |n| (i, n))) {
        let mut sum = f64::from(bias[n]);
        for tap in 0..s.kernel * s.kernel {
            for c in 0..s.c {
                let v = s.at(x, (i / w, i % w), (tap / s.kernel, tap % s.kernel), c);
                sum += f64::from(v) * f64::from(weight[(n * s.kernel * s.kernel + tap) * s.c + c]);
            }
        }
        out.push(activation(act, sum as f32));
    }
    out
}

/// Depthwise convolution of x [h, w, c] with weight [kernel, kernel, c]; [h, w, c].
pub fn depthwise(s: Shape, x: &[f32], weight: &[f32], bias: &[f32], act: Activation) -> Vec<f32> {
    let (h, w) = s.out();
    let mut out = Vec::new();
    for (i, c) in (0..h * w).flat_map(|i| (0..s.c).map(move |c| (i, c))) {
        let taps = (0..s.kernel * s.kernel).map(|tap| {
            let v = s.at(x, (i / w, i % w), (tap / s.kernel, tap % s.kernel), c);
            f64::from(v) * f64::from(weight[tap * s.c + c])
        });
        out.push(activation(act, (f64::from(bias[c]) + taps.sum::<f64>()) as f32));
    }
    out
}

/// RGBA `from` = [h, w] resized to `to`, normalised, [h, w, 3]: interpolate(mode="bilinear", align_corners=False) in f64.
pub fn bilinear(rgba: &[u8], from: (usize, usize), to: (usize, usize), mean: [f64; 3], std: [f64; 3]) -> Vec<f32> {
    let source = |i: usize, from: usize, to: usize| {
        let at = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.0);
        let low = (at as usize).min(from - 1);
        (low, (low + 1).min(from - 1), at - low as f64)
    };
    let mut out = Vec::new();
    for i in 0..to.0 * to.1 * 3 {
        let (y0, y1, fy) = source(i / 3 / to.1, from.0, to.0);
        let (x0, x1, fx) = source(i / 3 % to.1, from.1, to.1);
        let at = |y: usize, x: usize| f64::from(rgba[(y * from.1 + x) * 4 + i % 3]);
        let upper = at(y0, x0) * (1.0 - fx) + at(y0, x1) * fx;
        let lower = at(y1, x0) * (1.0 - fx) + at(y1, x1) * fx;
        out.push((((upper * (1.0 - fy) + lower * fy) / 255.0 - mean[i % 3]) / std[i % 3]) as f32);
    }
    out
}

/// RGBA `from` = [h, w] resized to `to` by the widened triangle filter in f64, no rounding, [h, w, 3] of 0 to 255.
pub fn antialias(rgba: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let weights = |i: usize, from: usize, to: usize| {
        let scale = from as f64 / to as f64;
        let center = (i as f64 + 0.5) * scale - 0.5;
        let all: Vec<f64> = (0..from).map(|j| (1.0 - ((j as f64 - center) / scale.max(1.0)).abs()).max(0.0)).collect();
        let sum: f64 = all.iter().sum();
        let some = all.into_iter().enumerate().filter(|(_, w)| *w > 0.0);
        some.map(move |(j, w)| (j, w / sum)).collect::<Vec<(usize, f64)>>()
    };
    let mut out = Vec::new();
    for i in 0..to.0 * to.1 * 3 {
        let (rows, columns) = (weights(i / 3 / to.1, from.0, to.0), weights(i / 3 % to.1, from.1, to.1));
        let row =
            |y: usize| columns.iter().map(|(x, w)| f64::from(rgba[(y * from.1 + x) * 4 + i % 3]) * w).sum::<f64>();
        out.push(rows.iter().map(|(y, w)| row(*y) * w).sum::<f64>() as f32);
    }
    out
}

/// `n` floats in -1..1 that differ with `seed`: SplitMix64.
pub fn noise(seed: u64, n: usize) -> Vec<f32> {
    (1..=n as u64)
        .map(|i| {
            let z = (seed << 32).wrapping_add(i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Every float within 1e-5 of the largest sum's scale: only the order of additions may differ.
pub fn assert_close(got: &[f32], want: &[f32], what: &dyn std::fmt::Debug) {
    assert_eq!(got.len(), want.len(), "{what:?}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= 1e-5 * (1.0 + w.abs()) * 4.0, "{what:?}: [{i}] is {g}, should be {w}");
    }
}
