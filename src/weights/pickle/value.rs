//! What a pickle's instructions make, and where it lies.

use crate::weights::torch_tensor::{Storage, TorchTensor};
use safetensors::Dtype;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// Values that the arena makes room for at once.
const CHUNK: usize = 1 << 8;

/// An index in an [`Arena`].
pub type Id = usize;

/// What an instruction can put on the stack.
#[derive(Debug)]
pub enum Value<'a> {
    /// None, a bool, a float, or an integer of over 64 bits: nothing that is asked for.
    Plain,
    Int(i64),
    Str(&'a str),
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(Arc<TorchTensor<'a>>),
}

/// Values by their index, in pieces: a list would be there twice while it grows.
#[derive(Debug)]
pub struct Arena<'a>(Vec<Vec<Value<'a>>>);

impl<'a> Arena<'a> {
    /// The arena of `value` alone.
    pub fn of(value: Value<'a>) -> Self {
        let mut arena = Arena(Vec::new());
        arena.push(value);
        arena
    }

    /// Adds `value`.
    pub fn push(&mut self, value: Value<'a>) -> Id {
        if self.0.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.0.push(Vec::with_capacity(CHUNK));
        }
        let full = (self.0.len() - 1) * CHUNK;
        let chunk = self.0.last_mut().expect("a chunk with room");
        chunk.push(value);
        full + chunk.len() - 1
    }
}

impl<'a> Index<Id> for Arena<'a> {
    type Output = Value<'a>;

    fn index(&self, id: Id) -> &Value<'a> {
        &self.0[id / CHUNK][id % CHUNK]
    }
}

impl<'a> IndexMut<Id> for Arena<'a> {
    fn index_mut(&mut self, id: Id) -> &mut Value<'a> {
        &mut self.0[id / CHUNK][id % CHUNK]
    }
}

/// The names that a state_dict may refer to.
#[derive(Clone, Copy, Debug)]
pub enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageType(Dtype),
}
