/** What a visitor's browser fetches before any weights: one module with its JavaScript, and the wrapper. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';

const MOST = 300_000;
const PACKAGE = fileURLToPath(new URL('../../dist/package', import.meta.url));

/** All files of a folder, with those of its folders where `deep`. */
function files(folder: string, deep: boolean): string[] {
  const names = readdirSync(folder, { recursive: deep, encoding: 'utf8' });
  return names.filter((name) => /\.(js|wasm)$/.test(name)).map((name) => join(folder, name));
}

describe.each(['simd128', 'simd128-threads', 'relaxed', 'relaxed-threads'])('the engine with module %s', (name) => {
  it('is small', () => {
    const all = [...files(PACKAGE, false), ...files(join(PACKAGE, 'engine', name), true)];
    expect(all.filter((file) => file.endsWith('.wasm'))).toHaveLength(1);
    expect(all.reduce((bytes, file) => bytes + gzipSync(readFileSync(file)).length, 0)).toBeLessThanOrEqual(MOST);
  });
});
