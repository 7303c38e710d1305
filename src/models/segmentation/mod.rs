//! torchvision/models/segmentation.

pub mod lraspp;
