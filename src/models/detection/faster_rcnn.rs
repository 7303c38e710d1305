//! Faster R-CNN on MobileNetV3-Large with a feature pyramid: torchvision/models/detection/faster_rcnn.py,
//! backbone_utils.py and ops/feature_pyramid_network.py.

use super::former_names::{INNER_BLOCKS, LAYER_BLOCKS, Path, path};
use super::roi_heads::{BoxConfig, RoiHeads};
use super::rpn::{Rpn, RpnConfig};
use super::transform::{resized, transform};
use crate::image::Image;
use crate::kernels::Activation;
use crate::models::mobilenetv3::{Arch, InvertedResidualConfig, MobileNetV3, Tap, inverted_residual_setting};
use crate::models::{Input, Model, Options, Raw};
use crate::nn::boxes::Box2d;
use crate::nn::{Context, Conv2d, Format, Map};
use crate::tensor::{Element, Tensor};
use crate::weights::Weights;
use crate::{Error, Result};

const FPN_CHANNELS: usize = 256;

/// What the builder takes, by TorchVision's names.
#[derive(Clone, Debug)]
pub struct FasterRcnnConfig {
    /// The backbone's rows.
    pub inverted_residual_setting: Vec<InvertedResidualConfig>,
    /// Epsilon of the backbone's BatchNorm.
    pub batch_norm_eps: f32,
    /// Classes, the background included.
    pub num_classes: usize,
    /// Width of fc6 and fc7.
    pub representation_size: usize,
    /// Shorter side of the resized picture.
    pub min_size: usize,
    /// Most that the longer side may be.
    pub max_size: usize,
    /// Thresholds and counts of the RPN.
    pub rpn: RpnConfig,
    /// Thresholds and counts of the heads.
    pub boxes: BoxConfig,
}

impl FasterRcnnConfig {
    /// TorchVision's builder of this name.
    pub fn fasterrcnn_mobilenet_v3_large_320_fpn(num_classes: usize) -> Self {
        FasterRcnnConfig {
            inverted_residual_setting: inverted_residual_setting(Arch::Large, 1.0, false, false),
            // TorchVision builds the detector's backbone with FrozenBatchNorm2d, or with PyTorch's default.
            batch_norm_eps: 1e-5,
            num_classes,
            representation_size: 1024,
            min_size: 320,
            max_size: 640,
            rpn: RpnConfig { pre_nms_top_n: 150, post_nms_top_n: 150, score_thresh: 0.05, nms_thresh: 0.7 },
            boxes: BoxConfig { score_thresh: 0.05, nms_thresh: 0.5, detections_per_img: 100 },
        }
    }

    /// TorchVision's builder of this name: the same network on larger pictures.
    pub fn fasterrcnn_mobilenet_v3_large_fpn(num_classes: usize) -> Self {
        let low_res = Self::fasterrcnn_mobilenet_v3_large_320_fpn(num_classes);
        FasterRcnnConfig {
            min_size: 800,
            max_size: 1333,
            rpn: RpnConfig { pre_nms_top_n: 1000, post_nms_top_n: 1000, ..low_res.rpn },
            ..low_res
        }
    }
}

/// The model.
#[derive(Debug)]
pub struct FasterRcnn {
    config: FasterRcnnConfig,
    body: MobileNetV3,
    tap: usize,
    inner_blocks: [Conv2d; 2],
    layer_blocks: [Conv2d; 2],
    rpn: Rpn,
    roi_heads: RoiHeads,
}

impl FasterRcnn {
    /// Reads the model by TorchVision's names, of today or before torchvision 0.13.
    ///
    /// # Errors
    /// [`Error::WeightsMismatch`] names the tensor that is missing or of another shape.
    pub fn load(weights: &dyn Weights, config: FasterRcnnConfig) -> Result<Self> {
        let setting = &config.inverted_residual_setting;
        let body = MobileNetV3::load(weights, "backbone.body", setting, config.batch_norm_eps)?;
        let stages = body.stage_indices();
        if stages.len() < 3 {
            let message = "the inverted-residual setting has no stage of stride 2; the detector taps its last";
            return Err(Error::WeightsMismatch(message.to_string()));
        }
        let tap = stages[stages.len() - 2];
        let [low, high] = [tap, setting.len() + 1].map(|index| body.layer(index));
        let fpn = |layer: Path, input: &Conv2d, kernel, residual: Option<&Format>| {
            let name = path(weights, layer);
            let channels = (input.out_channels(), FPN_CHANNELS);
            Conv2d::load_adding(weights, name, (input.output(), residual), channels, kernel, Activation::Identity)
        };
        let top = fpn(INNER_BLOCKS[1], high, 1, None)?;
        let merge = fpn(INNER_BLOCKS[0], low, 1, Some(top.output()))?;
        let inner_blocks = [merge, top];
        let layer_blocks =
            [fpn(LAYER_BLOCKS[0], &inner_blocks[0], 3, None)?, fpn(LAYER_BLOCKS[1], &inner_blocks[1], 3, None)?];
        let features = Format::of_both(layer_blocks[0].output(), layer_blocks[1].output());
        Ok(FasterRcnn {
            rpn: Rpn::load(weights, &features, FPN_CHANNELS)?,
            roi_heads: RoiHeads::load(weights, FPN_CHANNELS, config.representation_size, config.num_classes)?,
            inner_blocks,
            layer_blocks,
            tap,
            body,
            config,
        })
    }

    /// The pyramid's levels 0, 1 and pool, with a halo of 1.
    fn features(&self, cx: &mut Context, input: Map) -> [Map; 3] {
        let (low, high) = self.body.forward(cx, input, Some(Tap::Output(self.tap)), 0);
        let low = low.expect("the tap lies before the last layer");
        let top = self.inner_blocks[1].forward(cx, &high, 1, None, None);
        cx.give(high);
        let level1 = self.layer_blocks[1].forward(cx, &top, 1, None, None);
        // Behind the last stride of 2 all maps are of one size: there is nothing to enlarge.
        let merged = self.inner_blocks[0].forward(cx, &low, 1, Some((&top).into()), None);
        let level0 = self.layer_blocks[0].forward(cx, &merged, 1, None, None);
        let pool = every_second(cx, &level1);
        [low, top, merged].into_iter().for_each(|map| cx.give(map));
        for (name, map) in [("features.0", &level0), ("features.1", &level1), ("features.pool", &pool)] {
            cx.observe(name, map);
        }
        [level0, level1, pool]
    }
}

impl Model for FasterRcnn {
    fn resized(&self, (h, w): (usize, usize)) -> (usize, usize) {
        resized(h, w, self.config.min_size, self.config.max_size)
    }

    fn preprocess(&self, cx: &mut Context, image: Image) -> Input {
        let input = transform(cx, image, (self.config.min_size, self.config.max_size), self.body.reads());
        cx.observe("transform", &input.map);
        input
    }

    fn forward(&self, cx: &mut Context, Input { map, size }: Input, options: &Options) -> Raw {
        let (h, w, _) = map.shape();
        let padded = (h, w);
        let features = self.features(cx, map);
        let proposals = self.rpn.forward(cx, &features, padded, size, &self.config.rpn.with(options));
        observe_boxes(cx, "rpn.proposals", &proposals);
        let boxes = self.config.boxes.with(options);
        let found = self.roi_heads.forward(cx, &features[0], &proposals, size, &boxes, options.classes.as_deref());
        features.into_iter().for_each(|map| cx.give(map));
        cx.workspace.give_list(proposals);
        Raw::Detections(found)
    }
}

/// [`Context::observe`] of `boxes`, [1, n, 4].
fn observe_boxes(cx: &mut Context, name: &str, boxes: &[Box2d]) {
    if cx.observer.is_none() {
        cx.lap(name);
    } else {
        let mut shown = cx.workspace.tensor(1, boxes.len(), 4, 0);
        shown.data_mut().copy_from_slice(boxes.as_flattened());
        cx.observe(name, &shown);
        cx.workspace.give_tensor(shown);
    }
}

/// LastLevelMaxPool, max_pool2d(x, 1, 2): every second pixel, of an odd side too, halo 1.
fn every_second(cx: &mut Context, x: &Map) -> Map {
    let (h, w, c) = x.shape();
    let (h, w) = (h.div_ceil(2), w.div_ceil(2));
    match x {
        Map::F32(x) => {
            let mut out = cx.workspace.tensor(h, w, c, 1);
            copy_every_second(x, &mut out);
            Map::F32(out)
        }
        Map::U8(x, quantisation) => {
            let mut out = cx.workspace.tensor_u8(h, w, 1, quantisation.params.zero_point());
            copy_every_second(x, &mut out);
            Map::U8(out, quantisation.clone())
        }
    }
}

fn copy_every_second<T: Element>(x: &Tensor<T>, out: &mut Tensor<T>) {
    for y in 0..out.h {
        let pixels = x.row(2 * y).chunks_exact(x.c).step_by(2);
        out.row_mut(y).chunks_exact_mut(x.c).zip(pixels).for_each(|(to, from)| to.copy_from_slice(from));
    }
}
