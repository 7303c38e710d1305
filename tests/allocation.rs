//! A run after the first allocates nothing: every buffer comes from the workspace. With threads rayon allocates where it hands a job
//! to its pool, so this is of the engine alone.
#![cfg(not(feature = "threads"))]

mod generator;
#[cfg(feature = "cli")]
#[allow(dead_code, reason = "its runs serve other tests")]
mod quantised;
mod whole;

use generator::GeneratedWeights;
use mobilesight::image::Image;
use mobilesight::models::registry::REGISTRY;
use mobilesight::models::{Model, Options, Output};
use mobilesight::nn::Context;
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

/// How often each of three runs asks for memory.
fn counts(model: &dyn Model) -> [usize; 3] {
    let rgba = whole::rgba();
    let image = Image::new(&rgba, whole::SIZE.0, whole::SIZE.1).unwrap();
    let (mut cx, mut output) = (Context::default(), Output::default());
    [(); 3].map(|()| {
        let before = ALLOCATIONS.get();
        let input = model.preprocess(&mut cx, image);
        let size = input.size;
        let raw = model.forward(&mut cx, input, &Options::default());
        raw.postprocess(&mut cx, size, (image.height, image.width), &mut output);
        ALLOCATIONS.get() - before
    })
}

fn check(model: &dyn Model, what: &str) {
    let counts = counts(model);
    assert!(counts[0] > 0, "the first run of {what} allocates");
    assert_eq!(counts[1..], [0, 0], "{what}");
}

#[test]
fn a_run_after_the_first_allocates_nothing() {
    for row in REGISTRY {
        let model = (row.load)(&GeneratedWeights, &whole::metadata(row.arch)).unwrap();
        check(&*model, row.arch);
    }
}

/// The quantiser's models; TorchVision's own int8 is above.
#[cfg(feature = "cli")]
#[test]
fn a_run_in_int8_after_the_first_allocates_nothing() {
    use mobilesight::weights::SafeTensorsFile;
    for row in REGISTRY.iter().filter(|row| row.quantised().is_none()) {
        let file = quantised::int8_file(row.arch);
        let source = SafeTensorsFile::new(&file).unwrap();
        let model = (row.load)(&source, &source.metadata().unwrap().unwrap()).unwrap();
        check(&*model, &format!("{} in int8", row.arch));
    }
}
