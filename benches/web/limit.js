// Measures the machine's limit in a worker, in GMAC/s, with the micro-kernels of limit/src/lib.rs.
/* global self, fetch, performance, WebAssembly */

// Reduction, in values: a kilobyte of B and as much of A stay in the first-level cache.
const k = 128;
const kernels = [
  { name: 'f32_fma', rows: 6, valuesPerStep: 1 },
  { name: 'i8_dot_i16', rows: 4, valuesPerStep: 2 },
  { name: 'i8_dot_i8', rows: 4, valuesPerStep: 4 },
];
const dots = { 129540: 'unsigned', 65534: 'saturating', '-508': 'signed' };

/** The best of `samples` stretches of about 10 ms. */
function rate(exports, { name, rows, valuesPerStep }, samples) {
  const base = exports.memory.buffer.byteLength - (1 << 16);
  new Float32Array(exports.memory.buffer, base, 1 << 14).fill(name.startsWith('f32') ? 1e-3 : 0);
  const repeats = 20000;
  const call = () => exports[name](base, base + 16384, base + 32768, k / valuesPerStep, repeats);
  let best = 0;
  for (let i = 0; i < samples; i++) {
    const start = performance.now();
    call();
    best = Math.max(best, (rows * 8 * k * repeats) / (performance.now() - start) / 1e6);
  }
  return best;
}

async function load(url) {
  const bytes = await (await fetch(url)).arrayBuffer();
  const { exports } = (await WebAssembly.instantiate(bytes)).instance;
  exports.memory.grow(2);
  // The optimised code arrives in the background, after the first calls.
  kernels.forEach((kernel) => rate(exports, kernel, 2));
  await new Promise((resolve) => self.setTimeout(resolve, 200));
  return exports;
}

let loading;

self.onmessage = async ({ data: { url, samples } }) => {
  const exports = await (loading ??= load(url));
  const rates = Object.fromEntries(kernels.map((kernel) => [kernel.name, rate(exports, kernel, samples)]));
  self.postMessage({ result: { ...rates, dot: dots[exports.dot(127, 255)] ?? 'unknown' } });
};
