//! What cannot be loaded is refused before there is memory for it: by the header and the scales, whatever sizes are claimed.

use mobilesight::kernels::Activation;
use mobilesight::nn::{Conv2d, Format};
use mobilesight::weights::SafeTensorsFile;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Notes the largest piece that this thread asks for.
struct Largest;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Largest = Largest;

/// Channels of the layer: its weight has their product's bytes.
const N: usize = 256;
const C: usize = 512;

type Tensor = (&'static str, Dtype, Vec<usize>, Vec<u8>);

fn floats(name: &'static str, n: usize, value: f32) -> Tensor {
    (name, Dtype::F32, vec![n], (0..n).flat_map(|_| value.to_le_bytes()).collect())
}

/// An int8 layer, with tensors in the place of its own of the same name.
fn file(instead: &[Tensor]) -> Vec<u8> {
    let own = [
        ("layer.weight", Dtype::I8, vec![N, C, 1, 1], vec![1; N * C]),
        floats("layer.weight_scale", N, 0.01),
        floats("layer.bias", N, 0.0),
        floats("input.scale", C, 0.01),
        ("input.zero_point", Dtype::U8, vec![C], vec![0; C]),
    ];
    let kept = own.iter().filter(|(name, ..)| instead.iter().all(|(other, ..)| other != name));
    let views = kept.chain(instead).map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (*name, view)
    });
    serialize(views.collect::<Vec<_>>(), None).unwrap()
}

/// What loading a layer of `channels` says, and the largest piece of memory that it took.
fn load(file: &[u8], channels: (usize, usize)) -> (Result<(), String>, usize) {
    let source = SafeTensorsFile::new(&file).unwrap();
    LARGEST.set(0);
    let input = Format::load(&source, "input", C);
    let layer = input.and_then(|i| Conv2d::load(&source, "layer", &i, channels, 1, Activation::Relu));
    (layer.map(drop).map_err(|e| e.to_string()), LARGEST.get())
}

#[test]
fn a_good_layer_takes_the_memory_of_its_weight() {
    let (result, largest) = load(&file(&[]), (C, N));
    assert_eq!(result, Ok(()));
    assert!(largest >= N * C, "{largest}");
}

#[test]
fn a_bad_layer_is_refused_before_there_is_room_for_its_weight() {
    let halves = |n: usize| ("layer.weight", Dtype::F16, vec![n], vec![0; 2 * n]);
    let cases = [
        (vec![floats("layer.weight_scale", N, 0.0)], "layer.weight_scale has a scale"),
        (vec![floats("layer.weight_scale", N, -1.0)], "layer.weight_scale has a scale"),
        (vec![floats("layer.weight_scale", N, 1e-40)], "layer.weight_scale has a scale"),
        (vec![floats("layer.weight_scale", N, f32::NAN)], "layer.weight_scale holds NaN"),
        (vec![floats("layer.weight_scale", N - 1, 0.01)], "layer.weight_scale has shape"),
        (vec![floats("layer.bias", N, 1e30)], "layer has a bias"),
        (vec![floats("layer.bias", N - 1, 0.0)], "layer.bias has shape"),
        (vec![floats("input.scale", C, -0.5)], "input.scale has a scale"),
        (vec![floats("input.scale", C - 1, 0.01)], "input.scale has shape"),
        (vec![floats("input.zero_point", C, 300.0)], "input.zero_point is F32, not U8"),
        (vec![floats("layer.output.scale", N, 0.0)], "layer.output.zero_point is missing"),
        (vec![("layer.weight", Dtype::I8, vec![N * C], vec![1; N * C])], "layer.weight has shape"),
        (vec![halves(N * C)], "layer.weight has shape"),
    ];
    for (instead, message) in cases {
        let (result, largest) = load(&file(&instead), (C, N));
        let error = result.expect_err(message);
        assert!(error.contains(message), "{error} should say {message}");
        assert!(largest < N * C / 8, "{message}: {largest} bytes");
    }
}

#[test]
fn sizes_that_only_a_configuration_claims_take_no_memory() {
    let f16 = ("layer.weight", Dtype::F16, vec![4, 4, 1, 1], vec![0; 32]);
    for file in [file(&[]), file(&[f16, floats("layer.bias", 1 << 12, 0.0)])] {
        let (result, largest) = load(&file, (1 << 24, 1 << 12));
        assert!(result.is_err());
        assert!(largest < N * C / 8, "{largest} bytes");
    }
}
