// Puts a tensor's values into an ONNX file that lacks them. ONNX is protobuf: ModelProto.graph = 7, GraphProto.initializer = 5,
// TensorProto.dims = 1, TensorProto.raw_data = 9.
import { Buffer } from 'node:buffer';

const graphField = 7;
const initializerField = 5;
const dimsField = 1;
const rawDataField = 9;
const lengthDelimited = 2;

function readVarint(bytes, at) {
  let value = 0;
  let scale = 1;
  for (; bytes[at] & 0x80; at++, scale *= 128) value += (bytes[at] & 0x7f) * scale;
  return { value: value + bytes[at] * scale, next: at + 1 };
}

function varint(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Buffer.from([...bytes, value]);
}

/** A length-delimited field, as parts to be joined. */
function field(number, parts) {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return [varint(number * 8 + lengthDelimited), varint(length), ...parts];
}

/** The fields of a message: number, the whole field's bytes, and its value: a number or bytes. */
function* fields(message) {
  for (let at = 0; at < message.length;) {
    const { value: tag, next } = readVarint(message, at);
    const [number, wire] = [Math.floor(tag / 8), tag % 8];
    if (wire !== 0 && wire !== lengthDelimited) {
      const end = next + (wire === 1 ? 8 : 4);
      yield { number, whole: message.subarray(at, end) };
      at = end;
      continue;
    }
    const { value, next: start } = readVarint(message, next);
    const end = wire === 0 ? start : start + value;
    yield { number, whole: message.subarray(at, end), value: wire === 0 ? value : message.subarray(start, end) };
    at = end;
  }
}

function dims(tensor) {
  return [...fields(tensor)].flatMap(({ number, value }) => {
    if (number !== dimsField) return [];
    if (typeof value === 'number') return [value];
    const packed = [];
    for (let at = 0; at < value.length;) {
      const read = readVarint(value, at);
      packed.push(read.value);
      at = read.next;
    }
    return packed;
  });
}

/** `model` with `values` as the raw data of the initializer of `shape` that has none. */
export function fillInitializer(model, shape, values) {
  const rawData = field(rawDataField, [Buffer.from(values.buffer, values.byteOffset, values.byteLength)]);
  const lacks = (tensor) =>
    String(dims(tensor)) === String(shape) && ![...fields(tensor)].some((f) => f.number === rawDataField);
  let filled = false;
  const graph = [...fields(model)].find(({ number }) => number === graphField).value;
  const parts = [...fields(graph)].flatMap(({ number, whole, value }) => {
    if (number !== initializerField || !lacks(value)) return [whole];
    filled = true;
    return field(initializerField, [value, ...rawData]);
  });
  if (!filled) throw new Error(`the ONNX file has no empty initializer of shape ${shape}`);
  const rest = [...fields(model)].filter(({ number }) => number !== graphField).map(({ whole }) => whole);
  return Buffer.concat([...rest, ...field(graphField, parts)]);
}
