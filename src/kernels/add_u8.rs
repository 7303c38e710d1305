//! The sum of two maps, each byte as [`Addition`] has it: integers alone, which LLVM makes vectors of.

use super::Shared;
use crate::parallel;
use crate::qnnpack::Addition;
use crate::tensor::Tensor;

/// The sums of `a` and `b` into `out`, all of one shape; halos apart.
///
/// # Panics
/// When the shapes differ.
pub fn add_u8(addition: &Addition, a: &Tensor<u8>, b: &Tensor<u8>, out: &mut Tensor<u8>) {
    let shape = |t: &Tensor<u8>| (t.h, t.w, t.c);
    assert!(shape(a) == shape(b) && shape(b) == shape(out), "maps of one shape");
    let (start, pitch, len) = (out.origin(), out.row_pitch(), out.w * out.c);
    let (addition, data) = (*addition, Shared(out.data_mut().as_mut_ptr()));
    parallel::for_each(a.h, len * parallel::ELEMENT, |y| {
        // SAFETY: row y has `len` bytes, and a task has a row of its own.
        let row = unsafe { std::slice::from_raw_parts_mut(data.at(start + y * pitch), len) };
        for ((to, a), b) in row.iter_mut().zip(a.row(y)).zip(b.row(y)) {
            *to = addition.apply(*a, *b);
        }
    });
}
