/**
 * Reads the built relaxed modules: in the inner loop of the f32 GEMM each splat of A must come right before its two multiplies. With 12
 * accumulators, 2 vectors of B and 1 splat V8's 15 registers are full; a splat that is hoisted spills, at half the speed.
 */
import { readFileSync } from 'node:fs';
import binaryen from 'binaryen';
import { describe, expect, it } from 'vitest';

const ROWS = 6;

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

/** 's' for a splat of A and 'm' for a multiply, in order. */
function pattern(body: string[]): string {
  const letters = body.map((line) => {
    if (line.startsWith('v128.load32_splat')) return 's';
    return line.startsWith('f32x4.relaxed_madd') ? 'm' : '';
  });
  return letters.join('');
}

describe.each(['relaxed', 'relaxed-threads'])('the GEMM of the module %s', (name) => {
  it('keeps each splat right before its multiplies', () => {
    const file = new URL(`../../dist/package/engine/${name}/mobilesight_bg.wasm`, import.meta.url).pathname;
    const patterns = innerLoops(instructions(file)).map(pattern);
    const tile = patterns.filter((p) => p.length === 3 * ROWS && p.replaceAll('s', '').length === 2 * ROWS);
    expect(tile.length).toBeGreaterThan(0);
    for (const found of tile) expect(found).toBe('smm'.repeat(ROWS));
  });
});
