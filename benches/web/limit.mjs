// Builds the micro-kernels, and says which of their rates are the limit of each dtype.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { step } from '../../pkg-config/run.mjs';
import { ensureWasmToolchain } from '../../pkg-config/toolchain.mjs';
import { cache } from '../../pkg-config/cache.mjs';
import { variants } from '../../pkg-config/variants.mjs';
import { hasExactDot } from './goals.mjs';

/** The path of the module, built with the flags of the relaxed engine. */
export function buildLimit() {
  const { cargo, env } = ensureWasmToolchain();
  const { rustflags } = variants.find(({ name }) => name === 'relaxed');
  const targetDir = join(cache, 'bench-limit');
  const cwd = fileURLToPath(new URL('limit/', import.meta.url));
  const args = ['build', '--locked', '--release', '--quiet', '--target', 'wasm32-unknown-unknown'];
  step('Limit', cargo, args, { cwd, env: { ...env, RUSTFLAGS: rustflags, CARGO_TARGET_DIR: targetDir } });
  return join(targetDir, 'wasm32-unknown-unknown/release/mobilesight_limit.wasm');
}

/** The best of all `measurements` by kernel, and by dtype the best of what is exact: GMAC/s. */
function peakOf(measurements) {
  const best = (name) => Math.max(...measurements.map((rates) => rates[name]));
  const peak = {
    f32: best('f32_fma'),
    i8_dot_i16: best('i8_dot_i16'),
    i8_dot_i8: best('i8_dot_i8'),
    dot: measurements[0].dot,
  };
  return { ...peak, i8: hasExactDot(peak) ? Math.max(peak.i8_dot_i16, peak.i8_dot_i8) : peak.i8_dot_i16 };
}

/** Of `limits`, each turn's measurement by model: the peak of all, and by model that of each turn. */
export function peaksOf(limits) {
  const peak = peakOf(Object.values(limits).flat());
  const inTurn = (measurement) => {
    const { f32, i8 } = peakOf([measurement]);
    return { f32, i8 };
  };
  const turn_peaks = Object.fromEntries(Object.entries(limits).map(([model, turns]) => [model, turns.map(inTurn)]));
  return { peak, turn_peaks };
}
