//! Names of Faster R-CNN's layers before torchvision 0.13, which its own checkpoints still have: `_load_from_state_dict` of
//! torchvision/ops/feature_pyramid_network.py and torchvision/models/detection/rpn.py.

use crate::weights::Weights;

/// A layer's path then and now.
pub(super) type Path = (&'static str, &'static str);

/// Of the pyramid's two levels; the third one is pooled.
pub(super) const INNER_BLOCKS: [Path; 2] = [
    ("backbone.fpn.inner_blocks.0", "backbone.fpn.inner_blocks.0.0"),
    ("backbone.fpn.inner_blocks.1", "backbone.fpn.inner_blocks.1.0"),
];
pub(super) const LAYER_BLOCKS: [Path; 2] = [
    ("backbone.fpn.layer_blocks.0", "backbone.fpn.layer_blocks.0.0"),
    ("backbone.fpn.layer_blocks.1", "backbone.fpn.layer_blocks.1.0"),
];
pub(super) const RPN_CONV: Path = ("rpn.head.conv", "rpn.head.conv.0.0");

/// The path that `weights` have of a layer.
pub(super) fn path(weights: &dyn Weights, (then, now): Path) -> &'static str {
    let is_former = weights.info(&[then, ".weight"].concat()).is_some();
    if is_former { then } else { now }
}

/// The name of today of the tensor that a file calls `name`; all others stay.
#[cfg(feature = "cli")]
pub(crate) fn current_name(name: &str) -> String {
    // A layer inside of what is a Sequential today has a number; a leaf has a word.
    let is_leaf = |rest: &&str| rest.starts_with('.') && !rest[1..].starts_with(|c: char| c.is_ascii_digit());
    let moved = |(then, now): Path| name.strip_prefix(then).filter(is_leaf).map(|rest| format!("{now}{rest}"));
    let mut paths = INNER_BLOCKS.into_iter().chain(LAYER_BLOCKS).chain([RPN_CONV]);
    paths.find_map(moved).unwrap_or_else(|| name.to_string())
}
