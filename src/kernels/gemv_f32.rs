//! A linear layer of one pixel, y = activation(scale * (W x) + bias), in plain f32 of a fixed order: the gates of squeeze-excite.
//!
//! [`super::conv_f32`] fuses its multiplications where the CPU can, so its last bits differ between builds; a gate whose
//! bits differed would move the bytes that it multiplies. The products of an output are added in order of k.
//!
//! Each weight is read once, so what they take in memory is what they cost: int8 weights stay as they are in the file.

use super::Activation;
use super::fetch::fetch;
use crate::aligned::Aligned;
use crate::simd::Simd;
use crate::{parallel, quant};
use bytemuck::Pod;

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
    F32(Aligned<[f32; NR]>),
    I8(Aligned<[i8; NR]>),
}

fn pack<W: Pod>(weight: &[W], n: usize) -> Aligned<[W; NR]> {
    let k = weight.len() / n;
    assert_eq!(weight.len(), n * k, "weight is [n, k]");
    let mut packed = Aligned::<[W; NR]>::zeros(n.div_ceil(NR) * k);
    for (i, w) in weight.iter().enumerate() {
        let (o, k0) = (i / k, i % k);
        packed[o / NR * k + k0][o % NR] = *w;
    }
    packed
}

/// Weights as they lie in memory.
trait Weight: Pod {
    /// Sixteen of them as floats.
    fn floats<S: Simd>(weights: &[Self; NR]) -> [S::F32; 4];
}

impl Weight for f32 {
    #[inline(always)]
    fn floats<S: Simd>(weights: &[f32; NR]) -> [S::F32; 4] {
        // SAFETY: sixteen floats.
        [0, 4, 8, 12].map(|i| unsafe { S::load(weights.as_ptr().add(i)) })
    }
}

impl Weight for i8 {
    /// In words of our own: LLVM (1.95) widens one byte after the other.
    #[inline(always)]
    fn floats<S: Simd>(weights: &[i8; NR]) -> [S::F32; 4] {
        // SAFETY: sixteen bytes.
        let [low, high] = [0, 8].map(|i| S::widen(unsafe { S::load_i8x8(weights.as_ptr().add(i).cast()) }));
        [low[0], low[1], high[0], high[1]].map(S::to_f32)
    }
}

/// W x of panel `i`.
fn dot<S: Simd, W: Weight>(panels: &[[W; NR]], i: usize, x: &[f32]) -> [f32; NR] {
    let mut acc = [S::splat(0.0); 4];
    let panel = &panels[i * x.len()..][..x.len()];
    fetch(bytemuck::cast_slice(panel));
    for (w, x) in panel.iter().zip(x) {
        let (w, x) = (W::floats::<S>(w), S::splat(*x));
        acc = std::array::from_fn(|j| S::add(acc[j], S::mul(w[j], x)));
    }
    let mut sums = [0.0; NR];
    // SAFETY: sixteen floats.
    acc.iter().enumerate().for_each(|(j, acc)| unsafe { S::store(sums.as_mut_ptr().add(4 * j), *acc) });
    sums
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
    pub fn run<S: Simd>(&self, x: &[f32], out: &mut [f32]) {
        assert_eq!((x.len(), out.len()), (self.k, self.bias.len()), "x is [k] and out [n]");
        parallel::for_each_chunk(out, NR, NR * x.len() * parallel::STREAMED, |i, out| {
            let sums = match &self.weight {
                Panels::F32(panels) => dot::<S, _>(panels, i, x),
                Panels::I8(panels) => dot::<S, _>(panels, i, x),
            };
            let constants = self.scale[i * NR..].iter().zip(&self.bias[i * NR..]);
            for ((out, sum), (scale, bias)) in out.iter_mut().zip(sums).zip(constants) {
                *out = quant::activate(self.activation, sum * scale + bias);
            }
        });
    }
}
