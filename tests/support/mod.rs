//! The goldens' pictures, and the comparison with what TorchVision computed.

use crate::generator::{bits, uniform};
use mobilesight::nn::Map;
use mobilesight::tensor::{Tensor, Workspace};
use safetensors::SafeTensors;

/// The generated picture, RGBA, [h, w, 4].
pub fn picture(h: usize, w: usize) -> Vec<u8> {
    let columns = w.div_ceil(32);
    let blocks = uniform(&format!("image.blocks.{h}x{w}"), h.div_ceil(32) * columns * 3);
    let noise = uniform(&format!("image.noise.{h}x{w}"), h * w * 3);
    let channel = |pixel: usize, c: usize| {
        let base = blocks[(pixel / w / 32 * columns + pixel % w / 32) * 3 + c];
        (base * 255.0 + (noise[pixel * 3 + c] - 0.5) * 32.0).floor().clamp(0.0, 255.0) as u8
    };
    (0..h * w).flat_map(|p| [channel(p, 0), channel(p, 1), channel(p, 2), 255]).collect()
}

/// The generated picture, normalised as ImageNet's presets do, [h, w, 3], with a halo of 1.
pub fn normalised(ws: &mut Workspace, h: usize, w: usize) -> Map {
    let rgba = picture(h, w);
    let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    let mut out = ws.tensor(h, w, 3, 1);
    for y in 0..h {
        for (i, to) in out.row_mut(y).iter_mut().enumerate() {
            let (x, c) = (i / 3, i % 3);
            *to = (f32::from(rgba[(y * w + x) * 4 + c]) / 255.0 - mean[c]) / std[c];
        }
    }
    Map::F32(out)
}

/// A file of tests/golden.
pub struct Golden {
    file: SafeTensors<'static>,
}

/// The [`Golden`] tests/golden/`name`.safetensors, a part of the test itself: a browser has no files.
#[macro_export]
macro_rules! golden {
    ($name:literal) => {
        $crate::support::Golden::new(include_bytes!(concat!("golden/", $name, ".safetensors")))
    };
}

impl Golden {
    /// Reads a file's header.
    pub fn new(bytes: &'static [u8]) -> Golden {
        Golden { file: SafeTensors::deserialize(bytes).expect("a golden file") }
    }

    /// A whole f32 tensor.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        let tensor = self.file.tensor(name).unwrap_or_else(|_| panic!("no golden {name}"));
        tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    /// A whole u8 tensor.
    pub fn bytes_of(&self, name: &str) -> Vec<u8> {
        self.file.tensor(name).unwrap_or_else(|_| panic!("no golden {name}")).data().to_vec()
    }

    /// A whole i64 tensor.
    pub fn integers(&self, name: &str) -> Vec<i64> {
        let tensor = self.file.tensor(name).unwrap_or_else(|_| panic!("no golden {name}"));
        tensor.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect()
    }

    fn shape(&self, stage: &str) -> Vec<usize> {
        self.integers(&format!("{stage}.shape")).into_iter().map(|n| n as usize).collect()
    }

    /// How many stages begin with `prefix`.
    pub fn stages(&self, prefix: &str) -> usize {
        self.file.names().iter().filter(|n| n.starts_with(prefix) && n.ends_with(".shape")).count()
    }

    /// Compares a picture's tensor, whose stage is [1, c, h, w] in TorchVision.
    pub fn check(&self, stage: &str, tensor: &Tensor, atol: f32, rtol: f32) {
        let (h, w, c) = (tensor.h, tensor.w, tensor.c);
        let index = |i: usize| (i % (h * w)) * c + i / (h * w);
        self.check_by(stage, &[1, c, h, w], &tensor.to_vec(), index, (atol, rtol));
    }

    /// Compares shape, all samples and the moments; |a - b| <= atol + rtol * |b|. `index` turns an index of TorchVision's
    /// order into one of `values`.
    pub fn check_by(
        &self,
        stage: &str,
        shape: &[usize],
        values: &[f32],
        index: impl Fn(usize) -> usize,
        (atol, rtol): (f32, f32),
    ) {
        assert_eq!(self.shape(stage), shape, "shape of {stage}");
        let samples = self.floats(&format!("{stage}.samples"));
        for (i, want) in bits(&format!("sample.{stage}"), samples.len()).zip(&samples) {
            let i = (i % values.len() as u64) as usize;
            let got = values[index(i)];
            assert!((got - want).abs() <= atol + rtol * want.abs(), "{stage}[{i}] is {got}, should be {want}");
        }
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
        let largest = values.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let moments = self.floats(&format!("{stage}.moments"));
        for (got, want) in [mean as f32, variance.sqrt() as f32, largest].iter().zip(moments) {
            assert!((got - want).abs() <= atol + rtol * want.abs(), "moments of {stage}: {got}, should be {want}");
        }
    }
}
