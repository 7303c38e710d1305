//! An int8 model gives the same integers however the CPU's dot of bytes is, and with any number of threads. A file of its own: which
//! dot is simulated is one setting for all threads of the process.
#![cfg(feature = "cli")]

mod generator;
mod quantised;

use mobilesight::simd::{ByteDotAnswer, DotKind, simulate_byte_dot};
use quantised::{int8_file, run_file};

/// TorchVision's quantised classifier, whose weights may be -128.
fn qnnpack_file() -> Vec<u8> {
    let path = format!("{}/tests/golden/quantized_mobilenet_v3_large_w035.safetensors", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Three models of ours, and QNNPACK's.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let ours = ["fasterrcnn_mobilenet_v3_large_320_fpn", "lraspp_mobilenet_v3_large", "mobilenet_v3_small"];
    let ours = ours.map(|arch| (arch, int8_file(arch)));
    ours.into_iter().chain([("quantized_mobilenet_v3_large", qnnpack_file())]).collect()
}

#[test]
fn every_dot_and_any_number_of_threads_give_the_same_integers() {
    for (arch, file) in files() {
        let result = || {
            let (activations, output) = run_file(&file);
            (activations, output.classes)
        };
        let want = result();
        for (answer, kind) in [
            (ByteDotAnswer::Unsigned, DotKind::I8Unsigned),
            (ByteDotAnswer::Signed, DotKind::I8Signed),
            (ByteDotAnswer::Saturating, DotKind::I16),
        ] {
            simulate_byte_dot(answer);
            assert_eq!(DotKind::of_engine(), kind, "{answer:?}");
            assert_eq!(result(), want, "{arch}, {answer:?}");
        }
        simulate_byte_dot(ByteDotAnswer::None);
        #[cfg(feature = "threads")]
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(result), want, "{arch}, {threads} threads");
        }
    }
}
