// mobilesight's engine, without the package's wrapper: RGBA in, boxes, mask or classes out, so its own preprocessing and
// postprocessing are in its times.
/* global fetch */
export const prepare = (picture) => picture;

/** The engine with `job.weights`, warmed up as the package does before it is ready; from this machine the weights come too fast to rehearse. */
export async function load({ weights, threads, options = {} }) {
  const folder = `/dist/engine/${threads > 1 ? 'relaxed-threads' : 'relaxed'}`;
  const response = fetch(weights);
  const { default: init, Engine, initThreadPool } = await import(`${folder}/mobilesight.js`);
  await init({ module_or_path: `${folder}/mobilesight_bg.wasm` });
  // This worker is one of them.
  if (threads > 1) await initThreadPool(threads - 1);
  const engine = new Engine([new Uint8Array(await (await response).arrayBuffer())], null, null);
  engine.warmUp();
  let result;
  return {
    run: ({ rgba, width, height }) => (result = engine.run(rgba, width, height, options)),
    output: () => plain(result),
    parts: () => ({ preprocess: result.preprocess, network: result.network, postprocess: result.postprocess }),
    profile: ({ rgba, width, height }) => engine.profile(rgba, width, height),
  };
}

/** The result as the other contestants give it, in plain arrays. */
function plain({ boxes, mask, scores, classIds }) {
  if (mask) return { mask: Array.from(mask) };
  if (boxes) return { boxes: Array.from(boxes), scores: Array.from(scores), labels: Array.from(classIds) };
  const logProbabilities = new Array(scores.length);
  scores.forEach((score, i) => (logProbabilities[classIds[i]] = Math.log(score)));
  return { logProbabilities };
}
