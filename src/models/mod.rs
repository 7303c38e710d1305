//! Models, each mirroring TorchVision's builder of the same name.

pub mod config;
pub mod detection;
pub mod mobilenetv3;
pub mod segmentation;
