//! torchvision/models/detection.

pub mod default_boxes;
pub mod faster_rcnn;
pub(crate) mod former_names;
pub mod roi_heads;
pub mod rpn;
pub mod ssdlite;
pub mod transform;
