//! DeepLabV3 on a dilated MobileNetV3: torchvision/models/segmentation/deeplabv3.py; Chen et al. 2017.
//!
//! y = project(concat(conv1x1(x), atrous(x, 12), atrous(x, 24), atrous(x, 36), conv1x1(mean(x)) at every pixel));
//! scores = conv1x1(conv3x3(y)), each convolution but the last with BatchNorm and ReLU. The auxiliary classifier is for
//! training and is not loaded.

use super::{SegmentationConfig, Segmenter};
use crate::Result;
use crate::kernels::Activation;
use crate::models::mobilenetv3::MobileNetV3;
use crate::nn::{Context, Conv2d, Conv2dNormActivation, DilatedConv2d, Format, Map};
use crate::tensor::Tensor;
use crate::weights::Weights;

const CHANNELS: usize = 256;
const RATES: [usize; 3] = [12, 24, 36];
/// The 1x1 layer, the rates, the pool.
const BRANCHES: usize = RATES.len() + 2;

/// Atrous spatial pyramid pooling: the picture at several scales, side by side.
#[derive(Debug)]
struct Aspp {
    pointwise: Conv2d,
    atrous: [DilatedConv2d; RATES.len()],
    pooling: Conv2d,
    project: Conv2d,
    /// The mean, and the branches together.
    formats: [Format; 2],
}

impl Aspp {
    fn load(weights: &dyn Weights, name: &str, pointwise: Conv2dNormActivation, input: &Format) -> Result<Aspp> {
        let atrous = |i: usize| {
            let layer = Conv2dNormActivation { kernel: 3, dilation: RATES[i], ..pointwise };
            layer.dilated(weights, &format!("{name}.convs.{}", i + 1), input)
        };
        let project = Conv2dNormActivation { in_channels: BRANCHES * CHANNELS, ..pointwise };
        let pooled = Format::load(weights, &format!("{name}.convs.{}.0.output", BRANCHES - 1), pointwise.in_channels)?;
        let side_by_side = Format::load(weights, &format!("{name}.convs.output"), project.in_channels)?;
        Ok(Aspp {
            pointwise: pointwise.dense(weights, &format!("{name}.convs.0"), input)?,
            atrous: [atrous(0)?, atrous(1)?, atrous(2)?],
            // Behind the average pool.
            pooling: pointwise.dense_at(weights, &format!("{name}.convs.{}", BRANCHES - 1), 1, &pooled)?,
            project: project.dense(weights, &format!("{name}.project"), &side_by_side)?,
            formats: [pooled, side_by_side],
        })
    }

    fn forward(&self, cx: &mut Context, x: &Map, out_halo: usize) -> Map {
        let (h, w, _) = x.shape();
        let mut side_by_side = cx.workspace.tensor(h, w, BRANCHES * CHANNELS, 0);
        for branch in 0..BRANCHES {
            let out = match branch {
                0 => self.pointwise.forward(cx, x, 0, None, None).into_f32(cx),
                i if i <= RATES.len() => self.atrous[i - 1].forward(cx, x, 0).into_f32(cx),
                _ => self.pool(cx, x),
            };
            place(&out, &mut side_by_side, branch * CHANNELS);
            cx.workspace.give_tensor(out);
        }
        cx.watch_activation(&self.formats[1], &side_by_side);
        let out = self.project.forward(cx, &side_by_side, out_halo, None, None);
        cx.workspace.give_tensor(side_by_side);
        out
    }

    /// The pooled branch, [1, 1, 256].
    fn pool(&self, cx: &mut Context, x: &Map) -> Tensor {
        let mean = x.mean(cx);
        cx.watch_activation(&self.formats[0], &mean);
        let out = self.pooling.forward(cx, &mean, 0, None, None);
        cx.workspace.give_tensor(mean);
        out.into_f32(cx)
    }
}

/// Copies `from` into the channels of `to` from `channel` on; one pixel goes to all, as a resize would take it.
fn place(from: &Tensor, to: &mut Tensor, channel: usize) {
    let step = if from.w > 1 { from.c } else { 0 };
    for y in 0..to.h {
        let row = from.row(y.min(from.h - 1));
        for (x, pixel) in to.row_mut(y).chunks_exact_mut(BRANCHES * CHANNELS).enumerate() {
            pixel[channel..][..from.c].copy_from_slice(&row[x * step..][..from.c]);
        }
    }
}

/// The model.
#[derive(Debug)]
pub struct DeepLabV3 {
    resize: usize,
    backbone: MobileNetV3,
    aspp: Aspp,
    hidden: Conv2d,
    classifier: Conv2d,
}

impl DeepLabV3 {
    /// Reads the model by TorchVision's names.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing or of another shape, or the setting's fault.
    pub fn load(weights: &dyn Weights, config: SegmentationConfig) -> Result<Self> {
        let setting = &config.inverted_residual_setting;
        let backbone = MobileNetV3::load(weights, "backbone", setting, config.batch_norm_eps)?;
        let pointwise = Conv2dNormActivation {
            in_channels: backbone.out_channels(setting.len() + 1),
            out_channels: CHANNELS,
            kernel: 1,
            stride: 1,
            dilation: 1,
            activation: Activation::Relu,
            // DeepLabHead's own nn.BatchNorm2d has PyTorch's default.
            batch_norm_eps: 1e-5,
        };
        let hidden = Conv2dNormActivation { in_channels: CHANNELS, kernel: 3, ..pointwise };
        let classes = (CHANNELS, config.num_classes);
        let aspp = Aspp::load(weights, "classifier.0", pointwise, backbone.layer(setting.len() + 1).output())?;
        let hidden = hidden.dense_at(weights, "classifier", 1, aspp.project.output())?;
        Ok(DeepLabV3 {
            classifier: Conv2d::load(weights, "classifier.4", hidden.output(), classes, 1, Activation::Identity)?,
            aspp,
            hidden,
            backbone,
            resize: config.resize,
        })
    }
}

impl Segmenter for DeepLabV3 {
    fn side(&self) -> usize {
        self.resize
    }

    fn backbone(&self) -> &MobileNetV3 {
        &self.backbone
    }

    /// The map is as large as the backbone's: a sixteenth of the picture.
    fn scores(&self, cx: &mut Context, input: Map) -> Tensor {
        let (_, x) = self.backbone.forward(cx, input, None, 0);
        let pyramid = self.aspp.forward(cx, &x, 1);
        cx.observe("classifier.0", &pyramid);
        let hidden = self.hidden.forward(cx, &pyramid, 0, None, None);
        cx.observe("classifier.3", &hidden);
        let scores = self.classifier.forward(cx, &hidden, 0, None, None).into_f32(cx);
        cx.observe("classifier.4", &scores);
        [x, pyramid, hidden].into_iter().for_each(|map| cx.give(map));
        scores
    }
}
