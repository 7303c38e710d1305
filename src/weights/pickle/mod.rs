//! The pickle of a state_dict, read as data: nothing in it can run code.
//!
//! A pickle is a program for a stack machine. This machine knows the instructions that torch.save writes for a dictionary
//! of tensors (CPython's Lib/pickletools.py describes each; protocol 2, PyTorch's default) and the few names such a
//! dictionary refers to; anything else is refused by name. PyTorch's own torch/_weights_only_unpickler.py takes the same way.
//!
//! Every instruction takes at least a byte and there are no jumps, so a pickle of n bytes ends after n steps. Values live in an
//! arena and refer to one another by index: a value that many refer to is stored once, cycles need no care, and nothing
//! recurses. Strings are borrowed from the file. A byte of pickle can make a value of many bytes, so what values take is counted, and
//! is no more than the file is large, or than [`LEAST_ROOM`].

mod op;
mod value;

use super::torch_tensor::{MOST_DIMENSIONS, Storage, TorchTensor, storage_dtype};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use value::{Arena, Global};
pub(super) use value::{Id, Value};

/// Longest pickle that is read: one of the family's is under 300 KB.
const MOST_BYTES: usize = 4 << 20;
/// Longest name of a storage: a number.
const MOST_KEY: usize = 1 << 8;
/// Bytes that values may take in a file that is smaller: the quantisation-aware classifier's take over 2 MB at any width.
const LEAST_ROOM: usize = 4 << 20;
/// Bytes that an entry of the memo takes at most, in a node that is half full.
const MEMO_ENTRY: usize = 32;
/// Bytes that an element takes at most in a list that grows: the old list and the new one, twice as long.
const ELEMENT: usize = 3 * size_of::<Id>();
/// Elements that a list has room for from the first one on.
const LEAST_LIST: usize = 4;
/// Bytes that a dictionary's pair takes at most, and as a tensor in the maps that the file makes of a state_dict.
const PAIR: usize = 2 * ELEMENT + 128;
/// Most values on the stack at a time: the pickler sends what is long in parts of a thousand.
const MOST_STACK: usize = 1 << 14;

/// The values of a pickle, and which of them it is of.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Arena<'a>,
    pub root: Id,
}

impl<'a> Pickle<'a> {
    /// Runs the program `bytes` of a file of `file_len` bytes.
    pub fn read(bytes: &'a [u8], file_len: usize) -> Result<Self> {
        if bytes.len() > MOST_BYTES {
            return Err(refuse(format_args!("has a pickle of {} bytes, over {MOST_BYTES}", bytes.len())));
        }
        let mut machine = Machine {
            rest: bytes,
            // The rest is for the stack, and for the archive's own list.
            room: (file_len - file_len / 8).max(LEAST_ROOM),
            values: Arena::of(Value::Plain),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
        };
        while let [code, rest @ ..] = machine.rest {
            machine.rest = rest;
            if *code == op::STOP {
                let root = machine.pop()?;
                return Ok(Pickle { values: machine.values, root });
            }
            machine.step(*code)?;
        }
        Err(ends_early())
    }

    pub fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }
}

/// An error about the file as a whole, with the way out.
pub(super) fn refuse(what: impl std::fmt::Display) -> Error {
    Error::WeightsMismatch(format!(
        "the checkpoint {what}; save the weights alone: torch.save(model.state_dict(), path)"
    ))
}

/// The beginning of `name`, for a message: a file's names are of any length.
pub(super) fn shown(name: &str) -> &str {
    name.char_indices().nth(80).map_or(name, |(end, _)| &name[..end])
}

fn ends_early() -> Error {
    Error::WeightsTruncated("the checkpoint's pickle ends too early; load the file again".to_string())
}

struct Machine<'a> {
    rest: &'a [u8],
    /// Bytes that more values may take.
    room: usize,
    /// The first value stands for all that are [`Value::Plain`].
    values: Arena<'a>,
    stack: Vec<Id>,
    /// Heights of the stack at each MARK.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, code: u8) -> Result<()> {
        match code {
            op::PROTO => self.protocol(),
            op::MARK => {
                self.marks.push(self.stack.len());
                bounded(self.marks.len(), MOST_STACK, "marks")
            }
            op::NONE | op::NEWTRUE | op::NEWFALSE => self.push_id(0),
            op::BININT => self.bytes().and_then(|b| self.push(Value::Int(i32::from_le_bytes(b).into()))),
            op::BININT1 => self.bytes().and_then(|[b]| self.push(Value::Int(b.into()))),
            op::BININT2 => self.bytes().and_then(|b| self.push(Value::Int(u16::from_le_bytes(b).into()))),
            op::LONG1 => self.long(),
            op::BINFLOAT => self.bytes::<8>().and_then(|_| self.push_id(0)),
            op::BINUNICODE => self.unicode(),
            op::EMPTY_LIST | op::EMPTY_TUPLE => self.push(Value::Sequence(Vec::new())),
            op::EMPTY_DICT => self.push(Value::Dict(Vec::new())),
            op::TUPLE => self.pop_mark().and_then(|items| self.push(Value::Sequence(items))),
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => self.tuple(usize::from(code - op::TUPLE1) + 1),
            op::APPEND => self.pop().and_then(|item| self.append(vec![item])),
            op::APPENDS => self.pop_mark().and_then(|items| self.append(items)),
            op::SETITEM => self.pop_many(2).and_then(|pair| self.set_items(&pair)),
            op::SETITEMS => self.pop_mark().and_then(|pairs| self.set_items(&pairs)),
            op::BINGET => self.bytes().and_then(|[b]| self.get(b.into())),
            op::LONG_BINGET => self.bytes().and_then(|b| self.get(u32::from_le_bytes(b))),
            op::BINPUT => self.bytes().and_then(|[b]| self.put(b.into())),
            op::LONG_BINPUT => self.bytes().and_then(|b| self.put(u32::from_le_bytes(b))),
            op::GLOBAL => self.global(),
            op::REDUCE => self.reduce(),
            op::BUILD => self.build(),
            op::BINPERSID => self.persistent(),
            other => Err(refuse(format_args!("uses the pickle instruction {other:#04x}, which no state_dict needs"))),
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(ends_early)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn line(&mut self) -> Result<&'a str> {
        let n = self.rest.iter().position(|b| *b == b'\n').ok_or_else(ends_early)?;
        let line = self.take(n)?;
        self.take(1)?;
        text(line)
    }

    fn push_id(&mut self, id: Id) -> Result<()> {
        self.stack.push(id);
        bounded(self.stack.len(), MOST_STACK, "values on its stack")
    }

    fn push(&mut self, value: Value<'a>) -> Result<()> {
        self.take_room(size_of::<Value>())?;
        let id = self.values.push(value);
        self.push_id(id)
    }

    /// Counts `bytes` of memory.
    fn take_room(&mut self, bytes: usize) -> Result<()> {
        let left = self.room.checked_sub(bytes);
        self.room = left.ok_or_else(|| refuse("has a pickle whose values take more memory than the file"))?;
        Ok(())
    }

    /// Takes the top of the stack, which lies above the last mark.
    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(id) if self.stack.len() >= floor => Ok(id),
            _ => Err(refuse("has a pickle that takes what it did not put")),
        }
    }

    /// Takes `n` values, in the order they were put.
    fn pop_many(&mut self, n: usize) -> Result<Vec<Id>> {
        let mut items = (0..n).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        Ok(items)
    }

    /// Takes what lies above the last mark, and the mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| refuse("has a pickle that goes back to a mark it did not set"))?;
        self.take_room((self.stack.len() - mark) * size_of::<Id>())?;
        Ok(self.stack.split_off(mark))
    }

    /// The value that the next instruction changes: it stays on the stack.
    fn top(&mut self) -> Result<&mut Value<'a>> {
        let id = self.pop()?;
        self.stack.push(id);
        Ok(&mut self.values[id])
    }

    fn protocol(&mut self) -> Result<()> {
        match self.bytes()? {
            [2] => Ok(()),
            [other] => Err(refuse(format_args!("has pickle protocol {other}, not PyTorch's default, 2"))),
        }
    }

    fn long(&mut self) -> Result<()> {
        let [n] = self.bytes()?;
        let bytes = self.take(n.into())?;
        if bytes.len() > 8 {
            return self.push_id(0);
        }
        let fill = if bytes.last().is_some_and(|b| *b >= 0x80) { 0xff } else { 0 };
        let mut whole = [fill; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(whole)))
    }

    fn unicode(&mut self) -> Result<()> {
        let n = u32::from_le_bytes(self.bytes()?);
        let bytes = self.take(usize::try_from(n).map_err(|_| ends_early())?)?;
        self.push(Value::Str(text(bytes)?))
    }

    fn tuple(&mut self, n: usize) -> Result<()> {
        self.take_room(n.max(LEAST_LIST) * size_of::<Id>())?;
        let items = self.pop_many(n)?;
        self.push(Value::Sequence(items))
    }

    fn append(&mut self, mut more: Vec<Id>) -> Result<()> {
        self.take_room(more.len().max(LEAST_LIST) * ELEMENT)?;
        let Value::Sequence(items) = self.top()? else { return Err(refuse("appends to what is no list")) };
        items.append(&mut more);
        Ok(())
    }

    fn set_items(&mut self, pairs: &[Id]) -> Result<()> {
        self.take_room(pairs.len() / 2 * PAIR)?;
        let Value::Dict(items) = self.top()? else { return Err(refuse("sets an item of what is no dict")) };
        let (pairs, []) = pairs.as_chunks() else { return Err(refuse("has a key without a value")) };
        items.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn get(&mut self, index: u32) -> Result<()> {
        let known = self.memo.get(&index).copied();
        self.push_id(known.ok_or_else(|| refuse(format_args!("refers to value {index}, which it does not hold")))?)
    }

    fn put(&mut self, index: u32) -> Result<()> {
        let id = self.pop()?;
        self.take_room(MEMO_ENTRY)?;
        self.memo.insert(index, id);
        self.push_id(id)
    }

    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            _ => match storage_dtype(module, name) {
                Some(dtype) => Global::StorageType(dtype),
                None => {
                    let (module, name) = (shown(module), shown(name));
                    return Err(refuse(format_args!("refers to {module}.{name}, which no state_dict needs")));
                }
            },
        };
        self.push(Value::Global(global))
    }

    /// Calls one of the three functions that a state_dict needs.
    fn reduce(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Global(function), Value::Sequence(arguments)) = (&self.values[function], &self.values[arguments])
        else {
            return Err(refuse("calls what is no function"));
        };
        match (function, arguments.as_slice()) {
            (Global::OrderedDict, []) => self.push(Value::Dict(Vec::new())),
            (Global::RebuildParameter, [data, _, _]) if matches!(self.values[*data], Value::Tensor(_)) => {
                self.push_id(*data)
            }
            (Global::RebuildTensor, [storage, offset, shape, strides, _, _]) => {
                let tensor = self.tensor(*storage, *offset, *shape, *strides)?;
                let numbers = tensor.shape.len() + tensor.strides.len();
                self.take_room(size_of::<TorchTensor>() + (numbers + 2 + 2 * LEAST_LIST) * size_of::<usize>())?;
                self.push(Value::Tensor(Arc::new(tensor)))
            }
            (function, arguments) => {
                Err(refuse(format_args!("calls {function:?} with {} arguments that do not fit it", arguments.len())))
            }
        }
    }

    /// Drops the attributes that torch gives a state_dict, `_metadata`; no other object has any.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let Value::Dict(attributes) = &self.values[state] else { return Err(refuse("sets a state that is no dict")) };
        let [(name, _)] = attributes.as_slice() else { return Err(refuse("sets other attributes than _metadata")) };
        let Value::Str("_metadata") = self.values[*name] else {
            return Err(refuse("sets other attributes than _metadata"));
        };
        let Value::Dict(_) = self.top()? else { return Err(refuse("sets attributes of what is no dict")) };
        Ok(())
    }

    /// Resolves ("storage", type, key, location, elements).
    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let bad = || refuse("has a persistent id that is no storage");
        let Value::Sequence(items) = &self.values[id] else { return Err(bad()) };
        let [tag, kind, key, _, len] = items.as_slice() else { return Err(bad()) };
        let [tag, kind, key, len] = [tag, kind, key, len].map(|id| &self.values[*id]);
        let (Value::Str("storage"), Value::Global(Global::StorageType(dtype)), Value::Str(key), Value::Int(len)) =
            (tag, kind, key, len)
        else {
            return Err(bad());
        };
        bounded(key.len(), MOST_KEY, "bytes in a storage's name")?;
        let storage = Storage { key, dtype: *dtype, len: usize::try_from(*len).map_err(|_| bad())? };
        self.push(Value::Storage(storage))
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<TorchTensor<'a>> {
        let Value::Storage(storage) = self.values[storage] else { return Err(refuse("has a tensor of no storage")) };
        let offset = self.size(offset)?;
        let tensor = TorchTensor { storage, offset, shape: self.sizes(shape)?, strides: self.sizes(strides)? };
        if !tensor.is_inside() {
            return Err(refuse(format_args!(
                "has a tensor {:?} at {offset} with strides {:?} in a storage of {} elements",
                tensor.shape, tensor.strides, storage.len
            )));
        }
        Ok(tensor)
    }

    fn size(&self, id: Id) -> Result<usize> {
        let Value::Int(size) = self.values[id] else { return Err(refuse("has a size that is no integer")) };
        usize::try_from(size).map_err(|_| refuse(format_args!("has the size {size}")))
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>> {
        let Value::Sequence(items) = &self.values[id] else { return Err(refuse("has a shape that is no tuple")) };
        bounded(items.len(), MOST_DIMENSIONS, "dimensions in a tensor")?;
        items.iter().map(|id| self.size(*id)).collect()
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| refuse("has a name that is not UTF-8"))
}

fn bounded(n: usize, most: usize, what: &str) -> Result<()> {
    if n > most {
        return Err(refuse(format_args!("has over {most} {what}")));
    }
    Ok(())
}
