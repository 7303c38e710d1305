//! TorchVision's MobileNetV3 family for the browser, in Rust compiled to WebAssembly SIMD.
//!
//! The data flow, a module a step: [`weights`] are read by TorchVision's names and folded into the layers of [`nn`], which
//! the [`models`] put together as TorchVision does; a layer calls one of the [`kernels`], each written once over
//! [`simd::Simd`], and those of int8 to the integers of [`quant`] (TorchVision's own int8
//! models to those of [`qnnpack`]); activations are [`tensor::Tensor`]s whose memory comes from
//! a [`tensor::Workspace`]; [`parallel`] shares work between threads; `wasm`, in a browser, is what JavaScript sees.
#![deny(missing_docs)]

pub mod aligned;
#[cfg(feature = "cli")]
pub mod calibrate;
#[cfg(feature = "cli")]
pub mod convert;
pub mod error;
pub mod image;
pub mod kernels;
#[cfg(feature = "cli")]
pub mod macs;
pub mod models;
pub mod nn;
pub mod parallel;
pub mod preprocess;
pub mod profile;
pub mod qnnpack;
pub mod quant;
#[cfg(feature = "cli")]
pub mod quantize;
pub mod simd;
pub mod source;
pub mod tensor;
#[cfg(target_arch = "wasm32")]
pub mod wasm;
pub mod weights;

pub use error::{Error, Result};
