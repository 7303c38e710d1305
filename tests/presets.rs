//! TorchVision's presets on real pictures, against its own transforms: tests/golden/README.md.

mod generator;

use generator::{GeneratedWeights, bits};
use mobilesight::image::Image;
use mobilesight::models::Model;
use mobilesight::models::classification::ClassifierConfig;
use mobilesight::models::detection::faster_rcnn::FasterRcnnConfig;
use mobilesight::models::detection::ssdlite::{Ssdlite, SsdliteConfig};
use mobilesight::models::detection::transform::transform;
use mobilesight::models::segmentation::SegmentationConfig;
use mobilesight::models::segmentation::lraspp::LrasppConfig;
use mobilesight::nn::{Context, Map};
use mobilesight::preprocess::{STD, classification, segmentation};
use mobilesight::tensor::Tensor;
use safetensors::SafeTensors;

// The same list runs in a browser.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// A wide picture and a tall one.
const PICTURES: [(&str, &[u8]); 2] = [
    ("china", include_bytes!("../www/samples/china.png")),
    ("grace_hopper", include_bytes!("../www/samples/grace_hopper.png")),
];

/// The step between two values of 8 bits.
const STEP: f32 = 1.0 / 255.0;
/// f32 in another order, in steps.
const ROUNDING: f32 = 0.01;

/// What TorchVision makes of a picture.
struct Golden {
    /// [1, 3, h, w].
    shape: Vec<usize>,
    /// Indices in that order, and the values there.
    samples: Vec<(usize, f32)>,
}

impl Golden {
    fn new(name: &str) -> Golden {
        let file = SafeTensors::deserialize(include_bytes!("golden/presets.safetensors")).expect("a golden file");
        let bytes = |leaf: &str| file.tensor(&format!("{name}.{leaf}")).expect("a golden").data().to_vec();
        let shape = bytes("shape").as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as usize).collect::<Vec<_>>();
        let samples: Vec<f32> = bytes("samples").as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let numel: usize = shape.iter().product();
        let seed = format!("sample.{name}");
        let indices = bits(&seed, samples.len()).map(|i| (i % numel as u64) as usize);
        Golden { samples: indices.zip(samples).collect(), shape }
    }

    /// How far `tensor` is from it at each sample.
    fn distances(&self, tensor: &Tensor) -> Vec<f32> {
        assert_eq!(self.shape, [1, 3, tensor.h, tensor.w]);
        let (plane, values) = (tensor.h * tensor.w, tensor.to_vec());
        self.samples.iter().map(|(i, want)| (values[i % plane * 3 + i / plane] - want).abs()).collect()
    }
}

/// What `preset` makes of every picture, normalised by a deviation of `std` or more, is within `steps` of TorchVision's, and
/// all but a hundredth of its values are equal but for rounding.
fn check(name: &str, std: f32, steps: f32, preset: impl Fn(&mut Context, Image) -> Map) {
    for (picture, bytes) in PICTURES {
        let rgba = image::load_from_memory(bytes).expect("a PNG").to_rgba8();
        let image = Image::new(rgba.as_raw(), rgba.width() as usize, rgba.height() as usize).expect("a picture");
        let tensor = preset(&mut Context::default(), image).into_f32(&mut Context::default());
        let distances = Golden::new(&format!("{name}.{picture}")).distances(&tensor);
        let furthest = distances.iter().copied().fold(0.0, f32::max);
        assert!(furthest <= (steps + ROUNDING) * STEP / std, "{name}.{picture}: {furthest}");
        let equal = distances.iter().filter(|d| **d <= ROUNDING * STEP / std).count();
        assert!(equal * 100 >= distances.len() * 99, "{name}.{picture}: {equal} of {} are equal", distances.len());
    }
}

/// Pillow, which the presets call, and torch widen the triangle filter in other fixed-point numbers: one value in some hundred
/// is a step off, and none is more.
fn check_antialiased(name: &str, preset: impl Fn(&mut Context, Image) -> Map) {
    check(name, STD[1], 1.0, preset);
}

#[test]
fn classifiers_resize_and_crop() {
    let (large, small) = (ClassifierConfig::mobilenet_v3_large(1000), ClassifierConfig::mobilenet_v3_small(1000));
    check_antialiased("classification.232.224", |cx, image| classification(cx, image, large.resize, large.crop, None));
    check_antialiased("classification.256.224", |cx, image| classification(cx, image, small.resize, small.crop, None));
}

#[test]
fn segmenters_resize() {
    let lraspp = LrasppConfig::lraspp_mobilenet_v3_large(21).resize;
    assert_eq!(SegmentationConfig::mobilenet_v3_large(21).resize, lraspp, "one preset for all three");
    check_antialiased("segmentation.520", |cx, image| segmentation(cx, image, lraspp, None));
    check_antialiased("segmentation.320", |cx, image| segmentation(cx, image, 320, None));
}

#[test]
fn faster_rcnns_resize_between_two_sides_and_pad() {
    let low = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_320_fpn(91);
    let high = FasterRcnnConfig::fasterrcnn_mobilenet_v3_large_fpn(91);
    let resized = |config: FasterRcnnConfig| {
        move |cx: &mut Context, image: Image| transform(cx, image, (config.min_size, config.max_size), None).map
    };
    check("detection.320.640", STD[1], 0.0, resized(low));
    check("detection.800.1333", STD[1], 0.0, resized(high));
}

#[test]
fn ssdlite_resizes_to_a_square_of_its_own_range() {
    let config = SsdliteConfig::ssdlite320_mobilenet_v3_large(91);
    let model = Ssdlite::load(&GeneratedWeights, config).expect("generated weights fit");
    check("detection.ssd", 0.5, 0.0, |cx, image| model.preprocess(cx, image).map);
}
