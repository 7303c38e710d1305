/**
 * Reads the built modules: in the inner loops of the GEMMs each splat of A must come right before its two multiplies. With 12 accumulators
 * of f32, 2 vectors of B and 1 splat V8's 15 registers are full, and with 10 of i32, as much and a product, too; a splat that is hoisted
 * spills, at half the speed.
 */
import { readFileSync } from 'node:fs';
import binaryen from 'binaryen';
import { describe, expect, it } from 'vitest';

/** The word that multiplies, and the rows of the tile. */
const GEMMS = {
  f32: { word: 'f32x4.relaxed_madd', rows: 6 },
  'i16 dot': { word: 'i32x4.dot_i16x8_s', rows: 5 },
  'relaxed dot': { word: 'i32x4.relaxed_dot_i8x16_i7x16_add_s', rows: 5 },
};

/** Without relaxed SIMD a multiply of f32 is two words, and no dot is of bytes. */
const MODULES: Record<string, (keyof typeof GEMMS)[]> = {
  simd128: ['i16 dot'],
  relaxed: ['f32', 'i16 dot', 'relaxed dot'],
  'simd128-threads': ['i16 dot'],
  'relaxed-threads': ['f32', 'i16 dot', 'relaxed dot'],
};

/** The words of a module in the order in which they run. */
function instructions(file: string): string[] {
  const module = binaryen.readBinary(readFileSync(file));
  const text = module.emitStackIR();
  module.dispose();
  return text.split('\n').map((line) => line.trim());
}

/** The bodies of the loops that hold no other loop. */
function innerLoops(lines: string[]): string[][] {
  const loops: string[][] = [];
  let start = -1;
  lines.forEach((line, i) => {
    if (line.startsWith('loop')) start = i;
    // The label of br_if closes the loop: what lies between is its body.
    if (start >= 0 && line.startsWith('br_if')) {
      loops.push(lines.slice(start, i));
      start = -1;
    }
  });
  return loops;
}

/** 's' for a splat of A and 'm' for `word`, in order. */
function pattern(body: string[], word: string): string {
  const letters = body.map((line) => {
    if (line.startsWith('v128.load32_splat')) return 's';
    return line.startsWith(word) ? 'm' : '';
  });
  return letters.join('');
}

describe.each(Object.entries(MODULES))('the module %s', (name, gemms) => {
  const file = new URL(`../../dist/package/engine/${name}/mobilesight_bg.wasm`, import.meta.url).pathname;
  const loops = innerLoops(instructions(file));

  it.each(gemms)('keeps each splat right before its multiplies in the GEMM by %s', (gemm) => {
    const { word, rows } = GEMMS[gemm];
    const patterns = loops.map((body) => pattern(body, word));
    const tile = patterns.filter((p) => p.length === 3 * rows && p.replaceAll('s', '').length === 2 * rows);
    expect(tile.length).toBeGreaterThan(0);
    for (const found of tile) expect(found).toBe('smm'.repeat(rows));
  });
});
