// `npm run bench`: mobilesight beside its peers in one Chromium, and all of them beside the machine's limit; writes benches/RESULTS.md. README.md
// of benches/ says what is measured and how.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildEngine } from '../../pkg-config/build.mjs';
import { readArguments, root } from '../../pkg-config/run.mjs';
import { ensureNodeModules } from '../../pkg-config/toolchain.mjs';
import { variants } from '../../pkg-config/variants.mjs';
import { checkAgreement, contestants, time } from './contest.mjs';
import { picture } from './generator.mjs';
import { buildLimit, peaksOf } from './limit.mjs';
import { commitOf, cpu as ownCpu, machineOf } from './machine.mjs';
import { writeFamily } from './family-report.mjs';
import { measureFamily } from './family.mjs';
import { absentFiles, models } from './models.mjs';
import { installPeers, peersFolder, servedPeers } from './peers.mjs';
import { absence, printSummary, rewriteReport, writeReport, writeScale } from './report.mjs';
import { scaleSection } from './scale-report.mjs';
import { measureScale, seriesNames } from './scale.mjs';
import { serve } from './server.mjs';
import { turns } from './turns.mjs';
import { findFile, generatedWeights, peerFolders, quantisedWeights } from './weights.mjs';

const shared = process.env.MOBILESIGHT_SHARED ?? join(root, '../shared');
// Of each of our contestants in a launch.
const profiles = 3;
// What has V8 do without the one-instruction dot where the CPU has it: its relaxed dot is then the one that saturates.
const withoutVnni = '--no-enable-avx-vnni --no-enable-avx-vnni-int8';
const engineFolder = join(root, 'dist/package/engine');

const usage =
  'npm run bench [-- --quick | --launches N] [--only NAME] [--json FILE] [--without-vnni | --family | --scale | --report]; benches/README.md says more';

/** A value that an option does not take. */
class BadOption extends Error {}

function parseOptions() {
  const { values } = readArguments(usage, {
    json: { type: 'string' },
    only: { type: 'string' },
    launches: { type: 'string' },
    quick: { type: 'boolean', default: false },
    family: { type: 'boolean', default: false },
    scale: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    'without-vnni': { type: 'boolean', default: false },
  });
  const { quick, only, scale, family } = values;
  const launches = Number(values.launches ?? (quick ? 2 : scale || family ? 3 : 6));
  if (!Number.isInteger(launches) || launches < 1) throw new BadOption('--launches takes a whole number, at least 1');
  const names = scale ? seriesNames() : models.map(({ name }) => name);
  if (only && !names.includes(only)) throw new BadOption(`--only takes one of ${names.join(', ')}`);
  const hidden = values['without-vnni'] ? { jsFlags: withoutVnni, cpu: `${ownCpu}, without VNNI` } : { cpu: ownCpu };
  return { ...values, ...hidden, launches, warm: quick ? 2 : 5, runs: quick ? 5 : 15 };
}

/** Builds the modules that are timed; the peers have relaxed SIMD, too. */
async function build() {
  await ensureNodeModules();
  await buildEngine(variants.filter(({ simd }) => simd === 'relaxed'));
}

/** The folders with each side's weights, and the peers' versions. */
function entrants(chosen) {
  const peers = peerFolders(shared);
  if (peers.length === 0) {
    console.log(
      `Peers: no models in ${shared}/peers (MOBILESIGHT_SHARED names another folder), so mobilesight runs alone`,
    );
  }
  const generated = chosen.filter(({ weights }) => !weights).map(({ name }) => name);
  const ours = [generatedWeights(), quantisedWeights(generated)];
  return { ours, peers, versions: peers.length ? installPeers() : {} };
}

/** A function from (engine, model, dtype) to the URL of the weights, which it adds to `files`, or undefined. */
function weightsFinder({ ours, peers }, files) {
  const defaults = {
    suffix: { f32: '.f16.safetensors', int8: '.int8.safetensors' },
    folders: [join(root, 'www/models')],
  };
  return (engine, model, dtype) => {
    const isOurs = engine.name === 'mobilesight';
    if (model.weights && !isOurs) return undefined;
    const { suffix, folders } = model.weights ? defaults : { ...engine, folders: isOurs ? ours : peers };
    const name = (model.weights ?? model.name) + suffix[dtype];
    const path = findFile(folders, name);
    if (!path) return undefined;
    files.set(`/weights/${name}`, path);
    return `/weights/${name}`;
  };
}

/** Says who runs what, so that an empty cell of a table is no riddle. */
function announce(chosen, all, versions) {
  for (const [engine, version] of Object.entries(versions)) console.log(`Peers: ${engine} ${version}`);
  const entered = all.map(({ engine, model, dtype }) => ({ engine, model: model.name, dtype }));
  for (const { name } of chosen) {
    const entries = entered.filter(({ model }) => model === name).map(({ engine, dtype }) => `${engine} ${dtype}`);
    console.log(`${name}: ${[...new Set(entries)].join(', ')}`);
  }
  if (Object.keys(versions).length) absentFiles(entered).forEach((entry) => console.log(absence(entry)));
}

function startServer(files) {
  files.set('/limit.wasm', buildLimit());
  const folders = {
    '/dist/engine/': engineFolder,
    '/peers/': peersFolder,
    '/bench/': fileURLToPath(new URL('.', import.meta.url)),
    '/samples/': join(root, 'www/samples'),
  };
  return serve(folders, files);
}

async function compete(chosen, options) {
  const { versions, ...weights } = entrants(chosen);
  const files = new Map(weights.peers.length ? servedPeers() : []);
  const all = contestants(chosen, weightsFinder(weights, files));
  announce(chosen, all, versions);
  for (const { picture: at } of chosen.filter(({ picture }) => picture.height)) {
    files.set(`/picture/${at.height}x${at.width}`, picture(at.height, at.width));
  }
  const server = await startServer(files);
  try {
    const { agreed, agreement, refused } = await checkAgreement(all, server.origin, options);
    if (agreed.length === 0) throw new Error('There is nothing to time: the lines above say why');
    const { limits, ...timed } = await time(agreed, server, { ...options, profiles });
    return { ...timed, ...peaksOf(limits), versions, agreement, refused };
  } finally {
    server.close();
  }
}

/** What `measure` finds of mobilesight alone. */
async function alone(measure, options) {
  const files = new Map();
  const server = await startServer(files);
  try {
    const { limits, ...measured } = await measure(server, files, options);
    return { ...measured, peak: peaksOf(limits).peak };
  } finally {
    server.close();
  }
}

async function main() {
  const options = parseOptions();
  const benches = join(root, 'benches');
  if (options.report) return rewriteReport(benches);
  await build();
  const { launches, warm, runs, quick, only, json, cpu } = options;
  const about = { cpu, machine: machineOf(cpu), commit: commitOf(root), date: new Date().toISOString().slice(0, 10) };
  const protocol = { launches, warm, runs, turns, quick };
  const keep = (results) => json && writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
  const measure = options.family ? measureFamily : options.scale ? measureScale : undefined;
  if (measure) {
    const results = { ...about, protocol, ...(await alone(measure, options)) };
    keep(results);
    if (options.family) return writeFamily(root, results);
    console.log(scaleSection(results));
    if (only) return console.log('RESULTS.md takes all series only: it stays as it is');
    return writeScale(benches, cpu, results);
  }
  const chosen = models.filter(({ name }) => !only || name === only);
  const results = { ...about, protocol, ...(await compete(chosen, options)) };
  printSummary(results);
  keep(results);
  // One model's results beside others of an older commit would be no results of one run.
  if (only) console.log('RESULTS.md takes runs of all models only: it stays as it is');
  else writeReport(benches, results);
}

try {
  await main();
} catch (error) {
  // What a user typed wrong needs no trace.
  if (!(error instanceof BadOption)) throw error;
  console.error(`${error.message}\nUsage: ${usage}`);
  process.exitCode = 1;
}
