// Who runs what, whether the outputs agree, and the timed launches.
import { extname } from 'node:path';
import { gzipSync } from 'node:zlib';
import { compare } from './agreement.mjs';
import { launch } from './browser.mjs';
import { dtypes, engines } from './models.mjs';
import { memoryOfWeights } from './safetensors.mjs';
import { median, medianLayers, summary } from './statistics.mjs';
import { start, takeTurns } from './turns.mjs';

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
    const { output, error } = await outputOf(browser, contestant);
    const reference = referenceOf(contestant, checked);
    const verdict = verdictOf(output, error, reference, contestant.dtype);
    checked.push({ ...contestant, ...verdict, output });
    const against = reference && output ? ` as ${label(reference)}` : '';
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

/** { output } of one run, or { error }. */
async function outputOf(browser, contestant) {
  const { ask, close } = await browser.open('/bench/worker.js');
  try {
    await ask(start(contestant, 0));
    return { output: await ask({ step: 'output' }) };
  } catch (error) {
    return { error: error.message };
  } finally {
    await close();
  }
}

function verdictOf(output, error, reference, dtype) {
  if (error) return { agrees: false, how: `cannot run: ${error}` };
  if (!reference) return { agrees: true, how: 'runs first, so the others are held to it' };
  return compare(output, reference.output, dtype);
}

/** `all` by what `key` gives, in the order of the first of each. */
function groups(all, key) {
  const found = new Map();
  all.forEach((entry) => found.set(key(entry), [...(found.get(key(entry)) ?? []), entry]));
  return [...found.values()];
}

/** Contestants of the same work side by side, the engine that goes first another in each launch. */
function ordered(all, turn) {
  const work = groups(all, ({ dtype, threads }) => `${dtype} ${threads}`);
  return work.flatMap((group) => group.map((_, i) => group[(i + turn) % group.length]));
}

/** Bytes that came over the wire: scripts and modules as gzip makes them, weights as they are; and what our weights take in memory. */
async function transferred(server, requested) {
  const bytes = { engine_bytes: 0, weights_bytes: 0 };
  for (const path of requested) {
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

/** A model's contestants in one launch; what was measured goes to each one's own list. */
async function playOnce(browser, server, entries, options, measureLimit) {
  const { limits, players } = await takeTurns(browser, server, entries, options, measureLimit);
  for (const { contestant, measured, requested, error } of players) {
    if (error) {
      console.log(`Failed: ${label(contestant)}: ${error}`);
      continue;
    }
    contestant.measured.push(measured);
    contestant.bytes ??= await transferred(server, requested);
    console.log(`  ${label(contestant)}: ${median(measured.turns.flat()).toFixed(2)} ms`);
  }
  return limits;
}

/**
 * Times `all` in `launches` fresh browsers, model by model: { browser, limits, runs, layers }, where `limits` has those of each turn by the model's name.
 * mobilesight's layers are those of `profiles` profiles in each launch.
 */
export async function time(all, server, options) {
  const entries = all.map((contestant) => ({ ...contestant, measured: [] }));
  const models = groups(entries, ({ model }) => model.name);
  const limits = Object.fromEntries(models.map(([{ model }]) => [model.name, []]));
  let version;
  for (let turn = 0; turn < options.launches; turn++) {
    console.log(`Launch ${turn + 1} of ${options.launches}`);
    const browser = await launch(server.origin, options.jsFlags);
    version = browser.version;
    const { ask } = await browser.open('/bench/limit.js');
    const measureLimit = () => limit(ask);
    for (const group of models) {
      const found = await playOnce(browser, server, ordered(group, turn), options, measureLimit);
      limits[group[0].model.name].push(...found);
    }
    await browser.close();
  }
  const done = entries.filter(({ measured }) => measured.length > 0);
  const layers = done.flatMap(({ model, dtype, threads, measured }) => {
    const launches = measured.flatMap(({ profiles }) => (profiles.length ? [profiles] : []));
    return launches.length ? [{ model: model.name, dtype, threads, layers: medianLayers(launches) }] : [];
  });
  return { browser: version, limits, runs: done.map(row), layers };
}

async function limit(ask) {
  try {
    return await ask({ url: '/limit.wasm', samples: 3 });
  } catch (error) {
    throw new Error(`the limit cannot be measured: ${error.message}`, { cause: error });
  }
}

function row({ engine, model, dtype, threads, measured, bytes }) {
  const parts = measured.flatMap(({ parts }) => parts);
  const part = (name) => (parts.length ? { [`${name}_ms`]: median(parts.map((times) => times[name])) } : {});
  const own = { ...part('preprocess'), ...part('network'), ...part('postprocess'), ...part('copies') };
  return { engine, model: model.name, dtype, threads, ...summary(measured), ...bytes, ...own };
}
