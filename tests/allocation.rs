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
    /// Bytes that are allocated.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

fn count(freed: usize, allocated: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + usize::from(allocated > 0));
    // What another thread allocated may be freed here.
    HELD.set(HELD.get().saturating_sub(freed) + allocated);
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(0, layout.size());
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        count(layout.size(), 0);
        // SAFETY: the caller's.
        unsafe { System.dealloc(p, layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), size);
        // SAFETY: the caller's.
        unsafe { System.realloc(p, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn run(model: &dyn Model, cx: &mut Context, output: &mut Output, image: Image) {
    let input = model.preprocess(cx, image);
    let size = input.size;
    let raw = model.forward(cx, input, &Options::default());
    raw.postprocess(cx, size, (image.height, image.width), output);
}

/// How often each of three runs asks for memory.
fn check(model: &dyn Model, what: &str) {
    let rgba = whole::rgba(whole::SIZE);
    let image = Image::new(&rgba, whole::SIZE.0, whole::SIZE.1).unwrap();
    let (mut cx, mut output) = (Context::default(), Output::default());
    let counts = [(); 3].map(|()| {
        let before = ALLOCATIONS.get();
        run(model, &mut cx, &mut output, image);
        ALLOCATIONS.get() - before
    });
    assert!(counts[0] > 0, "the first run of {what} allocates");
    assert_eq!(counts[1..], [0, 0], "{what}");
}

/// A small model of each architecture.
fn models() -> impl Iterator<Item = (&'static str, Box<dyn Model>)> {
    REGISTRY.iter().map(|row| (row.arch, (row.load)(&GeneratedWeights, &whole::metadata(row.arch)).unwrap()))
}

#[test]
fn a_run_after_the_first_allocates_nothing() {
    for (arch, model) in models() {
        check(&*model, arch);
    }
}

/// The quantiser's models; TorchVision's own int8 is above.
#[cfg(feature = "cli")]
#[test]
fn a_run_in_int8_after_the_first_allocates_nothing() {
    use mobilesight::models::registry::entry;
    use mobilesight::weights::SafeTensorsFile;
    let checked = |file: Vec<u8>, what: &str| {
        let source = SafeTensorsFile::new(&file).unwrap();
        let metadata = source.metadata().unwrap().unwrap();
        check(&*(entry(&metadata.arch).unwrap().load)(&source, &metadata).unwrap(), what);
    };
    for row in REGISTRY.iter().filter(|row| row.quantised().is_none()) {
        checked(quantised::int8_file(row.arch), &format!("{} in int8", row.arch));
    }
    // Its depthwise layer writes floats, whose mean the gate takes itself.
    let arch = "lraspp_mobilenet_v3_large";
    checked(quantised::int8_file_but(arch, &["backbone.4.block.3"]), "a projection in f32 behind an int8 gate");
}

/// From narrow to wide: buffers of every size class were kept for ever.
#[test]
fn pictures_of_many_shapes_need_the_memory_of_two() {
    let pictures: Vec<_> = (0..16).map(|i| 60 + 4 * i).map(|width| (width, whole::rgba((width, 60)))).collect();
    let images = || pictures.iter().map(|(width, rgba)| Image::new(rgba, *width, 60).unwrap());
    for (arch, model) in models() {
        let held = |images: &mut dyn Iterator<Item = Image>| {
            let (mut cx, mut output) = (Context::default(), Output::default());
            let before = HELD.get();
            let held = images.map(|image| {
                run(&*model, &mut cx, &mut output, image);
                HELD.get() - before
            });
            held.max().unwrap()
        };
        let (widest, all) = (held(&mut images().skip(15)), held(&mut images()));
        assert!(all <= 2 * widest, "{arch} holds {all} bytes after many shapes, {widest} after the widest alone");
    }
}
