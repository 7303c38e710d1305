// One contestant in a dedicated worker, a step a message. A classic worker, since LiteRT.js calls importScripts.
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

let contestant;
let input;

const steps = {
  /** Load, first run, warm runs. */
  async start({ job, warm }) {
    await import('./memory.js');
    const picture = await readPicture(job.picture);
    const { prepare, load } = await import(`./contestants/${job.engine}.js`);
    input = prepare(picture, job);
    const { value, ms: load_ms } = await timed(() => load(job));
    contestant = value;
    const { ms: first_ms } = await timed(() => contestant.run(input));
    for (let i = 0; i < warm; i++) await contestant.run(input);
    return { load_ms, first_ms };
  },

  /** Timed runs, behind one that has what the others left of the caches. */
  async turn({ runs }) {
    await contestant.run(input);
    const [times, parts] = [[], []];
    for (let i = 0; i < runs; i++) {
      const { ms } = await timed(() => contestant.run(input));
      times.push(ms);
      if (contestant.parts) parts.push(partsOf(ms, contestant.parts()));
    }
    return { times, parts };
  },

  output: () => contestant.output(input),

  /** What it took of memory, and where the time goes in as many profiles. */
  async end({ profiles }) {
    const { memoryBytes } = await import('./memory.js');
    const peak_bytes = memoryBytes();
    return { peak_bytes, profiles: Array.from({ length: profiles }, () => contestant.profile(input)) };
  },
};

self.onmessage = async ({ data: { step, ...asked } }) => {
  try {
    self.postMessage({ result: await steps[step](asked) });
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};
