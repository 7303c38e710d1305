//! A linear layer of one pixel, y = activation(scale * (W x) + bias), in plain f32 of a fixed order: the gates of squeeze-excite.
//!
//! [`super::conv_f32`] fuses its multiplications where the CPU can, so its last bits differ between builds; a gate whose
//! bits differed would move the bytes that it multiplies. The products of an output are added in order of k.
//!
//! Each weight is read once, so what they take in memory is what they cost: int8 weights stay as they are in the file.

use super::Activation;
use crate::{parallel, quant};

const NR: usize = 16;

/// A layer's weights.
#[derive(Debug)]
pub struct Gemv {
    weight: Panels,
    k: usize,
    /// [n], ones where there is none.
    scale: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
}

/// Panels of 16 outputs, [n / 16][k][16], zero past n.
#[derive(Debug)]
enum Panels {
    F32(Vec<[f32; NR]>),
    I8(Vec<[i8; NR]>),
}

fn pack<W: Copy + Default>(weight: &[W], n: usize) -> Vec<[W; NR]> {
    let k = weight.len() / n;
    assert_eq!(weight.len(), n * k, "weight is [n, k]");
    let mut packed = vec![[W::default(); NR]; n.div_ceil(NR) * k];
    for (i, w) in weight.iter().enumerate() {
        let (o, k0) = (i / k, i % k);
        packed[o / NR * k + k0][o % NR] = *w;
    }
    packed
}

/// W x of panel `i`.
fn dot<W: Copy + Into<f32>>(panels: &[[W; NR]], i: usize, x: &[f32]) -> [f32; NR] {
    let mut acc = [0.0; NR];
    for (w, x) in panels[i * x.len()..][..x.len()].iter().zip(x) {
        acc.iter_mut().zip(w).for_each(|(acc, w)| *acc += (*w).into() * x);
    }
    acc
}

impl Gemv {
    /// Packs `weight` [n, k] and `bias` [n].
    pub fn new(weight: &[f32], bias: Vec<f32>, activation: Activation) -> Gemv {
        let (n, k) = (bias.len(), weight.len() / bias.len());
        Gemv { weight: Panels::F32(pack(weight, n)), k, scale: vec![1.0; n], bias, activation }
    }

    /// Packs `weight` [n, k] of the scales `scale` [n], and `bias` [n].
    pub fn int8(weight: &[i8], scale: Vec<f32>, bias: Vec<f32>, activation: Activation) -> Gemv {
        assert_eq!(scale.len(), bias.len(), "scales and biases are [n]");
        Gemv { weight: Panels::I8(pack(weight, bias.len())), k: weight.len() / bias.len(), scale, bias, activation }
    }

    /// `out` [n] from `x` [k].
    pub fn run(&self, x: &[f32], out: &mut [f32]) {
        assert_eq!((x.len(), out.len()), (self.k, self.bias.len()), "x is [k] and out [n]");
        parallel::for_each_chunk(out, NR, NR * x.len() * parallel::STREAMED, |i, out| {
            let sums = match &self.weight {
                Panels::F32(panels) => dot(panels, i, x),
                Panels::I8(panels) => dot(panels, i, x),
            };
            let constants = self.scale[i * NR..].iter().zip(&self.bias[i * NR..]);
            for ((out, sum), (scale, bias)) in out.iter_mut().zip(sums).zip(constants) {
                *out = quant::activate(self.activation, sum * scale + bias);
            }
        });
    }
}
