// LiteRT.js on its WebAssembly (XNNPACK) backend. Its output stays in its memory: reading it is not in its times.
/* global self */
import { argmax, logSoftmax, pictureTensor } from './tensors.js';

const core = '/peers/@litertjs/core/';

/** The input: [1, h, w, 3]. */
export function prepare(picture, { task }) {
  const { width, height } = picture;
  return { data: pictureTensor(picture, { task, planar: false }), shape: [1, height, width, 3] };
}

export async function load({ weights, threads, task }) {
  const { loadLiteRt, loadAndCompile, Tensor } = await import(`${core}dist/index.js`);
  // In a worker the module takes the worker's own address for its own, unless told.
  self.Module = {
    locateFile: (name) => `${core}wasm/${name}`,
    mainScriptUrlOrBlob: `${core}wasm/litert_wasm_threaded_internal.js`,
  };
  await loadLiteRt(`${core}wasm/`, { threads: threads > 1 });
  const model = await loadAndCompile(weights, { accelerator: 'wasm', cpuOptions: { numThreads: threads } });
  let tensor;
  let outputs = [];
  return {
    async run({ data, shape }) {
      tensor ??= new Tensor(data, shape);
      outputs.forEach((output) => output.delete());
      outputs = await model.run([tensor]);
    },
    output: async ({ shape: [, height, width] }) => plain(await outputs[0].data(), task, height * width),
  };
}

function plain(data, task, pixels) {
  return task === 'classification' ? { logProbabilities: logSoftmax(data) } : { mask: argmax(data, pixels, false) };
}
