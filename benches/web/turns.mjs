// Contestants in one browser, all of them loaded, that take turns: a host that is busy for seconds is so for all of them.
import { extname } from 'node:path';
import { gzipSync } from 'node:zlib';
import { memoryOfWeights } from './safetensors.mjs';

/** A launch's timed runs are made in as many turns. */
export const turns = 5;

/** What worker.js is told of a contestant. */
function jobOf({ engine, model, dtype, threads, weights }) {
  const { task, options } = model;
  const { sample, height, width } = model.picture;
  const picture = sample ? { url: `/samples/${sample}` } : { url: `/picture/${height}x${width}`, height, width };
  return { engine, task, dtype, threads, weights, options, picture };
}

/** Loads a contestant and runs it, `warm` times more than once: { started: { load_ms, first_ms }, step, close }, where `step` is for worker.js's other steps. */
export async function enter(browser, contestant, warm) {
  const { ask, close } = await browser.open('/bench/worker.js');
  const step = (name, more) => ask({ step: name, ...more });
  try {
    return { started: await step('start', { job: jobOf(contestant), warm }), step, close };
  } catch (error) {
    await close();
    throw error;
  }
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

/**
 * Loads `contestants` and times them in turns, the limit by `measureLimit` before each: { limits, measured }, of each contestant { load_ms, first_ms, turns:
 * [[ms]], parts, peak_bytes, profiles, bytes } or { error }.
 */
export async function takeTurns(browser, server, contestants, { warm, runs, profiles = 0 }, measureLimit) {
  const measured = contestants.map(() => ({ turns: [], parts: [] }));
  const players = [];
  // What fails is out, and the others go on.
  const attempt = async (i, work) => {
    if (measured[i].error) return;
    try {
      await work(measured[i]);
    } catch (error) {
      measured[i] = { error: error.message };
    }
  };
  const all = async (work) => {
    for (const i of contestants.keys()) await attempt(i, (result) => work(result, i));
  };
  await all(async (result, i) => {
    server.requested.clear();
    players[i] = await enter(browser, contestants[i], warm);
    Object.assign(result, players[i].started, { bytes: await transferred(server) });
  });
  const limits = [];
  for (let turn = 0; turn < turns; turn++) {
    limits.push(await measureLimit());
    await all(async (result, i) => {
      const { times, parts } = await players[i].step('turn', { runs: Math.ceil(runs / turns) });
      result.turns.push(times);
      result.parts.push(...parts);
    });
  }
  await all(async (result, i) => {
    const isOurs = contestants[i].engine === 'mobilesight';
    Object.assign(result, await players[i].step('end', { profiles: isOurs ? profiles : 0 }));
  });
  for (const player of players) await player?.close();
  return { limits, measured };
}
