//! torchvision/models/detection.

pub mod faster_rcnn;
pub mod roi_heads;
pub mod rpn;
pub mod transform;
