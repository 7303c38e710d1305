//! Parameters and multiplications, against those that TorchVision publishes of its own weights.
#![cfg(feature = "cli")]

use mobilesight::macs::{Size, published_size};

fn counted(arch: &str) -> Size {
    published_size(arch).unwrap()
}

/// `num_params`, and `_ops` in thousands of millions to three digits, of torchvision's weights.
#[test]
fn models_without_shortcuts_have_torchvisions_counts() {
    for (arch, parameters, giga, sides) in [
        ("mobilenet_v3_large", 5_483_032, 0.217, 224),
        ("mobilenet_v3_small", 2_542_856, 0.057, 224),
        ("ssdlite320_mobilenet_v3_large", 3_440_060, 0.583, 320),
    ] {
        let size = counted(arch);
        assert_eq!((size.parameters, size.input), (parameters, (sides, sides)), "{arch}");
        let found = size.macs as f64 / 1e9;
        assert!((found - giga).abs() <= 0.0006, "{arch}: {found} of {giga}");
        assert_eq!(size.macs_per_proposal, None, "{arch}");
    }
}

/// LR-ASPP's classifier runs before its resize here, on fewer pixels. DeepLabV3's checkpoint has an auxiliary classifier, which
/// is not read: 40 channels to 10 by 3x3, BatchNorm, 10 to 21 classes.
#[test]
fn segmenters_compute_no_more_than_torchvisions() {
    for (arch, parameters, giga, least) in [
        ("lraspp_mobilenet_v3_large", 3_221_538, 2.086, 0.95),
        ("deeplabv3_mobilenet_v3_large", 11_029_328 - (40 * 10 * 9 + 20 + 10 * 21 + 21), 10.452, 0.99),
    ] {
        let size = counted(arch);
        let share = size.macs as f64 / 1e9 / giga;
        assert!((least..=1.001).contains(&share), "{arch}: {share} of {giga}");
        assert_eq!((size.parameters, size.input), (parameters, (520, 520)), "{arch}");
    }
}

/// `num_params` leaves out FrozenBatchNorm2d's weights and biases, which are buffers there.
#[test]
fn detectors_count_their_heads_for_a_proposal() {
    let (low, high) = (counted("fasterrcnn_mobilenet_v3_large_320_fpn"), counted("fasterrcnn_mobilenet_v3_large_fpn"));
    assert_eq!(low.parameters, high.parameters);
    assert!((19_386_354..19_386_354 + 30_000).contains(&low.parameters), "{}", low.parameters);
    // fc6, fc7, the classes, their boxes.
    let heads = 12_544 * 1024 + 1024 * 1024 + 1024 * 91 + 1024 * 4 * 91;
    assert_eq!((low.macs_per_proposal, high.macs_per_proposal), (Some(heads), Some(heads)));
    // 800 is two and a half times 320, but both are padded.
    let ratio = high.macs as f64 / low.macs as f64;
    assert!((6.0..6.5).contains(&ratio), "{ratio}");
}
