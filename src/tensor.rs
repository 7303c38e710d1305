//! Activations: NHWC tensors with a halo, and the workspace that lends their memory. No arithmetic here.
//!
//! A halo of `p` pixels of zeros round a picture lets a convolution with padding `p` read every tap at a fixed offset
//! from its pixel: no border cases in a kernel and no im2col. The layer that writes a tensor writes the halo too.

/// An f32 activation, one picture, [h, w, c] in memory as [h + 2 halo, w + 2 halo, c].
#[derive(Debug, Default)]
pub struct Tensor {
    data: Vec<f32>,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels, the fastest dimension.
    pub c: usize,
    /// Pixels of zeros on each side.
    pub halo: usize,
}

impl Tensor {
    /// Floats from one row of pixels to the next.
    pub fn row_pitch(&self) -> usize {
        (self.w + 2 * self.halo) * self.c
    }

    /// Index in [`Tensor::data`] of the first channel of pixel (0, 0).
    pub fn origin(&self) -> usize {
        self.halo * (self.row_pitch() + self.c)
    }

    /// All floats, the halo included.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All floats, the halo included.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The channels of the pixels of row `y`, [w, c].
    pub fn row(&self, y: usize) -> &[f32] {
        let start = self.origin() + y * self.row_pitch();
        &self.data[start..start + self.w * self.c]
    }

    /// The channels of the pixels of row `y`, [w, c].
    pub fn row_mut(&mut self, y: usize) -> &mut [f32] {
        let start = self.origin() + y * self.row_pitch();
        let len = self.w * self.c;
        &mut self.data[start..start + len]
    }

    /// The picture without its halo, [h, w, c], copied.
    pub fn to_vec(&self) -> Vec<f32> {
        (0..self.h).flat_map(|y| self.row(y)).copied().collect()
    }

    fn clear_halo(&mut self) {
        let (pitch, edge) = (self.row_pitch(), self.halo * self.c);
        if edge == 0 {
            return;
        }
        let len = self.data.len();
        self.data[..self.halo * pitch].fill(0.0);
        self.data[len - self.halo * pitch..].fill(0.0);
        for y in 0..self.h {
            let row = &mut self.data[(y + self.halo) * pitch..][..pitch];
            row[..edge].fill(0.0);
            row[pitch - edge..].fill(0.0);
        }
    }
}

/// Lends buffers and takes them back, so that a run after the first allocates nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    free: Vec<Vec<f32>>,
}

impl Workspace {
    /// A tensor of shape [h, w, c]: its halo is zero, its inside is whatever an earlier use left.
    pub fn tensor(&mut self, h: usize, w: usize, c: usize, halo: usize) -> Tensor {
        let data = self.take((h + 2 * halo) * (w + 2 * halo) * c);
        let mut tensor = Tensor { data, h, w, c, halo };
        tensor.clear_halo();
        tensor
    }

    /// A buffer of `len` floats with arbitrary contents: the smallest free one that fits, else a new one.
    pub fn take(&mut self, len: usize) -> Vec<f32> {
        let fits = (0..self.free.len()).filter(|&i| self.free[i].capacity() >= len);
        let best = fits.min_by_key(|&i| self.free[i].capacity());
        let mut buffer = match best {
            Some(i) => self.free.swap_remove(i),
            None => Vec::with_capacity(len),
        };
        buffer.resize(len, 0.0);
        buffer
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buffer: Vec<f32>) {
        self.free.push(buffer);
    }

    /// Takes a tensor's memory back.
    pub fn give_tensor(&mut self, tensor: Tensor) {
        self.give(tensor.data);
    }
}
