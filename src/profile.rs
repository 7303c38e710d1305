//! What a run takes, layer by layer, as its [`crate::nn::Context::clock`] tells.

use serde::Serialize;

/// A layer of a run.
#[derive(Debug, Serialize)]
pub struct Layer {
    /// Its path in the state_dict, or the name of a step that is no layer.
    pub name: String,
    /// What it took, in milliseconds.
    pub ms: f64,
}

/// The layers of a run, timed by `now`, which gives milliseconds.
pub struct Profile<Now> {
    now: Now,
    last: f64,
    /// In the order in which each was done first.
    pub layers: Vec<Layer>,
}

impl<Now: Fn() -> f64> Profile<Now> {
    /// Of a run that begins now.
    pub fn start(now: Now) -> Self {
        let last = now();
        Profile { now, last, layers: Vec::new() }
    }

    /// Layer `name` is done, or a part of it.
    pub fn lap(&mut self, name: &str) {
        let ms = (self.now)() - self.last;
        self.last += ms;
        match self.layers.iter_mut().find(|layer| layer.name == name) {
            Some(layer) => layer.ms += ms,
            None => self.layers.push(Layer { name: name.to_string(), ms }),
        }
    }
}
