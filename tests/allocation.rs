//! A run after the first allocates nothing: every buffer comes from the workspace. With threads rayon allocates where it hands a job
//! to its pool, so this is of the engine alone.
#![cfg(not(feature = "threads"))]

mod generator;

use generator::GeneratedWeights;
use mobilesight::image::Image;
use mobilesight::models::registry::REGISTRY;
use mobilesight::models::{Options, Output};
use mobilesight::nn::Context;
use mobilesight::weights::Metadata;
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

// The same list runs in a browser.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Counts what this thread asks of the system's allocator.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(p, layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn a_run_after_the_first_allocates_nothing() {
    let rgba: Vec<u8> = (0..90 * 120 * 4).map(|i| (i * 7 % 251) as u8).collect();
    let image = Image::new(&rgba, 120, 90).unwrap();
    for row in REGISTRY {
        let metadata = Metadata {
            arch: row.arch.to_string(),
            labels: vec![String::new(); 7],
            config: json!({"representation_size": 32, "min_size": 128, "max_size": 256}),
            preset: if row.labels.lines().count() == 21 { json!({"resize": 96}) } else { Value::Null },
            source: None,
            license: None,
        };
        let model = (row.load)(&GeneratedWeights, &metadata).unwrap();
        let (mut cx, mut output) = (Context::default(), Output::default());
        let counts = [(); 3].map(|()| {
            let before = ALLOCATIONS.get();
            let input = model.preprocess(&mut cx, image);
            let size = input.size;
            let raw = model.forward(&mut cx, input, &Options::default());
            raw.postprocess(&mut cx, size, (image.height, image.width), &mut output);
            ALLOCATIONS.get() - before
        });
        assert!(counts[0] > 0, "the first run of {} allocates", row.arch);
        assert_eq!(counts[1..], [0, 0], "{}", row.arch);
    }
}
