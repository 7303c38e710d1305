//! The kernels: one algorithm a file, written once over [`crate::simd::Simd`].
//!
//! | kernel | dtype | tile |
//! |---|---|---|
//! | [`add_u8`] | u8 | a row |
//! | [`antialias_u8`] | u8 to f32, u8 | the channels of a pixel |
//! | [`argmax_f32`] | f32 to u8 | 8 pixels of a row |
//! | [`conv_f32`] | f32 | [`crate::simd::Simd::GEMM_ROWS`] pixels x 8 output channels |
//! | [`dilated_f32`] | f32 | rectangles of [`conv_f32`] |
//! | [`dilated_i8`] | u8 to u8 or f32 | rectangles of [`conv_i8`] |
//! | [`depthwise_f32`] | f32 | up to 10 pixels of a row x 4 channels |
//! | [`depthwise_project_f32`] | f32 | rows, [`depthwise_f32`]'s, then [`conv_f32`]'s |
//! | [`conv_i8`] | u8 to u8 or f32 | 5 pixels x 8 output channels |
//! | [`depthwise_i8`] | u8 to u8 or f32 | a column of input x 8 channels |
//! | [`elementwise_i8`] | u8, f32 | 8 channels of a pixel |
//! | [`expand_depthwise_f32`] | f32 | [`conv_f32`]'s, then [`depthwise_f32`]'s, 16 channels |
//! | [`expand_depthwise_i8`] | u8 to u8 or f32 | [`conv_i8`]'s, then [`depthwise_f32`]'s, 16 channels |
//! | [`gemv_f32`] | f32 | 16 outputs of one pixel |
//! | [`lookup_u8`] | u8 | a row, its halo too |
//! | `pixel_f32` | f32 | 8 output channels of one pixel, for [`conv_f32`] |
//! | `pointwise_f32` | f32 | [`conv_f32`]'s, for its 1x1 layers |
//! | [`pool_i8`] | u8 to f32 | all channels of a pixel |
//! | [`pool_f32`] | f32 | all channels of a pixel |
//! | [`resize_f32`] | f32 | a row of output pixels |
//! | [`resize_u8`] | u8 to f32, u8 | the channels of a pixel |
//! | `stem_f32` | f32 | [`conv_f32`]'s, for a model's first layer |
//! | [`strassen_f32`] | f32 | [`crate::simd::Simd::GEMM_ROWS`] pairs of pixels x 16 output channels |
//! | [`weighted_sum_f32`] | f32 to f32 or u8 | 16 channels of a pixel |
//! | [`winograd_f32`] | f32 | 2x2 pixels x 4 channels, and [`conv_f32`]'s |
//!
//! Pixels are named by [`Pixels`], an affine map from (y, x) to an index, so that halos, strides and matrices need no case
//! of their own. `unsafe` lives here and in `simd` only.

pub mod activation;
pub mod add_u8;
pub mod antialias_u8;
pub mod argmax_f32;
pub mod conv_f32;
pub mod conv_i8;
pub mod depthwise_f32;
pub mod depthwise_i8;
pub mod depthwise_project_f32;
pub mod dilated_f32;
pub mod dilated_i8;
pub mod elementwise_i8;
pub mod epilogue_i8;
pub mod expand_depthwise_f32;
pub mod expand_depthwise_i8;
mod fetch;
pub mod gemv_f32;
pub mod lookup_u8;
pub mod pack_f32;
pub mod pack_i8;
mod pixel_f32;
mod pointwise_f32;
pub mod pool_f32;
pub mod pool_i8;
pub mod resize_f32;
pub mod resize_u8;
mod stem_f32;
mod step_i8;
pub mod strassen_f32;
mod strassen_lines;
mod strips;
mod tile_f32;
pub mod values_i8;
pub mod weighted_sum_f32;
pub mod winograd_f32;

pub use activation::Activation;

/// Where the channels of pixel (y, x) begin in a slice: start + y * row + x * pixel.
#[derive(Clone, Copy, Debug)]
pub struct Pixels {
    /// Index of pixel (0, 0).
    pub start: usize,
    /// Floats from a row to the next.
    pub row: usize,
    /// Floats from a pixel to the next.
    pub pixel: usize,
}

impl Pixels {
    /// Where pixels lie that nobody reads.
    const NOWHERE: Pixels = Pixels { start: 0, row: 0, pixel: 0 };

    /// Index of the first channel of pixel (y, x).
    #[inline(always)]
    pub fn at(&self, y: usize, x: usize) -> usize {
        self.start + y * self.row + x * self.pixel
    }

    /// Of a picture that begins at row `y`.
    fn below(self, y: usize) -> Pixels {
        Pixels { start: self.start + y * self.row, ..self }
    }

    /// Whether rows of `width` pixels of `len` elements follow each other without a gap.
    fn is_dense(&self, width: usize, len: usize) -> bool {
        self.pixel == len && self.row == width * len
    }

    /// One past the last index that `len` floats at each of `h` x `w` pixels touch.
    fn end(&self, h: usize, w: usize, len: usize) -> usize {
        if h == 0 || w == 0 { 0 } else { self.at(h - 1, w - 1) + len }
    }
}

/// A slice's pointer that tasks of one parallel call share; each writes elements of its own.
#[derive(Clone, Copy)]
struct Shared<T = f32>(*mut T);
// SAFETY: the kernels that make one give every task a disjoint set of elements.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The pointer. A method for the same reason as [`Shared::at`].
    fn get(&self) -> *mut T {
        self.0
    }

    /// The element `i`. A method, so that closures capture the whole, which is `Sync`, and not its pointer, which is not.
    ///
    /// # Safety
    /// `i` must be within the slice.
    unsafe fn at(&self, i: usize) -> *mut T {
        // SAFETY: the caller's.
        unsafe { self.0.add(i) }
    }
}
