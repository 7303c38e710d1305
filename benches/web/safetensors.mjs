// What a .safetensors file says of itself: eight bytes with the length of a header, the header in JSON, the tensors.
import { Buffer } from 'node:buffer';

/** The header of a .safetensors file's bytes, and where the tensors begin. */
function headerOf(bytes) {
  const end = 8 + Number(bytes.readBigUInt64LE());
  return { header: JSON.parse(bytes.toString('utf8', 8, end)), end };
}

/** What the tensors of a .safetensors file's bytes take in memory: bytes as they are, all else in f32. */
export function memoryOfWeights(bytes) {
  const tensors = Object.entries(headerOf(bytes).header).filter(([name]) => name !== '__metadata__');
  const sizeOf = ({ dtype, shape }) => shape.reduce((size, side) => size * side, ['I8', 'U8'].includes(dtype) ? 1 : 4);
  return tensors.reduce((sum, [, tensor]) => sum + sizeOf(tensor), 0);
}

/** A .safetensors file's bytes with its mobilesight metadata changed by `edit`. */
export function withMetadata(bytes, edit) {
  const { header, end } = headerOf(bytes);
  const metadata = edit(JSON.parse(header.__metadata__.mobilesight));
  header.__metadata__.mobilesight = JSON.stringify(metadata);
  const text = JSON.stringify(header);
  // The tensors stay aligned to 8 bytes.
  const json = Buffer.from(text.padEnd(text.length + ((8 - (Buffer.byteLength(text) % 8)) % 8)));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([size, json, bytes.subarray(end)]);
}
