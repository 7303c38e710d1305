//! A linear layer of one pixel, y = activation(bias + W x), in plain f32 of a fixed order: the gates of int8 models.
//!
//! [`super::conv_f32`] fuses its multiplications where the CPU can, so its last bits differ between builds; a gate whose
//! bits differed would move the bytes that it multiplies. Each output is its bias, then the products added in order of k.

use super::Activation;
use crate::{parallel, quant};

const NR: usize = 16;

/// A layer's weights in panels of 16 outputs, [n / 16][k][16], zero past n.
#[derive(Debug)]
pub struct Gemv {
    weight: Vec<[f32; NR]>,
    bias: Vec<f32>,
    activation: Activation,
}

impl Gemv {
    /// Packs `weight` [n, k] and `bias` [n].
    pub fn new(weight: &[f32], bias: &[f32], activation: Activation) -> Gemv {
        let n = bias.len();
        let k = weight.len() / n;
        assert_eq!(weight.len(), n * k, "weight is [n, k]");
        let mut packed = vec![[0.0; NR]; n.div_ceil(NR) * k];
        for (i, w) in weight.iter().enumerate() {
            let (o, k0) = (i / k, i % k);
            packed[o / NR * k + k0][o % NR] = *w;
        }
        Gemv { weight: packed, bias: bias.to_vec(), activation }
    }

    /// `out` [n] from `x` [k].
    pub fn run(&self, x: &[f32], out: &mut [f32]) {
        assert_eq!(out.len(), self.bias.len(), "out is [n]");
        assert_eq!(self.weight.len(), out.len().div_ceil(NR) * x.len(), "x is [k]");
        parallel::for_each_chunk(out, NR, NR * x.len() * parallel::STREAMED, |i, out| {
            let mut acc = [0.0; NR];
            acc[..out.len()].copy_from_slice(&self.bias[i * NR..][..out.len()]);
            for (w, x) in self.weight[i * x.len()..][..x.len()].iter().zip(x) {
                acc.iter_mut().zip(w).for_each(|(acc, w)| *acc += w * x);
            }
            out.iter_mut().zip(acc).for_each(|(out, acc)| *out = quant::activate(self.activation, acc));
        });
    }
}
