// onnxruntime-web on its WebAssembly backend.
import { argmax, logSoftmax, pictureTensor } from './tensors.js';

const dist = '/peers/onnxruntime-web/dist/';

/** The input tensor: [3, h, w] for the detector, else with a batch of one. */
export function prepare(picture, { task }) {
  const dims = [3, picture.height, picture.width];
  return { data: pictureTensor(picture, { task, planar: true }), dims: task === 'detection' ? dims : [1, ...dims] };
}

export async function load({ weights, threads, task }) {
  const ort = await import(`${dist}ort.wasm.min.mjs`);
  ort.env.wasm.wasmPaths = dist;
  ort.env.wasm.numThreads = threads;
  const session = await ort.InferenceSession.create(weights, { executionProviders: ['wasm'] });
  let result;
  return {
    run: async ({ data, dims }) => (result = await session.run({ x: new ort.Tensor('float32', data, dims) })),
    output: () => plain(result, task),
  };
}

function plain(result, task) {
  if (task === 'detection') {
    const { boxes, scores, labels } = result;
    return { boxes: Array.from(boxes.data), scores: Array.from(scores.data), labels: Array.from(labels.data, Number) };
  }
  if (task === 'classification') return { logProbabilities: logSoftmax(result.logits.data) };
  const [, , height, width] = result.out.dims;
  return { mask: argmax(result.out.data, height * width, true) };
}
