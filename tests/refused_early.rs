//! What cannot be loaded is refused before there is memory for it: by the header and the scales, whatever sizes are claimed.

use mobilesight::Result;
use mobilesight::kernels::Activation;
use mobilesight::nn::{Conv2d, Conv2dNormActivation, Format, SqueezeExcitation, quantized};
use mobilesight::weights::{SafeTensorsFile, Weights};
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
    edited(&own, instead, "")
}

/// What `load` says of the file, and the largest piece of memory that it took.
fn measured<T>(
    file: &[u8],
    load: impl FnOnce(&SafeTensorsFile) -> Result<T>,
) -> (std::result::Result<(), String>, usize) {
    let source = SafeTensorsFile::new(&file).unwrap();
    LARGEST.set(0);
    let loaded = load(&source);
    (loaded.map(drop).map_err(|e| e.to_string()), LARGEST.get())
}

/// [`measured`] of a layer of `channels`.
fn load(file: &[u8], channels: (usize, usize)) -> (std::result::Result<(), String>, usize) {
    measured(file, |source| {
        let input = Format::load(source, "input", C)?;
        Conv2d::load(source, "layer", &input, channels, 1, Activation::Relu)
    })
}

/// Holds that `load` refuses the file with `message`, having asked for far less than `bytes` at a time.
fn assert_early<T>(file: &[u8], bytes: usize, message: &str, load: impl FnOnce(&SafeTensorsFile) -> Result<T>) {
    let (result, largest) = measured(file, load);
    let error = result.expect_err(message);
    assert!(error.contains(message), "{error} should say {message}");
    assert!(largest < bytes / 8, "{message}: {largest} bytes");
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
    let unsigned = ("layer.weight", Dtype::U8, vec![N, C, 1, 1], vec![1; N * C]);
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
        (vec![unsigned], "layer.weight is U8, not F32 or F16"),
    ];
    for (instead, message) in cases {
        assert_early(&file(&instead), N * C, message, |source| {
            let input = Format::load(source, "input", C)?;
            Conv2d::load(source, "layer", &input, (C, N), 1, Activation::Relu)
        });
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

/// A file of these tensors alone.
fn only(tensors: &[Tensor]) -> Vec<u8> {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (*name, view)
    });
    serialize(views.collect::<Vec<_>>(), None).unwrap()
}

/// `tensors` with those of `instead` in the place of their own of the same name, and without the one called `absent`.
fn edited(tensors: &[Tensor], instead: &[Tensor], absent: &str) -> Vec<u8> {
    let is_replaced = |name: &str| name == absent || instead.iter().any(|(other, ..)| *other == name);
    let kept = tensors.iter().filter(|(name, ..)| !is_replaced(name));
    only(&kept.chain(instead).cloned().collect::<Vec<_>>())
}

fn zero_points(name: &'static str, n: usize) -> Tensor {
    (name, Dtype::U8, vec![n], vec![0; n])
}

/// A layer of TorchVision's quantised models.
#[test]
fn a_bad_layer_of_qnnpacks_is_refused_before_there_is_room_for_its_weight() {
    let own = [
        ("layer.weight", Dtype::I8, vec![N, C, 1, 1], vec![1; N * C]),
        floats("layer.weight_scale", 1, 0.01),
        floats("layer.bias", N, 0.0),
        floats("layer.output.scale", 1, 0.01),
        zero_points("layer.output.zero_point", 1),
        floats("quant.output.scale", 1, 0.01),
        zero_points("quant.output.zero_point", 1),
    ];
    let size = quantized::Size { kernel: 1, stride: 1, dilation: 1 };
    let load = |source: &SafeTensorsFile| {
        let input = quantized::output(source, "quant", C)?;
        quantized::Conv2d::dense(source, "layer", &input, N, size, Activation::Identity)
    };
    let (result, largest) = measured(&only(&own), load);
    assert_eq!(result, Ok(()));
    assert!(largest >= N * C, "{largest}");
    for (instead, absent, message) in [
        (vec![floats("layer.weight_scale", 1, 0.0)], "", "layer.weight_scale has a scale"),
        (vec![floats("layer.weight_scale", 1, f32::NAN)], "", "layer.weight_scale holds NaN"),
        (vec![floats("layer.weight_scale", 2, 0.01)], "", "layer.weight_scale has shape"),
        (vec![floats("layer.bias", N, 1e30)], "", "layer has a bias"),
        (vec![floats("layer.bias", N - 1, 0.0)], "", "layer.bias has shape"),
        (vec![floats("layer.output.scale", 1, -1.0)], "", "layer.output.scale has a scale"),
        (vec![floats("layer.output.zero_point", 1, 3.0)], "", "layer.output.zero_point is F32, not U8"),
        (vec![], "layer.output.zero_point", "layer.output.zero_point is missing"),
        (vec![], "layer.weight", "layer.weight is missing"),
        (vec![("layer.weight", Dtype::U8, vec![N, C, 1, 1], vec![1; N * C])], "", "layer.weight is U8, not I8"),
        (vec![("layer.weight", Dtype::I8, vec![N * C], vec![1; N * C])], "", "layer.weight has shape"),
    ] {
        assert_early(&edited(&own, &instead, absent), N * C, message, load);
    }
}

/// How a module of a Sequential is read, but for its kind.
fn module(in_channels: usize, out_channels: usize, kernel: usize) -> Conv2dNormActivation {
    let (stride, dilation, activation, batch_norm_eps) = (1, 1, Activation::Relu, 1e-3);
    Conv2dNormActivation { in_channels, out_channels, kernel, stride, dilation, activation, batch_norm_eps }
}

#[test]
fn a_bad_depthwise_layer_is_refused_before_there_is_room_for_its_weight() {
    const CHANNELS: usize = 4096;
    const TAPS: usize = 25;
    let weight = |dtype: Dtype, bytes: usize| {
        ("layer.0.weight", dtype, vec![CHANNELS, 1, 5, 5], vec![1; CHANNELS * TAPS * bytes])
    };
    let own = [
        weight(Dtype::I8, 1),
        // What there is for each channel is no eighth of the weight, as it is of other layers'.
        floats("layer.0.weight_scale", CHANNELS, 0.01),
        floats("layer.0.bias", CHANNELS, 0.0),
        floats("input.scale", 1, 0.01),
        zero_points("input.zero_point", 1),
    ];
    let load = |source: &SafeTensorsFile| {
        let input = Format::load(source, "input", CHANNELS)?;
        module(CHANNELS, CHANNELS, 5).depthwise(source, "layer", &input)
    };
    let room = CHANNELS * TAPS;
    let (result, largest) = measured(&only(&own), load);
    assert_eq!(result, Ok(()));
    assert!(largest >= room, "{largest}");
    let refused = |instead: Tensor, message: &str| {
        let (result, largest) = measured(&edited(&own, &[instead], ""), load);
        let error = result.expect_err(message);
        assert!(error.contains(message), "{error} should say {message}");
        assert!(largest < room, "{message}: {largest} bytes");
    };
    refused(floats("layer.0.weight_scale", CHANNELS, 0.0), "layer.0.weight_scale has a scale");
    refused(floats("layer.0.weight_scale", 1, 0.01), "layer.0.weight_scale has shape");
    refused(floats("layer.0.bias", CHANNELS, 1e30), "layer.0 has a bias");
    refused(weight(Dtype::U8, 1), "layer.0.weight is U8, not F32 or F16");
    refused(("layer.0.weight", Dtype::F32, vec![CHANNELS], vec![0; 4 * CHANNELS]), "layer.0.weight has shape");
}

#[test]
fn a_bad_squeeze_excite_is_refused_before_there_is_room_for_its_weights() {
    let own = [
        ("depthwise.0.weight", Dtype::F32, vec![C, 1, 3, 3], vec![0; 4 * 9 * C]),
        floats("depthwise.0.bias", C, 0.0),
        ("se.fc1.weight", Dtype::I8, vec![N, C, 1, 1], vec![1; N * C]),
        floats("se.fc1.weight_scale", N, 0.01),
        floats("se.fc1.bias", N, 0.0),
        ("se.fc2.weight", Dtype::I8, vec![C, N, 1, 1], vec![1; N * C]),
        floats("se.fc2.weight_scale", C, 0.01),
        floats("se.fc2.bias", C, 0.0),
    ];
    let whole = only(&own);
    let source = SafeTensorsFile::new(&whole).unwrap();
    let input = Format::load(&source, "input", C).unwrap();
    let depthwise = module(C, C, 3).depthwise(&source, "depthwise", &input).unwrap();
    let load = |source: &SafeTensorsFile| SqueezeExcitation::load(source, "se", &depthwise, C, N);
    let (result, largest) = measured(&whole, load);
    assert_eq!(result, Ok(()));
    assert!(largest >= N * C, "{largest}");
    for (instead, message) in [
        (floats("se.fc1.weight_scale", N, 0.0), "se.fc1.weight_scale has a scale"),
        (floats("se.fc1.weight_scale", N, f32::INFINITY), "se.fc1.weight_scale holds inf"),
        (floats("se.fc1.weight_scale", 1, 0.01), "se.fc1.weight_scale has shape"),
        (floats("se.fc1.bias", 1, 0.0), "se.fc1.bias has shape"),
        (floats("se.output.scale", C, 0.01), "se.output.zero_point is missing"),
        (("se.fc1.weight", Dtype::I8, vec![N * C], vec![1; N * C]), "se.fc1.weight has shape"),
        (("se.fc1.weight", Dtype::U8, vec![N, C, 1, 1], vec![1; N * C]), "se.fc1.weight is U8, not F32 or F16"),
    ] {
        assert_early(&edited(&own, &[instead], ""), N * C, message, load);
    }
}

/// The layer is read as one that is always in f32.
#[test]
fn int8_weights_for_an_f32_name_are_refused_before_there_is_room_for_them() {
    let bytes = ("layer.0.weight", Dtype::I8, vec![N, C, 1, 1], vec![1; N * C]);
    let file = only(&[bytes, floats("layer.0.weight_scale", N, 0.01), floats("layer.0.bias", N, 0.0)]);
    let f32_only = "layer.0 is int8, but can only be f32";
    assert_early(&file, 4 * N * C, f32_only, |source| {
        let input = Format::load(source, "input", C)?.as_f32();
        module(C, N, 1).dense(source, "layer", &input)
    });
    let message = "layer.0.weight is I8, not F32 or F16";
    assert_early(&file, 4 * N * C, message, |source| source.f32("layer.0.weight", &[N, C, 1, 1]));
}
