//! Each int8 kernel against the specification in src/quant.rs, to the integer, at every remainder of its tile and at the
//! largest sums that there are, in every instruction set of the build and with every dot that a CPU may have.

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

mod dots;
mod oracle;

/// `$run::<S>(arguments)` in every instruction set of the build.
macro_rules! everywhere {
    ($run:ident($($argument:expr),*)) => {
        $run::<mobilesight::simd::Scalar>($($argument),*);
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        $run::<mobilesight::simd::Simd128>($($argument),*);
        #[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
        $run::<mobilesight::simd::Relaxed>($($argument),*);
    };
}

mod conv;
mod depthwise;
mod dilated;
mod elementwise;

use mobilesight::kernels::Pixels;
use mobilesight::tensor::{Tensor, Workspace};

/// A workspace of used memory, so that a byte that a kernel forgets is seen.
fn dirty() -> Workspace {
    let mut ws = Workspace::default();
    // Two of every size class that is a power of two: what needs less gets one of them.
    let buffers: Vec<_> = (4..=14).flat_map(|i| [i, i]).map(|i| (ws.take(1 << i), ws.take(1 << i))).collect();
    for (mut floats, mut bytes) in buffers {
        floats.fill(f32::NAN);
        bytes.fill(0xa5_u8);
        ws.give(floats);
        ws.give(bytes);
    }
    ws
}

fn pixels<T: Copy>(t: &Tensor<T>) -> Pixels {
    Pixels { start: t.origin(), row: t.row_pitch(), pixel: t.c }
}

fn tensor_u8(ws: &mut Workspace, (h, w): (usize, usize), halo: usize, zero: &[u8], values: &[u8]) -> Tensor<u8> {
    let mut t = ws.tensor_u8(h, w, halo, zero);
    let len = w * zero.len();
    (0..h).for_each(|y| t.row_mut(y).copy_from_slice(&values[y * len..][..len]));
    t
}

/// All of a tensor's bytes but its inside are its zero points.
fn assert_halo(t: &Tensor<u8>, zero: &[u8], what: &dyn std::fmt::Debug) {
    let mut expected = Workspace::default().tensor_u8(t.h, t.w, t.halo, zero);
    (0..t.h).for_each(|y| expected.row_mut(y).copy_from_slice(t.row(y)));
    assert_eq!(t.data(), expected.data(), "halo of {what:?}");
}

#[cfg(feature = "threads")]
fn at_any_number_of_threads(check: impl Fn() + Sync + Send) {
    for threads in [1, 2, 3] {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&check);
    }
}
