//! Layers by TorchVision's names, over the kernels. BatchNorm is folded when a layer is loaded. This is the only place that
//! asks whether a layer is f32 or int8.

pub mod boxes;
mod conv;
mod conv_norm_activation;
mod depthwise;
mod depthwise_project;
mod dilated;
mod expand_depthwise;
mod layer;
mod map;
pub mod quantized;
pub mod roi_align;
mod squeeze_excitation;

pub use conv::Conv2d;
pub(crate) use conv::pixels;
pub use conv_norm_activation::Conv2dNormActivation;
pub use depthwise::{Depthwise2d, RowSums};
pub use depthwise_project::Projected;
pub use dilated::DilatedConv2d;
pub use expand_depthwise::Pair;
pub use layer::{BatchNorm, Fold, Layer};
pub use map::{Format, Lent, Map, Quantisation, View};
pub use squeeze_excitation::SqueezeExcitation;

use crate::tensor::{Tensor, Workspace};
use std::fmt::Display;

/// Called with a stage's state_dict path and its output, once it is computed.
pub type Observer<'a> = dyn FnMut(&str, &Tensor) + 'a;

/// Where an activation comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// A layer made it.
    Layer(&'a Layer),
    /// It is the activation of this name times a gate.
    Gated(&'a str),
    /// The model made it otherwise.
    Model,
}

/// Called with the name of each activation that can be quantised and its values.
pub type ActivationObserver<'a> = dyn FnMut(&str, &Tensor, Origin) + 'a;

/// What a run carries: the memory, and who watches.
#[derive(Default)]
pub struct Context<'a> {
    /// Lends the activations' memory.
    pub workspace: Workspace,
    /// Who watches the models' stages (goldens), if anybody does.
    pub observer: Option<&'a mut Observer<'a>>,
    /// Who takes the time of the models' stages (a profile), if anybody does: what runs is what runs otherwise, and a stage that is done in
    /// parts is told of after each.
    pub clock: Option<&'a mut dyn FnMut(&str)>,
    /// Who watches every activation (calibration), if anybody does.
    pub activations: Option<&'a mut ActivationObserver<'a>>,
    /// What the caller's thread alone can do for the result, if there is anything: a segmenter does it while other threads do the last of its work.
    pub beside: Option<&'a mut dyn FnMut()>,
}

impl Context<'_> {
    /// Tells the clock, if there is one, that a stage is done.
    pub fn lap(&mut self, name: impl Display) {
        if let Some(clock) = &mut self.clock {
            clock(&name.to_string());
        }
    }

    /// Shows a stage's output to the observer, if there is one; the stage is done.
    pub fn observe<'a>(&mut self, name: impl Display, output: impl Into<View<'a>>) {
        self.lap(&name);
        if self.observer.is_none() {
            return;
        }
        let output = output.into().f32(self);
        if let Some(observer) = &mut self.observer {
            observer(&name.to_string(), &output);
        }
        output.give(self);
    }

    /// Shows the values of an activation that no layer made.
    pub fn watch_activation<'a>(&mut self, format: &Format, values: impl Into<View<'a>>) {
        self.watch(&format.names[0], values, Origin::Model);
    }

    /// Shows the output of a layer `name` that has its own quantisation.
    fn watch_bytes(&mut self, name: &str, bytes: &Tensor<u8>, quantisation: &std::sync::Arc<Quantisation>) {
        if self.activations.is_some() {
            self.watch(&format!("{name}.output"), View::U8(bytes, quantisation), Origin::Model);
        }
    }

    fn watch<'a>(&mut self, name: &str, values: impl Into<View<'a>>, origin: Origin) {
        if self.activations.is_none() {
            return;
        }
        let values = values.into().f32(self);
        if let Some(observer) = &mut self.activations {
            observer(name, &values, origin);
        }
        values.give(self);
    }

    /// Takes a map's memory back.
    pub fn give(&mut self, map: Map) {
        match map {
            Map::F32(tensor) => self.workspace.give_tensor(tensor),
            Map::U8(tensor, _) => self.workspace.give_tensor(tensor),
        }
    }
}

/// exp(v) over the sum of them all, in place.
pub fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut().for_each(|v| *v = (*v - max).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
}
