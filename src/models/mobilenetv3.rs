//! The MobileNetV3 backbone: torchvision/models/mobilenetv3.py; Howard et al. 2019, tables 1 and 2.
//!
//! x -> features.0 (3x3 stem) -> features.1 .. n (inverted residuals) -> features.n+1 (1x1).

use crate::Result;
use crate::kernels::Activation;
use crate::nn::{
    Context, Conv2d, Conv2dNormActivation, Depthwise2d, Format, Map, Pair, Projected, Quantisation, SqueezeExcitation,
};
use crate::tensor::Tensor;
use crate::weights::Weights;
use std::sync::Arc;

/// torchvision/models/_utils.py: the multiple of 8 nearest to `v`, never more than 10 % below it.
pub fn make_divisible(v: f64) -> usize {
    let near = ((v + 4.0) / 8.0).floor().max(1.0) * 8.0;
    (if near < 0.9 * v { near + 8.0 } else { near }) as usize
}

/// A row of the table: TorchVision's InvertedResidualConfig, its columns in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvertedResidualConfig {
    /// Channels in.
    pub input_channels: usize,
    /// Side of the depthwise kernel, 3 or 5.
    pub kernel: usize,
    /// Channels between the 1x1 layers.
    pub expanded_channels: usize,
    /// Channels out.
    pub out_channels: usize,
    /// Whether squeeze-excite is there.
    pub use_se: bool,
    /// Relu or Hardswish.
    pub activation: Activation,
    /// Of the depthwise layer; 1 is used where the dilation is more than 1.
    pub stride: usize,
    /// Of the depthwise layer.
    pub dilation: usize,
}

/// The two published tables, with TorchVision's parameters.
#[derive(Clone, Copy, Debug)]
pub enum Arch {
    /// mobilenet_v3_large.
    Large,
    /// mobilenet_v3_small.
    Small,
}

const RE: Activation = Activation::Relu;
const HS: Activation = Activation::Hardswish;

/// `_mobilenet_v3_conf`: the rows of `arch`, widths multiplied, the tail halved or dilated (C4 to C5).
#[rustfmt::skip]
pub fn inverted_residual_setting(arch: Arch, width_mult: f64, reduced_tail: bool, dilated: bool) -> Vec<InvertedResidualConfig> {
    let r = if reduced_tail { 2 } else { 1 };
    let d = if dilated { 2 } else { 1 };
    let row = |(input, kernel, expanded, out, use_se, activation, stride, dilation): (usize, usize, usize, usize, bool, Activation, usize, usize)| {
        let adjust = |c: usize| make_divisible(c as f64 * width_mult);
        InvertedResidualConfig {
            input_channels: adjust(input), kernel, expanded_channels: adjust(expanded), out_channels: adjust(out),
            use_se, activation, stride, dilation,
        }
    };
    match arch {
        Arch::Large => vec![
            (16, 3, 16, 16, false, RE, 1, 1),
            (16, 3, 64, 24, false, RE, 2, 1),  // C1
            (24, 3, 72, 24, false, RE, 1, 1),
            (24, 5, 72, 40, true, RE, 2, 1),  // C2
            (40, 5, 120, 40, true, RE, 1, 1),
            (40, 5, 120, 40, true, RE, 1, 1),
            (40, 3, 240, 80, false, HS, 2, 1),  // C3
            (80, 3, 200, 80, false, HS, 1, 1),
            (80, 3, 184, 80, false, HS, 1, 1),
            (80, 3, 184, 80, false, HS, 1, 1),
            (80, 3, 480, 112, true, HS, 1, 1),
            (112, 3, 672, 112, true, HS, 1, 1),
            (112, 5, 672, 160 / r, true, HS, 2, d),  // C4
            (160 / r, 5, 960 / r, 160 / r, true, HS, 1, d),
            (160 / r, 5, 960 / r, 160 / r, true, HS, 1, d),
        ],
        Arch::Small => vec![
            (16, 3, 16, 16, true, RE, 2, 1),  // C1
            (16, 3, 72, 24, false, RE, 2, 1),  // C2
            (24, 3, 88, 24, false, RE, 1, 1),
            (24, 5, 96, 40, true, HS, 2, 1),  // C3
            (40, 5, 240, 40, true, HS, 1, 1),
            (40, 5, 240, 40, true, HS, 1, 1),
            (40, 5, 120, 48, true, HS, 1, 1),
            (48, 5, 144, 48, true, HS, 1, 1),
            (48, 5, 288, 96 / r, true, HS, 2, d),  // C4
            (96 / r, 5, 576 / r, 96 / r, true, HS, 1, d),
            (96 / r, 5, 576 / r, 96 / r, true, HS, 1, d),
        ],
    }.into_iter().map(row).collect()
}

/// A map inside the backbone that a head reads too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tap {
    /// The output of `features[i]`.
    Output(usize),
    /// What block `features[i]` makes of its input before its depthwise layer, with the halo that this needs.
    Expansion(usize),
}

/// One block: expand (where wider than its input), depthwise, squeeze-excite, project, add.
#[derive(Debug)]
struct InvertedResidual {
    name: String,
    expand: Option<Conv2d>,
    depthwise: Depthwise2d,
    squeeze_excitation: Option<SqueezeExcitation>,
    project: Conv2d,
    residual: bool,
    /// TorchVision's `_is_cn`: the table says stride 2, so the block opens a stage C1, C2, …
    is_cn: bool,
}

impl InvertedResidual {
    fn load(
        weights: &dyn Weights,
        name: String,
        input: &Format,
        row: &InvertedResidualConfig,
        batch_norm_eps: f32,
    ) -> Result<Self> {
        let expanded = row.expanded_channels;
        let stride = if row.dilation > 1 { 1 } else { row.stride };
        let layer = Conv2dNormActivation {
            in_channels: row.input_channels,
            out_channels: expanded,
            kernel: 1,
            stride: 1,
            dilation: 1,
            activation: row.activation,
            batch_norm_eps,
        };
        let mut index = 0;
        let mut next = || {
            index += 1;
            format!("{name}.block.{}", index - 1)
        };
        let expand = (expanded != row.input_channels).then(|| layer.dense(weights, &next(), input)).transpose()?;
        let depthwise = Conv2dNormActivation { kernel: row.kernel, stride, dilation: row.dilation, ..layer }
            .depthwise(weights, &next(), expand.as_ref().map_or(input, Conv2d::output))?;
        let squeeze = make_divisible((expanded / 4) as f64);
        let squeeze_excitation =
            row.use_se.then(|| SqueezeExcitation::load(weights, &next(), &depthwise, expanded, squeeze)).transpose()?;
        let residual = row.stride == 1 && row.input_channels == row.out_channels;
        let project = Conv2dNormActivation {
            in_channels: expanded,
            out_channels: row.out_channels,
            activation: Activation::Identity,
            ..layer
        };
        let filtered = squeeze_excitation.as_ref().map_or(depthwise.output(), SqueezeExcitation::output);
        let project = project.dense_adding(weights, &next(), filtered, residual.then_some(input))?;
        Ok(InvertedResidual { name, expand, depthwise, squeeze_excitation, project, residual, is_cn: row.stride > 1 })
    }

    /// The halo that the block's input must have.
    fn halo(&self) -> usize {
        if self.expand.is_some() { 0 } else { self.depthwise.padding() }
    }

    /// The output; `expansion` keeps the expanded input, when there is one.
    fn forward(&self, cx: &mut Context, input: &Map, out_halo: usize, expansion: Option<&mut Option<Map>>) -> Map {
        if let (None, None) = (&self.expand, &self.squeeze_excitation) {
            let layers = Projected { depthwise: &self.depthwise, project: &self.project };
            if let Some(out) = layers.forward(cx, input, out_halo, self.residual) {
                cx.observe(&self.name, &out);
                return out;
            }
        }
        let mut sums = None;
        let wanted = self.squeeze_excitation.is_some().then_some(&mut sums);
        let mut filtered = match &self.expand {
            Some(expand) => Pair { expand, depthwise: &self.depthwise }.forward(cx, input, wanted, expansion),
            None => self.depthwise.forward(cx, input, wanted),
        };
        let mut gate = None;
        if let Some(squeeze) = &self.squeeze_excitation {
            (filtered, gate) = squeeze.forward(cx, filtered, sums);
        }
        let residual = self.residual.then_some(input.into());
        let out = self.project.forward(cx, &filtered, out_halo, residual, gate.as_ref().map(Tensor::data));
        cx.give(filtered);
        gate.into_iter().for_each(|gate| cx.workspace.give_tensor(gate));
        cx.observe(&self.name, &out);
        out
    }
}

/// The feature extractor, with its outputs at each halving of the picture.
#[derive(Debug)]
pub struct MobileNetV3 {
    prefix: String,
    /// The normalised picture.
    input: Format,
    stem: Conv2d,
    blocks: Vec<InvertedResidual>,
    last: Conv2d,
}

impl MobileNetV3 {
    /// Reads the backbone of `setting` from names that begin with `prefix`, for example `features` or `backbone.body`.
    ///
    /// # Errors
    /// [`crate::Error::WeightsMismatch`] names the tensor that is missing or of another shape.
    pub fn load(
        weights: &dyn Weights,
        prefix: &str,
        setting: &[InvertedResidualConfig],
        batch_norm_eps: f32,
    ) -> Result<Self> {
        let (Some(first), Some(end)) = (setting.first(), setting.last()) else {
            let message = "the inverted-residual setting has no row; give at least one".to_string();
            return Err(crate::Error::WeightsMismatch(message));
        };
        let stem = Conv2dNormActivation {
            in_channels: 3,
            out_channels: first.input_channels,
            kernel: 3,
            stride: 2,
            dilation: 1,
            activation: HS,
            batch_norm_eps,
        };
        let last = Conv2dNormActivation {
            in_channels: end.out_channels,
            out_channels: 6 * end.out_channels,
            kernel: 1,
            stride: 1,
            ..stem
        };
        let input = Format::load(weights, "input", 3)?;
        let stem = stem.dense(weights, &format!("{prefix}.0"), &input)?;
        let mut blocks: Vec<InvertedResidual> = Vec::with_capacity(setting.len());
        for (i, row) in setting.iter().enumerate() {
            let before = blocks.last().map_or(&stem, |block| &block.project).output();
            blocks.push(InvertedResidual::load(weights, format!("{prefix}.{}", i + 1), before, row, batch_norm_eps)?);
        }
        let before = blocks.last().map_or(&stem, |block| &block.project).output();
        let last = last.dense(weights, &format!("{prefix}.{}", setting.len() + 1), before)?;
        Ok(MobileNetV3 { prefix: prefix.to_string(), input, stem, blocks, last })
    }

    /// How the bytes of a picture are quantised, where the stem reads such.
    pub fn reads(&self) -> Option<&Arc<Quantisation>> {
        self.stem.reads()
    }

    /// The indices in `features` of the stem, of each block that opens a stage, and of the last layer: the taps of
    /// detection and segmentation are counted from the end of this list.
    pub fn stage_indices(&self) -> Vec<usize> {
        let opens = self.blocks.iter().enumerate().filter(|(_, b)| b.is_cn).map(|(i, _)| i + 1);
        [0].into_iter().chain(opens).chain([self.blocks.len() + 1]).collect()
    }

    /// The layer whose output `features[index]` gives.
    pub fn layer(&self, index: usize) -> &Conv2d {
        match index {
            0 => &self.stem,
            i => self.blocks.get(i - 1).map_or(&self.last, |b| &b.project),
        }
    }

    /// Output channels of `features[index]`.
    pub fn out_channels(&self, index: usize) -> usize {
        self.layer(index).out_channels()
    }

    /// The expansion of block `features[index]`, where it has one.
    pub fn expansion(&self, index: usize) -> Option<&Conv2d> {
        self.blocks.get(index.checked_sub(1)?)?.expand.as_ref()
    }

    /// What `tap` names, and the output of the last layer with a halo of `out_halo`, [h, w, c] each, of `input` [h, w, 3]
    /// normalised, with a halo of 1, whose memory serves the blocks.
    pub fn forward(&self, cx: &mut Context, input: Map, tap: Option<Tap>, out_halo: usize) -> (Option<Map>, Map) {
        cx.watch_activation(&self.input, &input);
        let halo = |i: usize| self.blocks.get(i).map_or(0, InvertedResidual::halo);
        let mut x = self.stem.forward(cx, &input, halo(0), None, None);
        cx.give(input);
        cx.observe(format_args!("{}.0", self.prefix), &x);
        let mut tapped = None;
        for (i, block) in self.blocks.iter().enumerate() {
            let expansion = (tap == Some(Tap::Expansion(i + 1))).then_some(&mut tapped);
            let y = block.forward(cx, &x, halo(i + 1), expansion);
            let before = std::mem::replace(&mut x, y);
            match tap == Some(Tap::Output(i)) {
                true => tapped = Some(before),
                false => cx.give(before),
            }
        }
        let out = self.last.forward(cx, &x, out_halo, None, None);
        match tap == Some(Tap::Output(self.blocks.len())) {
            true => tapped = Some(x),
            false => cx.give(x),
        }
        cx.observe(format_args!("{}.{}", self.prefix, self.blocks.len() + 1), &out);
        (tapped, out)
    }
}
