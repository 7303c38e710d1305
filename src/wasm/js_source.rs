//! A model's file or a picture as JavaScript hands it over.

use crate::source::Source;
use js_sys::Uint8Array;

/// Bytes in JavaScript's memory, in the parts in which they came, not copied into one; where each begins, and where the last one ends.
pub(super) struct JsSource {
    parts: Vec<Uint8Array>,
    starts: Vec<usize>,
}

impl JsSource {
    pub(super) fn new(parts: Vec<Uint8Array>) -> JsSource {
        let mut starts = vec![0];
        starts.extend(parts.iter().scan(0, |end, part| {
            *end += part.length() as usize;
            Some(*end)
        }));
        JsSource { parts, starts }
    }
}

impl Source for JsSource {
    fn len(&self) -> usize {
        self.starts[self.parts.len()]
    }

    fn read(&self, mut offset: usize, mut into: &mut [u8]) {
        let mut part = self.starts.partition_point(|start| *start <= offset) - 1;
        while !into.is_empty() {
            let first = offset - self.starts[part];
            let count = into.len().min(self.starts[part + 1] - offset);
            let (now, rest) = into.split_at_mut(count);
            self.parts[part].subarray(first as u32, (first + count) as u32).copy_to(now);
            (offset, into, part) = (offset + count, rest, part + 1);
        }
    }
}
