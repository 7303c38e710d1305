//! Writes checkpoints as torch.save does, and as it does not.

use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A pickle under construction; each method appends what CPython's pickler writes for such a value.
pub struct Pickle(Vec<u8>);

/// A tensor's place in a storage.
pub struct View<'a> {
    /// The storage's type, as FloatStorage.
    pub kind: &'a str,
    /// The storage's record.
    pub key: &'a str,
    /// The storage's elements.
    pub len: i64,
    pub offset: i64,
    pub shape: &'a [i64],
    pub strides: &'a [i64],
}

/// A view of all of storage 0, which has `len` floats.
pub fn whole(len: i64) -> View<'static> {
    View { kind: "FloatStorage", key: "0", len, offset: 0, shape: &[2], strides: &[1] }
}

impl Pickle {
    /// A pickle of protocol 2.
    pub fn new() -> Pickle {
        Pickle(b"\x80\x02".to_vec())
    }

    /// Instructions as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Pickle {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, text: &str) -> Pickle {
        let n = u32::try_from(text.len()).expect("a short text");
        self.raw(b"X").raw(&n.to_le_bytes()).raw(text.as_bytes())
    }

    /// By the shortest instruction.
    pub fn int(self, value: i64) -> Pickle {
        match (u8::try_from(value), u16::try_from(value), i32::try_from(value)) {
            (Ok(b), ..) => self.raw(&[b'K', b]),
            (_, Ok(h), _) => self.raw(b"M").raw(&h.to_le_bytes()),
            (.., Ok(i)) => self.raw(b"J").raw(&i.to_le_bytes()),
            _ => self.raw(b"\x8a\x08").raw(&value.to_le_bytes()),
        }
    }

    pub fn ints(self, values: &[i64]) -> Pickle {
        values.iter().fold(self.raw(b"("), |pickle, v| pickle.int(*v)).raw(b"t")
    }

    pub fn global(self, module: &str, name: &str) -> Pickle {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    /// collections.OrderedDict().
    pub fn ordered_dict(self) -> Pickle {
        self.global("collections", "OrderedDict").raw(b")R")
    }

    pub fn tensor(self, view: &View) -> Pickle {
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"((")
            .text("storage")
            .global("torch", view.kind)
            .text(view.key)
            .text("cpu")
            .int(view.len)
            .raw(b"tQ")
            .int(view.offset)
            .ints(view.shape)
            .ints(view.strides)
            .raw(b"\x89")
            .ordered_dict()
            .raw(b"tR")
    }

    /// The finished pickle.
    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// The pickle of {`name`: tensor, …}.
pub fn state_dict(tensors: &[(&str, View)]) -> Vec<u8> {
    let start = Pickle::new().ordered_dict().raw(b"(");
    tensors.iter().fold(start, |pickle, (name, view)| pickle.text(name).tensor(view)).raw(b"u").stop()
}

/// A zip archive of stored records.
pub fn archive(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, data) in records {
        zip.start_file(*name, stored).expect("a new record");
        zip.write_all(data).expect("memory");
    }
    zip.finish().expect("a whole archive").into_inner()
}

/// A checkpoint of a pickle and of storages 0, 1, …
pub fn checkpoint(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let names: Vec<_> = (0..storages.len()).map(|i| format!("x/data/{i}")).collect();
    let mut records = vec![("x/data.pkl", pickle), ("x/byteorder", b"little")];
    records.extend(names.iter().map(String::as_str).zip(storages.iter().copied()));
    archive(&records)
}

/// The little-endian bytes of floats.
pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}
