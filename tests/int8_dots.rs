//! An int8 model gives the same integers however the CPU's dot of bytes is, and with any number of threads. A file of its own: which
//! dot is simulated is one setting for all threads of the process.
#![cfg(feature = "cli")]

mod generator;
mod quantised;

use mobilesight::simd::{ByteDotAnswer, DotKind, simulate_byte_dot};
use quantised::{int8_file, run_file};

#[test]
fn every_dot_and_any_number_of_threads_give_the_same_integers() {
    for arch in ["fasterrcnn_mobilenet_v3_large_320_fpn", "lraspp_mobilenet_v3_large", "mobilenet_v3_small"] {
        let file = int8_file(arch);
        let want = run_file(&file).0;
        for (answer, kind) in [
            (ByteDotAnswer::Unsigned, DotKind::I8Unsigned),
            (ByteDotAnswer::Signed, DotKind::I8Signed),
            (ByteDotAnswer::Saturating, DotKind::I16),
        ] {
            simulate_byte_dot(answer);
            assert_eq!(DotKind::of_engine(), kind, "{answer:?}");
            assert_eq!(run_file(&file).0, want, "{arch}, {answer:?}");
        }
        simulate_byte_dot(ByteDotAnswer::None);
        #[cfg(feature = "threads")]
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| run_file(&file).0), want, "{arch}, {threads} threads");
        }
    }
}
