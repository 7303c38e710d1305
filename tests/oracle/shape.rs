//! What a convolution reads, of floats or of bytes.

/// A convolution's numbers; the groups of a depthwise one have one channel, and `n` is not used.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub n: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub dilation: usize,
}

impl Shape {
    /// Output rows and columns, as torch.nn.Conv2d defines them.
    pub fn out(&self) -> (usize, usize) {
        let size = |x: usize| (x + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) / self.stride + 1;
        (size(self.h), size(self.w))
    }

    /// The index of the input's pixel under `tap` = [row, column] of the kernel at the output's pixel `out`; none outside.
    pub fn source(&self, out: (usize, usize), tap: (usize, usize)) -> Option<usize> {
        let side = |out: usize, tap: usize| (out * self.stride + tap * self.dilation).checked_sub(self.padding);
        let (y, x) = (side(out.0, tap.0)?, side(out.1, tap.1)?);
        (y < self.h && x < self.w).then_some(y * self.w + x)
    }
}
