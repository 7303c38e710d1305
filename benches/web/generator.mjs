// Weights and pictures made from names alone, the same in every language: SplitMix64 whose state starts at FNV-1a-64 of the name.
import { Buffer } from 'node:buffer';

const mask = 0xffffffffffffffffn;

function seed(name) {
  return Buffer.from(name).reduce((hash, byte) => ((hash ^ BigInt(byte)) * 0x100000001b3n) & mask, 0xcbf29ce484222325n);
}

/** `n` floats in [0, 1): the top 24 bits of each 64-bit value. */
export function uniform(name, n) {
  const out = new Float32Array(n);
  let state = seed(name);
  for (let i = 0; i < n; i++) {
    state = (state + 0x9e3779b97f4a7c15n) & mask;
    let z = ((state ^ (state >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    out[i] = Number((z ^ (z >> 31n)) >> 40n) / 2 ** 24;
  }
  return out;
}

/** The generated picture, RGBA: 32-pixel blocks of one colour and noise of +-16. */
export function picture(height, width) {
  const columns = Math.ceil(width / 32);
  const blocks = uniform(`image.blocks.${height}x${width}`, Math.ceil(height / 32) * columns * 3);
  const noise = uniform(`image.noise.${height}x${width}`, height * width * 3);
  const rgba = new Uint8Array(height * width * 4).fill(255);
  for (let p = 0; p < height * width; p++) {
    const block = Math.floor(p / width / 32) * columns + Math.floor((p % width) / 32);
    for (let c = 0; c < 3; c++) {
      const value = Math.fround(blocks[block * 3 + c] * 255) + Math.fround((noise[p * 3 + c] - 0.5) * 32);
      rgba[p * 4 + c] = Math.min(Math.max(Math.floor(Math.fround(value)), 0), 255);
    }
  }
  return rgba;
}

/** `rgba` of `from`'s size at `to`'s, each the nearest pixel: what a network makes of it does not depend on the size. */
export function enlarged(rgba, from, to) {
  const pixels = new Uint32Array(rgba.buffer, rgba.byteOffset, from.height * from.width);
  const out = new Uint32Array(to.height * to.width);
  for (let y = 0; y < to.height; y++) {
    const row = Math.floor((y * from.height) / to.height) * from.width;
    for (let x = 0; x < to.width; x++) {
      out[y * to.width + x] = pixels[row + Math.floor((x * from.width) / to.width)];
    }
  }
  return new Uint8Array(out.buffer);
}

/** A layer's weights, [out, in]: uniform within +-sqrt(3.6 / in), in f32. */
export function linearWeights(name, out, inputs) {
  const bound = Math.fround(Math.sqrt(3.6 / inputs));
  return uniform(name, out * inputs).map((u) => (u * 2 - 1) * bound);
}
