//! int8 weights as the kernels read them, packed at load for the way this engine multiplies.
//!
//! Every sum starts at an integer, exact in i32: -sum(w * zp), which takes the zero points off the activations, and
//! + 128 * sum(w) where the activations go into a signed dot less 128.

use super::Activation;
use super::depthwise_f32::{Filter, pack_weight};
use crate::aligned::Aligned;
use crate::quant::QWeights;
use crate::simd::DotKind;

/// Columns of a panel.
pub const NR: usize = 8;

/// Bytes of a panel before its steps: a start for each column.
pub(super) const HEADER: usize = 4 * NR;

/// The longest sum that cannot leave i32, partial sums and start included: 16384 * 127 * (255 + 255 + 128) < 2^31.
pub(crate) const MAX_K: usize = 16_384;

impl DotKind {
    /// Values of k that a step of the GEMM takes from each row and column.
    pub fn step(self) -> usize {
        if self == DotKind::I16 { 2 } else { 4 }
    }
}

/// Dense weights in panels of [`NR`] columns: the starts as i32, then for each step of k [`NR`] columns of
/// [`DotKind::step`] bytes; what is past n or k is zero.
#[derive(Debug)]
pub struct PackedB {
    data: Aligned<u8>,
    /// Output channels.
    pub n: usize,
    /// Length of the sum.
    pub k: usize,
    /// Which dot it is packed for.
    pub kind: DotKind,
}

impl PackedB {
    /// Packs `weights` [n, taps, c] for an input with the zero points `zero_point` [c].
    pub fn new(kind: DotKind, weights: &QWeights, zero_point: &[u8]) -> PackedB {
        let n = weights.scale().len();
        let k = weights.weight().len() / n;
        assert_eq!(n * k, weights.weight().len(), "weights are [n, k]");
        assert!(k.is_multiple_of(zero_point.len()), "a zero point an input channel");
        assert!(k <= MAX_K, "a sum of at most {MAX_K} products");
        let step = kind.step();
        let panel_len = HEADER + k.div_ceil(step) * step * NR;
        let mut data = Aligned::zeros(n.div_ceil(NR) * panel_len);
        for (o, row) in weights.weight().chunks_exact(k).enumerate() {
            let (panel, column) = (&mut data[o / NR * panel_len..][..panel_len], o % NR);
            panel[4 * column..][..4].copy_from_slice(&start(kind, row, zero_point).to_ne_bytes());
            let steps = panel[HEADER..].chunks_exact_mut(step * NR);
            for (to, from) in steps.zip(row.chunks(step)) {
                to[column * step..][..from.len()].copy_from_slice(bytemuck::cast_slice(from));
            }
        }
        PackedB { data, n, k, kind }
    }

    /// What sums over one tap alone start at, [taps, n], n in eights, for the zero points that it was packed for.
    pub fn tap_starts(&self, zero_point: &[u8]) -> Vec<i32> {
        let ((data, len), c, step) = (self.panels(), zero_point.len(), self.kind.step());
        let pitch = self.n.next_multiple_of(NR);
        let mut starts = vec![0; self.k / c * pitch];
        for (i, panel) in data.chunks_exact(len).enumerate() {
            for (j, w) in panel[HEADER..].iter().enumerate() {
                let (k, column) = (j / (NR * step) * step + j % step, j / step % NR);
                // What fills the last step up.
                let zero = if k < self.k { zero_point[k % c] } else { continue };
                starts[k / c * pitch + i * NR + column] += i32::from(*w as i8) * less(self.kind, zero);
            }
        }
        starts
    }

    /// The panels, and the bytes of one.
    pub(super) fn panels(&self) -> (&[u8], usize) {
        (&self.data, self.data.len() / self.n.div_ceil(NR))
    }
}

fn start(kind: DotKind, row: &[i8], zero_point: &[u8]) -> i32 {
    let of_tap =
        |tap: &[i8]| -> i32 { tap.iter().zip(zero_point).map(|(w, zp)| i32::from(*w) * less(kind, *zp)).sum() };
    row.chunks_exact(zero_point.len()).map(of_tap).sum()
}

/// What goes with a weight to the start.
fn less(kind: DotKind, zero_point: u8) -> i32 {
    (if kind == DotKind::I8Signed { 128 } else { 0 }) - i32::from(zero_point)
}

/// Depthwise weights: the starts [c] apart, and i16 pairs of kernel rows, [c / 8][row pair][column][8 channels][2]; an odd
/// kernel's last row is paired with zeros.
#[derive(Debug)]
pub struct PackedDepthwise {
    pub(super) start: Vec<i32>,
    pub(super) taps: Aligned<i16>,
    /// The weights as [`Filter::weight`], and as many zeros as channels.
    floats: Aligned<f32>,
    zeros: Vec<f32>,
    /// 3 or 5.
    pub kernel: usize,
}

impl PackedDepthwise {
    /// Packs `weights` [kernel, kernel, c] for an input with the zero points `zero_point` [c], a multiple of eight.
    pub fn new(weights: &QWeights, kernel: usize, zero_point: &[u8]) -> PackedDepthwise {
        let c = zero_point.len();
        assert!(c.is_multiple_of(8), "channels come in eights");
        assert_eq!(weights.weight().len(), kernel * kernel * c, "weights are [kernel, kernel, c]");
        let mut start = vec![0; c];
        let pairs = kernel.div_ceil(2);
        let mut taps = Aligned::zeros(c * pairs * kernel * 2);
        for (i, &w) in weights.weight().iter().enumerate() {
            let (ch, kx, ky) = (i % c, i / c % kernel, i / c / kernel);
            start[ch] -= i32::from(w) * i32::from(zero_point[ch]);
            taps[(((ch / 8 * pairs + ky / 2) * kernel + kx) * 8 + ch % 8) * 2 + ky % 2] = i16::from(w);
        }
        let floats: Vec<f32> = weights.weight().iter().map(|w| f32::from(*w)).collect();
        PackedDepthwise { start, taps, floats: pack_weight(kernel, &floats), zeros: vec![0.0; c], kernel }
    }

    /// The layer without its epilogue, for an input in floats less its zero points: [`super::expand_depthwise_i8`].
    pub fn filter(&self, stride: usize, dilation: usize) -> Filter<'_> {
        let PackedDepthwise { kernel, floats, zeros, .. } = self;
        Filter { kernel: *kernel, stride, dilation, weight: floats, bias: zeros, activation: Activation::Identity }
    }
}
