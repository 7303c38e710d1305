// One contestant in a dedicated worker: load, first run, warm runs, timed runs. A classic worker, since LiteRT.js calls importScripts.
/* global self, performance, fetch, createImageBitmap, OffscreenCanvas */

/** RGBA of the job's picture: raw where the server generated it, else decoded. */
async function readPicture({ url, width, height }) {
  const response = await fetch(url);
  if (width) return { rgba: new Uint8Array(await response.arrayBuffer()), width, height };
  const bitmap = await createImageBitmap(await response.blob());
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
  context.drawImage(bitmap, 0, 0);
  const { data, width: w, height: h } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  return { rgba: new Uint8Array(data.buffer), width: w, height: h };
}

async function timed(work) {
  const start = performance.now();
  const value = await work();
  return { value, ms: performance.now() - start };
}

/** A run's parts by name, and what is left of its `ms`: the picture's way into the engine and the result's out of it. */
function partsOf(ms, parts) {
  return { ...parts, copies: Object.values(parts).reduce((left, part) => left - part, ms) };
}

async function measure(job) {
  const { memoryBytes } = await import('./memory.js');
  const picture = await readPicture(job.picture);
  const { prepare, load } = await import(`./contestants/${job.engine}.js`);
  const input = prepare(picture, job);
  const { value: contestant, ms: load_ms } = await timed(() => load(job));
  const run = () => contestant.run(input);
  const { ms: first_ms } = await timed(run);
  for (let i = 0; i < job.warm; i++) await run();
  const result = { load_ms, first_ms, times: [], parts: [], info: contestant.info?.() };
  for (let i = 0; i < job.runs; i++) {
    const { ms } = await timed(run);
    result.times.push(ms);
    if (contestant.parts) result.parts.push(partsOf(ms, contestant.parts()));
  }
  if (job.output) result.output = await contestant.output(input);
  result.peak_bytes = memoryBytes();
  if (job.profiles) result.profiles = Array.from({ length: job.profiles }, () => contestant.profile(input));
  return result;
}

self.onmessage = async ({ data: job }) => {
  try {
    self.postMessage({ result: await measure(job) });
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};
