//! A checkpoint's pickle takes no more memory than the file has bytes, whatever it makes of them.
#![cfg(feature = "cli")]

#[allow(dead_code, reason = "its tensors serve other tests")]
mod checkpoint;

use checkpoint::{Pickle, archive, checkpoint, whole};
use mobilesight::weights::{PthFile, StateDict};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what this thread holds, and the most that it held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    MOST.set(MOST.get().max(HELD.get()));
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that reading `file` took, and whether it was read.
fn measured(file: &[u8]) -> (usize, bool) {
    MOST.set(HELD.get());
    let before = HELD.get();
    let is_read = PthFile::new(file).map(|file| file.tensors()).is_ok();
    (usize::try_from(MOST.get() - before).unwrap(), is_read)
}

/// What a small file may take: the values of the family's longest state_dict, and the stack.
const LEAST: usize = 5 << 20;

#[test]
fn no_pickle_takes_more_memory_than_its_file() {
    let repeated = |start: Pickle, part: &[u8], times: usize| start.raw(&part.repeat(times)).stop();
    let new = Pickle::new;
    // A thousand of a kind, and away with them.
    let thousand = |part: &[u8]| [b"(".as_slice(), &part.repeat(1000), b"tq\0"].concat();
    let memo: Vec<u8> = (0..700_000u32).flat_map(|i| [b"r".as_slice(), &i.to_le_bytes()].concat()).collect();
    let tensor = || new().tensor(&whole(2)).raw(b"q\0").int(0).raw(b"q\x01)q\x02");
    let arguments = tensor().global("torch._utils", "_rebuild_tensor_v2").raw(b"q\x03((").text("storage");
    let arguments = arguments.global("torch", "FloatStorage").text("0").text("cpu").int(2).raw(b"tQ");
    let arguments =
        arguments.raw(b"K\0(").raw(&b"K\x01".repeat(8)).raw(b"t(").raw(&b"K\x01".repeat(8)).raw(b"tNNtq\x04");
    let names: Vec<u8> = (0..250_000u32)
        .flat_map(|i| {
            let name = format!("{i:x}");
            [b"X".as_slice(), &(name.len() as u32).to_le_bytes(), name.as_bytes(), b"h\0s"].concat()
        })
        .collect();
    for (what, pickle) in [
        ("empty tuples", repeated(new(), &thousand(b")"), 4000)),
        ("empty lists", repeated(new(), &thousand(b"]"), 4000)),
        ("empty dictionaries", repeated(new(), &thousand(b"}"), 4000)),
        ("numbers", repeated(new(), &thousand(b"K\0"), 2000)),
        ("nothing", repeated(new(), &thousand(b"N"), 4000)),
        ("tuples of one", repeated(new(), &thousand(b"N\x85"), 2000)),
        ("lists of one", repeated(new(), &thousand(b"]Na"), 1300)),
        ("a growing list", repeated(new().raw(b"]"), b"Na", 2_000_000)),
        ("a growing dictionary", repeated(new().raw(b"}"), b"NNs", 1_300_000)),
        ("a memo", new().raw(b"N").raw(&memo).stop()),
        ("tensors", repeated(arguments, &thousand(b"h\x03h\x04R"), 800)),
        ("tensors by name", tensor().raw(b"}").raw(&names).stop()),
        ("a long name of a module", new().global(&"m".repeat(4_000_000), "f").stop()),
        ("long keys", repeated(new().raw(b"}").text(&"\n".repeat(4_000_000)).raw(b"q\0NsN"), b"", 0)),
    ] {
        for storage in [8, 4_000_000, 12_000_000] {
            let file = checkpoint(&pickle, &[&vec![0; storage]]);
            let (most, _) = measured(&file);
            assert!(most <= file.len().max(LEAST), "{what}: {most} bytes for a file of {}", file.len());
        }
    }
}

#[test]
fn an_archive_of_many_records_takes_no_more_either() {
    let names: Vec<String> = (0..100_000).map(|i| format!("x/{i}")).collect();
    let records: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), [].as_slice())).collect();
    for count in [8_000, 100_000] {
        let file = archive(&records[..count]);
        let (most, is_read) = measured(&file);
        assert!(!is_read && most <= file.len().max(LEAST), "{most} bytes for a file of {}", file.len());
    }
}

#[test]
fn a_checkpoint_of_many_small_tensors_is_read() {
    let file = std::fs::read("tests/golden/mobilenet_v3_large_w035_qat.pth").unwrap();
    let (most, is_read) = measured(&file);
    assert!(is_read && most < file.len(), "{most} bytes for a file of {}", file.len());
}
