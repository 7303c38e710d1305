//! Weights as [`super::conv_f32`] reads them.

use crate::aligned::Aligned;
use crate::parallel;

/// Columns of a panel.
pub const NR: usize = 8;

/// Weights in panels of [`NR`] columns: the panel's biases, then k rows of [`NR`]; columns past n are zero.
#[derive(Debug)]
pub struct PackedB {
    data: Aligned<f32>,
    /// Output channels.
    pub n: usize,
    /// Length of the sum.
    pub k: usize,
}

impl PackedB {
    /// Panels for `bias` [n] and weights that [`PackedB::set_column`] gives.
    pub fn new(bias: &[f32], k: usize) -> Self {
        let n = bias.len();
        let mut data = Aligned::zeros(n.div_ceil(NR) * NR * (k + 1));
        for (panel, bias) in data.chunks_exact_mut(NR * (k + 1)).zip(bias.chunks(NR)) {
            panel[..bias.len()].copy_from_slice(bias);
        }
        PackedB { data, n, k }
    }

    /// Sets the weights of output channel `n`, k of them.
    pub fn set_column(&mut self, n: usize, weights: impl Iterator<Item = f32>) {
        let first = n / NR * NR * (self.k + 1) + NR + n % NR;
        let count = weights.fold(0, |i, w| {
            self.data[first + i * NR] = w;
            i + 1
        });
        assert_eq!(count, self.k, "k weights a column");
    }

    /// `out` = the panels with row k of every column multiplied by `scale[k]`; the biases stay.
    ///
    /// Squeeze-excite scales the projection's input by channel: scaling its few weights is cheaper than its many pixels.
    pub fn scaled(&self, scale: &[f32], out: &mut [f32]) {
        assert_eq!((scale.len(), out.len()), (self.k, self.data.len()), "a scale an input channel");
        let panel = NR * (self.k + 1);
        parallel::for_each_chunk(out, panel, panel * parallel::ELEMENT, |i, to| {
            let from = &self.data[i * panel..][..panel];
            to[..NR].copy_from_slice(&from[..NR]);
            let rows = from[NR..].chunks_exact(NR).zip(to[NR..].chunks_exact_mut(NR));
            for ((from, to), s) in rows.zip(scale) {
                to.iter_mut().zip(from).for_each(|(t, f)| *t = f * s);
            }
        });
    }

    /// The panels.
    pub fn data(&self) -> &[f32] {
        &self.data
    }
}
