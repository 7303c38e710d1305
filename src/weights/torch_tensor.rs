//! A tensor as a checkpoint describes it: element (i, j, …) of a shape lies at offset + i * stride 0 + j * stride 1 + … of a
//! storage, which other tensors may view too.

use half::{bf16, f16};
use safetensors::Dtype;

/// Most dimensions of a tensor.
pub(super) const MOST_DIMENSIONS: usize = 8;

/// A storage that the pickle points at: a record of the archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    /// The record's name under `data/`.
    pub key: &'a str,
    pub dtype: Dtype,
    /// Elements in all.
    pub len: usize,
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub(super) struct TorchTensor<'a> {
    pub storage: Storage<'a>,
    pub offset: usize,
    pub shape: Vec<usize>,
    /// In elements, one a dimension.
    pub strides: Vec<usize>,
}

impl TorchTensor<'_> {
    /// Whether each dimension has its stride, every element lies in the storage and, since a stride of 0 repeats elements,
    /// there are no more of them than the storage has.
    pub fn is_inside(&self) -> bool {
        // An empty dimension counts as one, so that the others are bounded too.
        let elements = self.shape.iter().try_fold(1usize, |n, size| n.checked_mul((*size).max(1)));
        let mut axes = self.shape.iter().zip(&self.strides);
        let last = axes.try_fold(self.offset, |last, (size, stride)| {
            last.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        });
        self.shape.len() == self.strides.len()
            && elements.is_some_and(|n| n <= self.storage.len.max(1))
            && (self.shape.contains(&0) || last.is_some_and(|last| last < self.storage.len))
    }

    /// Bytes of its elements.
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.storage.bytes_each()
    }

    /// Calls `each` with the index and the values of each row, in C order, of the storage's `data`; one row where there is no
    /// dimension.
    ///
    /// # Panics
    /// When `data` is not of the storage's length.
    pub fn rows(&self, data: &[u8], each: &mut dyn FnMut(usize, &[f32])) {
        assert_eq!(data.len(), self.storage.len * self.storage.bytes_each(), "data is the storage's");
        if self.shape.contains(&0) {
            return;
        }
        let axes: Vec<_> = self.shape.iter().copied().zip(self.strides.iter().copied()).collect();
        let (&(rows, stride), inner) = axes.split_first().unwrap_or((&(1, 0), &[]));
        let mut values = Vec::new();
        for row in 0..rows {
            values.clear();
            gather(self.offset + row * stride, inner, &mut |at| values.push(self.storage.get(data, at)));
            each(row, &values);
        }
    }
}

/// Visits the elements of `axes`, (size, stride) each, from `at` on, in C order.
fn gather(at: usize, axes: &[(usize, usize)], visit: &mut impl FnMut(usize)) {
    match axes {
        [] => visit(at),
        [(size, stride), inner @ ..] => (0..*size).for_each(|i| gather(at + i * stride, inner, visit)),
    }
}

impl Storage<'_> {
    /// Bytes of an element.
    pub fn bytes_each(&self) -> usize {
        self.dtype.bitsize() / 8
    }

    /// Element `at` of `data`, little-endian, as the nearest f32.
    fn get(&self, data: &[u8], at: usize) -> f32 {
        match self.dtype {
            Dtype::F32 => f32::from_le_bytes(element(data, at)),
            Dtype::F16 => f16::from_le_bytes(element(data, at)).to_f32(),
            Dtype::BF16 => bf16::from_le_bytes(element(data, at)).to_f32(),
            Dtype::F64 => f64::from_le_bytes(element(data, at)) as f32,
            Dtype::I64 => i64::from_le_bytes(element(data, at)) as f32,
            Dtype::I32 => i32::from_le_bytes(element(data, at)) as f32,
            Dtype::U8 => data[at].into(),
            other => unreachable!("no storage type has dtype {other:?}"),
        }
    }
}

fn element<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    data.as_chunks().0[at]
}

/// The storage types of a model's parameters, of BatchNorm's counters and of the observers of fake quantisation.
const STORAGES: [&str; 7] =
    ["FloatStorage", "HalfStorage", "BFloat16Storage", "DoubleStorage", "LongStorage", "IntStorage", "ByteStorage"];
/// What they hold.
pub(super) const DTYPES: [Dtype; 7] =
    [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64, Dtype::I64, Dtype::I32, Dtype::U8];

/// The dtype of the storage type `module.name`.
pub(super) fn storage_dtype(module: &str, name: &str) -> Option<Dtype> {
    let index = STORAGES.iter().position(|known| *known == name)?;
    (module == "torch").then_some(DTYPES[index])
}
