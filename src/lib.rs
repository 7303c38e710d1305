//! TorchVision's MobileNetV3 family for the browser, in Rust compiled to WebAssembly SIMD.
//!
//! The [`kernels`] are written once over [`simd::Simd`]; activations are [`tensor::Tensor`]s whose memory comes from a
//! [`tensor::Workspace`]; [`parallel`] shares work between threads.
#![deny(missing_docs)]

pub mod error;
pub mod kernels;
pub mod parallel;
pub mod simd;
pub mod tensor;

pub use error::{Error, Result};
