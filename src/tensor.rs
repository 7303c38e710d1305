//! Activations: NHWC tensors with a halo, and the workspace that lends their memory. No arithmetic here.
//!
//! A halo of `p` pixels of zeros (zero points, for bytes) round a picture lets a convolution with padding `p` read every tap at a fixed offset
//! from its pixel: no border cases in a kernel and no im2col. The layer that writes a tensor writes the halo too.

use crate::nn::boxes::{Box2d, Candidate};

/// An activation, one picture, [h, w, c] in memory as [h + 2 halo, w + 2 halo, c]; f32, or u8 where it is quantised.
#[derive(Debug, Default)]
pub struct Tensor<T = f32> {
    data: Vec<T>,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels, the fastest dimension.
    pub c: usize,
    /// Pixels of zeros, or zero points, on each side.
    pub halo: usize,
}

impl<T: Copy> Tensor<T> {
    /// Elements from one row of pixels to the next.
    pub fn row_pitch(&self) -> usize {
        (self.w + 2 * self.halo) * self.c
    }

    /// Index in [`Tensor::data`] of the first channel of pixel (0, 0).
    pub fn origin(&self) -> usize {
        self.halo * (self.row_pitch() + self.c)
    }

    /// All elements, the halo included.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All elements, the halo included.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The channels of the pixels of row `y`, [w, c].
    pub fn row(&self, y: usize) -> &[T] {
        let start = self.origin() + y * self.row_pitch();
        &self.data[start..start + self.w * self.c]
    }

    /// The channels of the pixels of row `y`, [w, c].
    pub fn row_mut(&mut self, y: usize) -> &mut [T] {
        let start = self.origin() + y * self.row_pitch();
        let len = self.w * self.c;
        &mut self.data[start..start + len]
    }

    /// The picture without its halo, [h, w, c], copied.
    pub fn to_vec(&self) -> Vec<T> {
        (0..self.h).flat_map(|y| self.row(y)).copied().collect()
    }

    /// Calls `fill` with each run of halo pixels.
    fn fill_halo(&mut self, fill: impl Fn(&mut [T])) {
        let (pitch, edge) = (self.row_pitch(), self.halo * self.c);
        if edge == 0 {
            return;
        }
        let len = self.data.len();
        fill(&mut self.data[..self.halo * pitch]);
        fill(&mut self.data[len - self.halo * pitch..]);
        for y in 0..self.h {
            let row = &mut self.data[(y + self.halo) * pitch..][..pitch];
            fill(&mut row[..edge]);
            fill(&mut row[pitch - edge..]);
        }
    }
}

/// Buffers that nobody has, and the run in which each was given back.
type Free<T> = Vec<(Vec<T>, usize)>;

/// What a [`Workspace`] lends buffers of.
pub trait Element: Copy + Default {
    /// The workspace's free buffers of this type.
    #[doc(hidden)]
    fn free(workspace: &mut Workspace) -> &mut Free<Self>;
}

macro_rules! element {
    ($type:ty, $free:ident) => {
        impl Element for $type {
            fn free(workspace: &mut Workspace) -> &mut Free<$type> {
                &mut workspace.$free
            }
        }
    };
}
element!(f32, floats);
element!(u8, bytes);
element!(u32, sums);
element!(u64, keys);
element!(usize, indices);
element!(Box2d, boxes);
element!(Candidate, candidates);

/// `len` rounded up to an eighth of a power of two, 16 at least.
fn size_class(len: usize) -> usize {
    len.next_multiple_of((len.next_power_of_two() / 8).max(16))
}

/// Lends buffers and takes them back, so that a run after the first allocates nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Runs so far.
    run: usize,
    floats: Free<f32>,
    bytes: Free<u8>,
    sums: Free<u32>,
    keys: Free<u64>,
    indices: Free<usize>,
    boxes: Free<Box2d>,
    candidates: Free<Candidate>,
}

impl Workspace {
    /// A tensor of shape [h, w, c]: its halo is zero, its inside is whatever an earlier use left.
    pub fn tensor(&mut self, h: usize, w: usize, c: usize, halo: usize) -> Tensor {
        let mut tensor = self.unfilled(h, w, c, halo);
        tensor.fill_halo(|run| run.fill(0.0));
        tensor
    }

    /// A quantised tensor of shape [h, w, c]: its halo is the zero points [c], its inside is whatever an earlier use left.
    pub fn tensor_u8(&mut self, h: usize, w: usize, halo: usize, zero_point: &[u8]) -> Tensor<u8> {
        let mut tensor = self.unfilled(h, w, zero_point.len(), halo);
        tensor.fill_halo(|run| run.chunks_exact_mut(zero_point.len()).for_each(|p| p.copy_from_slice(zero_point)));
        tensor
    }

    fn unfilled<T: Element>(&mut self, h: usize, w: usize, c: usize, halo: usize) -> Tensor<T> {
        let data = self.take((h + 2 * halo) * (w + 2 * halo) * c);
        Tensor { data, h, w, c, halo }
    }

    /// A buffer of `len` elements with arbitrary contents: a free one of its size class, else a new one, for which those go that
    /// neither this run nor the last one had. So pictures of many shapes need no more than the memory of two.
    ///
    /// The smallest that fits would do with less memory, but a run's first request might then take what a later one needs.
    pub fn take<T: Element>(&mut self, len: usize) -> Vec<T> {
        let (free, class) = (T::free(self), size_class(len));
        let mut buffer = match free.iter().rposition(|(buffer, _)| buffer.capacity() == class) {
            Some(i) => free.swap_remove(i).0,
            None => {
                self.forget();
                Vec::with_capacity(class)
            }
        };
        buffer.resize(len, T::default());
        buffer
    }

    /// Frees the tensors that are older than the last run; other lists are small.
    fn forget(&mut self) {
        let run = self.run;
        self.floats.retain(|(_, last)| last + 1 >= run);
        self.bytes.retain(|(_, last)| last + 1 >= run);
    }

    /// Begins a run.
    pub fn next_run(&mut self) {
        self.run += 1;
    }

    /// An empty list with room for `capacity` elements.
    pub fn list<T: Element>(&mut self, capacity: usize) -> Vec<T> {
        let mut list = self.take(capacity);
        list.clear();
        list
    }

    /// Takes a buffer back.
    pub fn give<T: Element>(&mut self, buffer: Vec<T>) {
        let run = self.run;
        T::free(self).push((buffer, run));
    }

    /// Takes a tensor's memory back.
    pub fn give_tensor<T: Element>(&mut self, tensor: Tensor<T>) {
        self.give(tensor.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two shapes by turns need no new memory; what is older goes when memory is needed.
    #[test]
    fn the_workspace_keeps_what_the_last_run_had() {
        let mut ws = Workspace::default();
        let run = |ws: &mut Workspace, h: usize| {
            ws.next_run();
            let map = ws.tensor(h, 10, 8, 0);
            let address = map.data().as_ptr();
            ws.give_tensor(map);
            address
        };
        let first = [10, 20].map(|h| run(&mut ws, h));
        for _ in 0..3 {
            assert_eq!([10, 20].map(|h| run(&mut ws, h)), first);
        }
        run(&mut ws, 40);
        let kept: Vec<usize> = ws.floats.iter().map(|(buffer, _)| buffer.len()).collect();
        assert_eq!(kept, [1600, 3200], "the map of 10 rows is gone");
    }
}
