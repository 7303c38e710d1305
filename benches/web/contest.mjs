// Who runs what, whether the outputs agree, and the timed launches.
import { extname } from 'node:path';
import { gzipSync } from 'node:zlib';
import { compare } from './agreement.mjs';
import { launch } from './browser.mjs';
import { dtypes, engines } from './models.mjs';
import { memoryOfWeights } from './safetensors.mjs';
import { median, medianLayers, summary } from './statistics.mjs';

const threadCounts = [1, 2];

export const label = ({ engine, model, dtype, threads }) =>
  `${engine} ${model.name} ${dtype}, ${threads} thread${threads > 1 ? 's' : ''}`;

/** Every engine with each file that it has, on one and two threads; `find(engine, model, dtype)` gives the file's URL. */
export function contestants(models, find) {
  const all = [];
  for (const model of models) {
    for (const dtype of dtypes) {
      const entered = engines.map((engine) => ({ engine: engine.name, weights: find(engine, model, dtype) }));
      for (const threads of threadCounts) {
        all.push(...entered.filter(({ weights }) => weights).map((entry) => ({ ...entry, model, dtype, threads })));
      }
    }
  }
  return all;
}

/** What worker.js is told. */
function jobOf({ engine, model, dtype, threads, weights }, extra) {
  const { task, options } = model;
  const { sample, height, width } = model.picture;
  const picture = sample ? { url: `/samples/${sample}` } : { url: `/picture/${height}x${width}`, height, width };
  return { engine, task, dtype, threads, weights, options, picture, ...extra };
}

/** What an engine is held to: int8 to its own f32, f32 to the first engine's, mobilesight's where it runs. */
function referenceOf({ engine, model, dtype }, checked) {
  const f32 = checked.filter((entry) => entry.model === model && entry.dtype === 'f32' && entry.agrees);
  return (dtype === 'int8' && f32.find((entry) => entry.engine === engine)) || f32[0];
}

/** Runs each contestant once and compares outputs: those that agree, and for those that do not the reason. */
export async function checkAgreement(all, origin, { jsFlags }) {
  const browser = await launch(origin, jsFlags);
  const checked = [];
  for (const contestant of all) {
    const { result, error } = await browser.run(
      '/bench/worker.js',
      jobOf(contestant, { warm: 0, runs: 0, output: true }),
    );
    const reference = referenceOf(contestant, checked);
    const verdict = verdictOf(result, error, reference, contestant.dtype);
    checked.push({ ...contestant, ...verdict, output: result?.output });
    const against = reference && result ? ` as ${label(reference)}` : '';
    console.log(`${verdict.agrees ? 'Agrees' : 'Left out'}: ${label(contestant)}: ${verdict.how}${against}`);
  }
  await browser.close();
  const strip = ({ engine, model, dtype, threads, how }) => ({ engine, model: model.name, dtype, threads, how });
  return {
    agreed: all.filter((_, i) => checked[i].agrees),
    agreement: checked.filter(({ agrees }) => agrees).map(strip),
    refused: checked.filter(({ agrees }) => !agrees).map(strip),
  };
}

function verdictOf(result, error, reference, dtype) {
  if (error) return { agrees: false, how: `cannot run: ${error}` };
  if (!reference) return { agrees: true, how: 'runs first, so the others are held to it' };
  return compare(result.output, reference.output, dtype);
}

/** Contestants of the same work side by side, the engine that goes first another in each launch. */
function ordered(all, turn) {
  const key = ({ model, dtype, threads }) => `${model.name} ${dtype} ${threads}`;
  const groups = new Map();
  all.forEach((entry) => groups.set(key(entry), [...(groups.get(key(entry)) ?? []), entry]));
  return [...groups.values()].flatMap((group) => group.map((_, i) => group[(i + turn) % group.length]));
}

/** Bytes that came over the wire: scripts and modules as gzip makes them, weights as they are; and what our weights take in memory. */
async function transferred(server) {
  const bytes = { engine_bytes: 0, weights_bytes: 0 };
  for (const path of server.requested) {
    const [extension, code] = [extname(path), ['.js', '.mjs', '.wasm'].includes(extname(path))];
    if (path.startsWith('/weights/')) {
      const file = await server.read(path);
      bytes.weights_bytes += file.length;
      if (extension === '.safetensors') bytes.weights_memory_bytes = memoryOfWeights(file);
    }
    if (code && !path.startsWith('/bench/')) bytes.engine_bytes += gzipSync(await server.read(path)).length;
  }
  return bytes;
}

/** One contestant in one launch; what it measured goes to the contestant's own list. */
async function runOnce(browser, server, contestant, { warm, runs, profiles: most = 0 }) {
  server.requested.clear();
  const profiles = contestant.engine === 'mobilesight' ? most : 0;
  const { result, error } = await browser.run('/bench/worker.js', jobOf(contestant, { warm, runs, profiles }));
  if (error) return console.log(`Failed: ${label(contestant)}: ${error}`);
  contestant.measured.push(result);
  contestant.bytes ??= await transferred(server);
  console.log(`  ${label(contestant)}: ${median(result.times).toFixed(2)} ms`);
}

/**
 * Times `all` in `launches` fresh browsers, the limit before and after them: { browser, limits, runs, layers }. mobilesight's layers are those of `profiles`
 * profiles in each launch.
 */
export async function time(all, server, options) {
  const entries = all.map((contestant) => ({ ...contestant, measured: [] }));
  const limits = [];
  let version;
  for (let turn = 0; turn < options.launches; turn++) {
    console.log(`Launch ${turn + 1} of ${options.launches}`);
    const browser = await launch(server.origin, options.jsFlags);
    version = browser.version;
    const measureLimit = async () => limits.push(await limit(browser));
    await measureLimit();
    for (const entry of ordered(entries, turn)) await runOnce(browser, server, entry, options);
    await measureLimit();
    await browser.close();
  }
  const done = entries.filter(({ measured }) => measured.length > 0);
  const layers = done.flatMap(({ model, dtype, threads, measured }) => {
    const launches = measured.flatMap(({ profiles }) => (profiles ? [profiles] : []));
    return launches.length ? [{ model: model.name, dtype, threads, layers: medianLayers(launches) }] : [];
  });
  return { browser: version, limits, runs: done.map(row), layers };
}

async function limit(browser) {
  const { result, error } = await browser.run('/bench/limit.js', { url: '/limit.wasm', samples: 20 });
  if (error) throw new Error(`the limit cannot be measured: ${error}`);
  return result;
}

function row({ engine, model, dtype, threads, measured, bytes }) {
  const parts = measured.flatMap(({ parts }) => parts);
  const part = (name) => (parts.length ? { [`${name}_ms`]: median(parts.map((times) => times[name])) } : {});
  const own = { ...part('preprocess'), ...part('network'), ...part('postprocess'), ...part('copies') };
  return { engine, model: model.name, dtype, threads, ...summary(measured), ...bytes, ...own };
}
