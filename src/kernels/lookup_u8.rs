//! A function of a byte, x = table[x], whatever the function is.
//!
//! A halo of zero points needs no case of its own: where f(0) = 0 the table takes one zero point to the other.

use crate::parallel;
use crate::qnnpack::Table;
use crate::tensor::Tensor;

/// Looks all bytes of `x` up in `table`, its halo included.
pub fn lookup_u8(table: &Table, x: &mut Tensor<u8>) {
    let row = x.row_pitch();
    parallel::for_each_chunk(x.data_mut(), row, row * parallel::ELEMENT, |_, row| {
        row.iter_mut().for_each(|q| *q = table[usize::from(*q)]);
    });
}
