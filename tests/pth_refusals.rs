//! PyTorch's checkpoints: no file can do more than be refused.
#![cfg(feature = "cli")]

mod checkpoint;
#[allow(dead_code, reason = "its weights serve other tests")]
mod generator;

use checkpoint::{Pickle, View, archive, checkpoint, floats, state_dict, whole};
use generator::bits;
use mobilesight::Error;
use mobilesight::weights::{PthFile, StateDict, Weights};

fn refused(bytes: &[u8]) -> Error {
    PthFile::new(bytes).map(|file| file.tensors()).expect_err("refused")
}

/// A checkpoint of one tensor of two floats, under 1 KB.
fn small() -> Vec<u8> {
    checkpoint(&state_dict(&[("a.weight", whole(2))]), &[&floats(&[1.5, -2.0])])
}

#[test]
fn a_pickle_that_does_more_than_hold_tensors_is_refused() {
    let new = Pickle::new;
    let cases = [
        (new().global("os", "system").text("true").raw(b"\x85R"), "os.system"),
        (new().global("posix", "system"), "posix.system"),
        (new().global("builtins", "eval"), "builtins.eval"),
        (new().global("torch", "QInt8Storage"), "torch.QInt8Storage"),
        (new().global("argparse", "Namespace").raw(b")\x81"), "argparse.Namespace"),
        (new().text("os").text("system").raw(b"\x93"), "instruction 0x93"),
        (new().raw(b"ios\nsystem\n"), "instruction 0x69"),
        (new().raw(b"Pname\n"), "instruction 0x50"),
        (new().raw(b"\x82\x01"), "instruction 0x82"),
        (new().ordered_dict().raw(b")R"), "what is no function"),
        (new().global("collections", "OrderedDict").text("a").raw(b"R"), "what is no function"),
        (new().global("collections", "OrderedDict").text("a").raw(b"\x85R"), "1 arguments"),
        (new().global("torch", "FloatStorage").raw(b")R"), "0 arguments"),
        (new().global("torch._utils", "_rebuild_parameter").raw(b"NNN\x87R"), "3 arguments"),
        (new().global("torch._utils", "_rebuild_tensor_v2").raw(b"(NNNNNNtR"), "no storage"),
        (new().ordered_dict().raw(b"}").text("__class__").raw(b"Nsb"), "other attributes"),
        (new().ordered_dict().raw(b"Nb"), "no dict"),
        (new().text("a").raw(b"}").text("_metadata").raw(b"Nsb"), "no dict"),
        (new().text("os.system").raw(b"Q"), "no storage"),
        (new().raw(b"N").text("a").raw(b"Ns"), "no dict"),
        (new().raw(b"}(").text("a").raw(b"u"), "without a value"),
        (new().raw(b"}Na"), "no list"),
        (new().raw(b"(N\x86"), "did not put"),
        (new().raw(b"NN(\x86t"), "did not put"),
        (new().raw(b"t"), "did not set"),
        (new().raw(b"h\x05"), "value 5"),
        (new().raw(b"X\x02\0\0\0\xff\xfe"), "UTF-8"),
        (Pickle::new().raw(b"\x80\x04"), "protocol 4"),
    ];
    for (pickle, what) in cases {
        let error = refused(&checkpoint(&pickle.stop(), &[]));
        assert!(error.to_string().contains(what) && error.code() == "E_WEIGHTS_MISMATCH", "{what}: {error}");
    }
}

#[test]
fn lengths_beyond_the_pickle_are_truncations() {
    for end in
        [&b"X\xff\xff\xff\xffabc"[..], b"\x8a\xff\x01", b"J\0\0", b"G\0", b"ctorch\nFloat", b"ctorch", b"r\0", b"q"]
    {
        let error = refused(&checkpoint(&[b"\x80\x02", end].concat(), &[]));
        assert_eq!(error.code(), "E_WEIGHTS_TRUNCATED", "{end:?}: {error}");
    }
    let pickle = state_dict(&[("a", whole(2))]);
    for n in 0..pickle.len() {
        let error = refused(&checkpoint(&pickle[..n], &[&floats(&[1.0, 2.0])]));
        assert_eq!(error.code(), "E_WEIGHTS_TRUNCATED", "{n}: {error}");
    }
}

#[test]
fn bombs_and_cycles_end() {
    let many = |instruction: &[u8], n| Pickle::new().raw(&instruction.repeat(n)).stop();
    let memo: Vec<u8> = (0..300_000u32).flat_map(|i| [b"r".as_slice(), &i.to_le_bytes()].concat()).collect();
    // t = (t, t), time and again: 2^1000 leaves if they were copied.
    let doubled = |times| Pickle::new().raw(b"Nq\0").raw(&b"h\0\x86q\0".repeat(times)).stop();
    // A list of itself, a dictionary of itself under every wrapper's name.
    let itself = Pickle::new().raw(b"]q\0h\0a").stop();
    let wrapped = Pickle::new().raw(b"}q\0").text("model").raw(b"h\0s").text("state_dict").raw(b"h\0s").stop();
    for (pickle, what) in [
        (many(b"N", 100_000), "values on its stack"),
        (many(b"(", 100_000), "marks"),
        (many(b"(t0", 1), "instruction 0x30"),
        (many(b"](t", 300_000), "values on its stack"),
        (Pickle::new().raw(b"N").raw(&memo).stop(), "more memory than the file"),
        (doubled(100_000), "more memory than the file"),
        (doubled(1000), "no tensors by name"),
        (itself, "no tensors by name"),
        (wrapped, "no tensors by name"),
        (many(b"\x89", 5 << 20), "has a pickle of"),
    ] {
        let error = refused(&checkpoint(&pickle, &[]));
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
}

#[test]
fn a_tensor_stays_inside_its_storage() {
    let view = |offset, shape, strides| View { offset, shape, strides, ..whole(4) };
    for bad in [
        view(3, &[2], &[1]),
        view(0, &[2, 3], &[3, 1]),
        view(0, &[2], &[4]),
        view(0, &[1 << 40], &[0]),
        view(0, &[3, 3], &[1, 0]),
        view(0, &[1 << 40, 0], &[1, 1]),
        view(0, &[1 << 32, 1 << 32], &[0, 0]),
        view(0, &[2], &[i64::MAX]),
        view(i64::MAX, &[1], &[1]),
        view(-1, &[1], &[1]),
        view(0, &[-1], &[1]),
        view(0, &[2], &[-1]),
        view(0, &[2, 2], &[1]),
        view(0, &[1; 9], &[1; 9]),
        View { len: -4, ..view(0, &[1], &[1]) },
        View { len: i64::MAX, ..view(0, &[1], &[1]) },
        View { len: 5, ..view(0, &[1], &[1]) },
        View { kind: "DoubleStorage", ..view(0, &[1], &[1]) },
        View { key: "1", ..view(0, &[1], &[1]) },
        View { key: "../data.pkl", ..view(0, &[1], &[1]) },
    ] {
        let error = refused(&checkpoint(&state_dict(&[("a", bad)]), &[&floats(&[0.0; 4])]));
        assert_eq!(error.code(), "E_WEIGHTS_MISMATCH", "{error}");
    }
    // Each tensor fits, but together they would be many times the file.
    let names: Vec<_> = (0..64).map(|i| format!("tensor.{i}")).collect();
    let tensors: Vec<_> = names.iter().map(|name| (name.as_str(), whole(1 << 16))).collect();
    let all = |(name, view)| (name, View { shape: &[1 << 16], ..view });
    let tensors: Vec<_> = tensors.into_iter().map(all).collect();
    let error = refused(&checkpoint(&state_dict(&tensors), &[&floats(&[0.0; 1 << 16])]));
    assert!(error.to_string().contains("share a file"), "{error}");
}

#[test]
fn another_kind_of_file_says_what_to_do() {
    let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
    let script = archive(&[("x/data.pkl", b"\x80\x02}."), ("x/code/a.py", b""), ("x/constants.pkl", b"\x80\x02).")]);
    let big = archive(&[("x/data.pkl", b"\x80\x02}."), ("x/byteorder", b"big")]);
    for (bytes, what) in [
        (&legacy[..], "before torch 1.6"),
        (&script, "TorchScript"),
        (&big, "big-endian"),
        (&archive(&[("readme.txt", b"")]), "without data.pkl"),
        (b"<!doctype html>", "no zip archive"),
        (&[0; 100], "no zip archive"),
        (&checkpoint(b"\x80\x02}.", &[]), "no tensors by name"),
    ] {
        let error = refused(bytes);
        assert!(error.to_string().contains(what) && error.code() == "E_WEIGHTS_MISMATCH", "{what}: {error}");
    }
}

/// Sets the bytes at `field` after each header that begins with `signature` and is of data/0.
fn patch(bytes: &[u8], signature: &[u8], name_at: usize, field: usize, value: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for at in 0..bytes.len() {
        let is_header = bytes[at..].starts_with(signature);
        if is_header && bytes.get(at + name_at..).is_some_and(|name| name.starts_with(b"x/data/0")) {
            out[at + field..at + field + value.len()].copy_from_slice(value);
        }
    }
    assert_ne!(out, bytes, "a header was found");
    out
}

#[test]
fn records_with_wrong_sizes_offsets_checksums_or_methods_are_refused() {
    let local = |field, value: &[u8]| patch(&small(), b"PK\x03\x04", 30, field, value);
    let central = |field, value: &[u8]| patch(&small(), b"PK\x01\x02", 46, field, value);
    let sizes = [0u32, 4, 9, 1 << 20, u32::MAX];
    let both = sizes.map(|n| central(20, &[n.to_le_bytes(), n.to_le_bytes()].concat()));
    for bytes in both.into_iter().chain(sizes.map(|n| central(24, &n.to_le_bytes()))) {
        refused(&bytes);
    }
    refused(&central(16, b"\0\0\0\0"));
    assert!(refused(&central(42, b"\0\0\0\0")).to_string().contains("overlap"));
    refused(&local(0, b"PK\0\0"));
    refused(&local(26, b"\xff\xff"));
    for method in [8u16, 12, 14, 93, 99] {
        let error = refused(&central(10, &method.to_le_bytes()));
        assert!(error.to_string().contains("torch.save does not write"), "{error}");
    }
    let mut flipped = small();
    let at = flipped.windows(4).position(|w| w == 1.5f32.to_le_bytes()).unwrap();
    flipped[at] ^= 1;
    assert_eq!(refused(&flipped).code(), "E_WEIGHTS_TRUNCATED");
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let bytes = small();
    for n in 0..bytes.len() {
        let error = refused(&bytes[..n]);
        assert_eq!(error.code(), "E_WEIGHTS_TRUNCATED", "{n} of {}: {error}", bytes.len());
    }
}

/// Reads what can be read.
fn exercise(bytes: &[u8]) -> bool {
    let Ok(file) = PthFile::new(bytes) else { return false };
    for tensor in file.tensors() {
        let values = file.f32(&tensor.name, &tensor.shape).map_or(0, |values| values.len());
        assert!(values <= bytes.len(), "{} of {values} elements in {} bytes", tensor.name, bytes.len());
    }
    true
}

/// `bytes` with one to four of them changed, by the generator's next values.
fn mutated(bytes: &[u8], random: &mut impl Iterator<Item = u64>) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut next = || random.next().expect("enough values") as usize;
    for _ in 0..next() % 4 + 1 {
        let at = next() % out.len();
        out[at] = match next() % 3 {
            0 => out[at] ^ (1 << (next() % 8)),
            1 => bytes[next() % bytes.len()],
            _ => next() as u8,
        };
    }
    out
}

#[test]
fn mutated_files_neither_panic_nor_hang() {
    const ROUNDS: usize = 4000;
    let views = [("a", whole(4)), ("b.c", View { offset: 1, shape: &[3, 1], strides: &[1, 3], ..whole(4) })];
    let (pickle, storage) = (state_dict(&views), floats(&[1.0, 2.0, 3.0, 4.0]));
    let file = checkpoint(&pickle, &[&storage]);
    let mut random = bits("mutations", ROUNDS * 40);
    let archives = (0..ROUNDS).filter(|_| exercise(&mutated(&file, &mut random))).count();
    // The archive's checksum would hide what becomes of a changed pickle.
    let pickles = (0..ROUNDS).filter(|_| exercise(&checkpoint(&mutated(&pickle, &mut random), &[&storage]))).count();
    for read in [archives, pickles] {
        assert!((1..ROUNDS).contains(&read), "{read} of {ROUNDS} were read: some mutations are harmless, some are not");
    }
}
