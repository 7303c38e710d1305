/**
 * Reads the built modules: each must need no more of WebAssembly than its browsers have. Beside SIMD, Chrome 91, Firefox 114 and Safari 16.4
 * share what is in FLOOR; reference types, which Rust and wasm-bindgen use when they are left to, came to Chrome with 96.
 */
import { readFileSync } from 'node:fs';
import binaryen from 'binaryen';
import { describe, expect, it } from 'vitest';

const { Features } = binaryen;
const FLOOR =
  Features.BulkMemory |
  Features.BulkMemoryOpt |
  Features.Multivalue |
  Features.MutableGlobals |
  Features.NontrappingFPToInt |
  Features.SignExt;

const MODULES: Record<string, number[]> = {
  simd128: [Features.SIMD128],
  relaxed: [Features.SIMD128, Features.RelaxedSIMD],
  'simd128-threads': [Features.SIMD128, Features.Atomics],
  'relaxed-threads': [Features.SIMD128, Features.RelaxedSIMD, Features.Atomics],
};

describe.each(Object.entries(MODULES))('the module %s', (name, own) => {
  it('needs nothing beyond the floor and its own', () => {
    const file = new URL(`../../dist/package/engine/${name}/mobilesight_bg.wasm`, import.meta.url);
    const module = binaryen.readBinary(readFileSync(file));
    module.setFeatures(own.reduce((features, feature) => features | feature, FLOOR));
    expect(module.validate()).toBe(1);
    module.dispose();
  });
});
