//! Activations: NHWC tensors with a halo, and the workspace that lends their memory. No arithmetic here.
//!
//! A halo of `p` pixels of zeros (zero points, for bytes) round a picture lets a convolution with padding `p` read every tap at a fixed offset
//! from its pixel: no border cases in a kernel and no im2col. The layer that writes a tensor writes the halo too.

use crate::aligned::Aligned;
use crate::nn::boxes::{Box2d, Candidate};
use bytemuck::Pod;
use std::ops::{Deref, DerefMut};

/// An activation, one picture, [h, w, c] in memory as [h + 2 halo, w + 2 halo, c]; f32, or u8 where it is quantised.
#[derive(Debug, Default)]
pub struct Tensor<T = f32> {
    data: Buffer<T>,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels, the fastest dimension.
    pub c: usize,
    /// Pixels of zeros, or zero points, on each side.
    pub halo: usize,
}

impl<T> Tensor<T> {
    /// Elements from one row of pixels to the next.
    pub fn row_pitch(&self) -> usize {
        (self.w + 2 * self.halo) * self.c
    }

    /// Index in [`Tensor::data`] of the first channel of pixel (0, 0).
    pub fn origin(&self) -> usize {
        self.halo * (self.row_pitch() + self.c)
    }
}

impl<T: Element> Tensor<T> {
    /// All elements, the halo included.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All elements, the halo included.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The channels of the pixels of row `y`, [w, c]. A call, as [`Tensor::row_mut`]: its checks at each use are 3 kB of the engine, compressed.
    #[inline(never)]
    pub fn row(&self, y: usize) -> &[T] {
        let start = self.origin() + y * self.row_pitch();
        &self.data[start..start + self.w * self.c]
    }

    /// The channels of the pixels of row `y`, [w, c].
    #[inline(never)]
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

/// Elements that a [`Workspace`] lends.
#[derive(Debug, Default)]
pub struct Buffer<T = f32> {
    all: Aligned<T>,
    /// How many of them were asked for: no more than there are.
    len: usize,
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.all[..self.len]
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.all[..self.len]
    }
}

/// Buffers that nobody has, and the run in which each was given back.
type Free<T> = Vec<(Buffer<T>, usize)>;

/// What a [`Workspace`] lends buffers of.
pub trait Element: Pod {
    /// The workspace's free buffers of this type.
    #[doc(hidden)]
    fn free(workspace: &mut Workspace) -> &mut Free<Self>;
}

/// What a [`Workspace`] lends lists of.
pub trait Item: Sized {
    /// The workspace's free lists of this type.
    #[doc(hidden)]
    fn free(workspace: &mut Workspace) -> &mut Vec<Vec<Self>>;
}

macro_rules! lends {
    ($trait:ident, $free:ty, $($type:ty: $field:ident),*) => {
        $(impl $trait for $type {
            fn free(workspace: &mut Workspace) -> &mut $free {
                &mut workspace.$field
            }
        })*
    };
}
lends!(Element, Free<Self>, f32: floats, u8: bytes, u32: sums);
lends!(Item, Vec<Vec<Self>>, u64: keys, usize: indices, Box2d: boxes, Candidate: candidates);

/// `len` rounded up to an eighth of a power of two, 16 at least.
fn size_class(len: usize) -> usize {
    len.max(1).next_multiple_of((len.next_power_of_two() / 8).max(16))
}

/// Maps are what a large picture needs most memory for: where there is none, that is what is said, and not that something is broken.
#[cold]
fn out_of_memory() -> ! {
    #[cfg(target_arch = "wasm32")]
    crate::wasm::throw_out_of_memory();
    #[cfg(not(target_arch = "wasm32"))]
    panic!("out of memory: give a smaller picture");
}

/// How many times as large as needed a buffer may be that is not planned: without a bound the small requests would keep the large ones busy.
const MOST_OVER: usize = 4;

/// Which buffer each request of a run got the last time. Of the free ones the smallest that fits does with the least memory, but a run's first request
/// might take what a later one needs: so a run like the last one repeats its choices, and needs no new memory. A buffer that gave way to a larger one
/// was free then, so that the larger one can do for both all the time.
#[derive(Debug, Default)]
struct Plan {
    /// Requests of this run.
    requests: usize,
    /// Where the buffers lie.
    addresses: Vec<usize>,
}

impl Plan {
    /// Where the buffer lies that the next request got the last time.
    #[inline(never)]
    fn next(&self) -> Option<usize> {
        self.addresses.get(self.requests).copied()
    }

    /// Index among the `free` buffers, (size, address) each, of the one for a request of `class` elements: the `planned` one, else the smallest that
    /// fits; where none does, of the largest that is too small.
    #[inline(never)]
    fn choose(planned: Option<usize>, class: usize, free: &mut dyn Iterator<Item = (usize, usize)>) -> Option<usize> {
        let rank = |(size, address)| match size {
            _ if size < class => Some(usize::MAX - size),
            _ if Some(address) == planned => Some(0),
            _ => (size <= MOST_OVER * class).then_some(size),
        };
        let ranks = free.enumerate().filter_map(|(i, buffer)| Some((rank(buffer)?, i)));
        ranks.min().map(|(_, i)| i)
    }

    /// Notes what the request got.
    #[inline(never)]
    fn note(&mut self, address: usize) {
        match self.addresses.get_mut(self.requests) {
            Some(planned) => *planned = address,
            None => self.addresses.push(address),
        }
        self.requests += 1;
    }

    /// Has what lies at `to` do for what lay at `from`.
    #[inline(never)]
    fn replace(&mut self, from: usize, to: usize) {
        self.addresses.iter_mut().filter(|address| **address == from).for_each(|address| *address = to);
    }
}

/// Lends memory and takes it back, so that a run after the first allocates nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Runs so far.
    run: usize,
    plan: Plan,
    floats: Free<f32>,
    bytes: Free<u8>,
    sums: Free<u32>,
    keys: Vec<Vec<u64>>,
    indices: Vec<Vec<usize>>,
    boxes: Vec<Vec<Box2d>>,
    candidates: Vec<Vec<Candidate>>,
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
        let sides = [h + 2 * halo, w + 2 * halo, c];
        let len = sides.into_iter().try_fold(1, usize::checked_mul).unwrap_or_else(|| out_of_memory());
        let data = self.take(len);
        Tensor { data, h, w, c, halo }
    }

    /// A buffer of `len` elements with arbitrary contents: a free one that is not much larger, else a new one, for which the largest of the smaller
    /// ones goes, and those that neither this run nor the last one had.
    pub fn take<T: Element>(&mut self, len: usize) -> Buffer<T> {
        let (class, planned) = (size_class(len), self.plan.next());
        let free = T::free(self);
        let address = |all: &[T]| all.as_ptr().addr();
        let mut sizes = free.iter().map(|(buffer, _)| (buffer.all.len(), address(&buffer.all)));
        let chosen = Plan::choose(planned, class, &mut sizes);
        let mut all = chosen.map(|i| free.swap_remove(i).0.all).unwrap_or_default();
        if all.len() < class {
            let before = address(&all);
            drop(all);
            self.forget();
            all = Aligned::try_zeros(class).unwrap_or_else(|_| out_of_memory());
            self.plan.replace(before, address(&all));
        }
        self.plan.note(address(&all));
        Buffer { all, len }
    }

    /// Frees the maps that are older than the last run; what else there is is small.
    #[inline(never)]
    fn forget(&mut self) {
        let run = self.run;
        self.floats.retain(|(_, last)| last + 1 >= run);
        self.bytes.retain(|(_, last)| last + 1 >= run);
    }

    /// Begins a run.
    pub fn next_run(&mut self) {
        self.run += 1;
        self.plan.requests = 0;
    }

    /// An empty list with room for `capacity` elements.
    pub fn list<T: Item>(&mut self, capacity: usize) -> Vec<T> {
        let (free, class) = (T::free(self), size_class(capacity));
        let found = free.iter().position(|list| list.capacity() == class);
        let mut list = found.map_or_else(|| Vec::with_capacity(class), |i| free.swap_remove(i));
        list.clear();
        list
    }

    /// Takes a buffer back.
    pub fn give<T: Element>(&mut self, buffer: Buffer<T>) {
        let run = self.run;
        T::free(self).push((buffer, run));
    }

    /// Takes a list back.
    pub fn give_list<T: Item>(&mut self, list: Vec<T>) {
        T::free(self).push(list);
    }

    /// Takes a tensor's memory back.
    pub fn give_tensor<T: Element>(&mut self, tensor: Tensor<T>) {
        self.give(tensor.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map that is too small gives way to a larger one, which then does for both.
    #[test]
    fn the_workspace_keeps_the_largest_map_of_a_place() {
        let mut ws = Workspace::default();
        let run = |ws: &mut Workspace, h: usize| {
            ws.next_run();
            let map = ws.tensor(h, 10, 8, 0);
            let address = map.data().as_ptr();
            ws.give_tensor(map);
            address
        };
        run(&mut ws, 10);
        let largest = run(&mut ws, 400);
        for _ in 0..3 {
            assert_eq!([10, 60, 400].map(|h| run(&mut ws, h)), [largest; 3]);
        }
        assert_eq!(ws.floats.len(), 1);
    }

    /// Three maps at once, then one: the others' memory goes when other memory is needed, and two runs have not had it.
    #[test]
    fn the_workspace_forgets_what_two_runs_did_not_need() {
        let mut ws = Workspace::default();
        let run = |ws: &mut Workspace, lens: &[usize]| {
            ws.next_run();
            let all: Vec<Buffer> = lens.iter().map(|len| ws.take(*len)).collect();
            all.into_iter().for_each(|buffer| ws.give(buffer));
        };
        run(&mut ws, &[800, 1200, 1600]);
        (0..3).for_each(|_| run(&mut ws, &[1600]));
        assert_eq!(ws.floats.len(), 3, "nothing else was needed");
        run(&mut ws, &[3000]);
        assert_eq!(ws.floats.iter().map(|(buffer, _)| buffer.len()).collect::<Vec<_>>(), [3000]);
    }

    /// A run's first request takes what a later one needs; from the second run on there is enough.
    #[test]
    fn a_run_like_the_last_one_needs_no_new_memory() {
        let mut ws = Workspace::default();
        let large = ws.take::<f32>(3000);
        ws.give(large);
        let run = |ws: &mut Workspace| {
            ws.next_run();
            let both = [1000, 3000].map(|len| ws.take::<f32>(len));
            let addresses = both.each_ref().map(|buffer| buffer.as_ptr());
            both.into_iter().for_each(|buffer| ws.give(buffer));
            addresses
        };
        let first = run(&mut ws);
        for _ in 0..3 {
            assert_eq!(run(&mut ws), first);
        }
        assert_eq!(ws.floats.len(), 2);
    }
}
