//! Models as TorchVision quantises them: torchvision/models/quantization.

pub mod mobilenetv3;

/// The tensor that a checkpoint before its conversion has, and no other: torch's observer of the picture.
pub const QAT_MARK: &str = "quant.activation_post_process.activation_post_process.min_val";
