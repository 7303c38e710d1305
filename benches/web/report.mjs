// benches/results/ has a file for each CPU; RESULTS.md and results.svg are made of all of them, so a run changes its own CPU's part only.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chart } from './chart.mjs';
import { hasExactDot, judged, macsOf, overBestPeer, rateOf, share, titles } from './goals.mjs';
import { total } from './macs.mjs';
import { circumstances, megabytes, ms, percent, table, times } from './markdown.mjs';
import { absentFiles, dtypes, models, titleOf } from './models.mjs';
import { goalNotes } from './notes.mjs';
import { scaleChart, scaleSection } from './scale-report.mjs';

const intro = `# Results

Written by \`npm run bench\`; [README.md](README.md) says what is measured and how. One part for each CPU, which only a run on that CPU changes.

![Times of one thread beside the peers](results.svg)
`;

/** A figure's cell: with the goal where there is one, bold where that is missed. */
function cell({ value, goal, met }) {
  if (!goal) return value;
  if (!value) return `not measured, goal ${goal}`;
  return met ? `${value} of ${goal}, met` : `**${value} of ${goal}, missed**`;
}

/** The summary of a CPU: every figure beside its goal, and the goals that are missed with what is known about them. */
function glance(results) {
  const rows = judged(results);
  const all = rows.flatMap(({ model, dtype, figures }) =>
    figures.map((figure) => {
      const name = `${model} ${dtype}, ${figure.title}`;
      return { ...figure, name, note: goalNotes[name] ?? goalNotes[figure.title] };
    }),
  );
  const [met, missed] = [true, false].map((wanted) => all.filter((figure) => figure.met === wanted));
  const line = ({ name, value, goal, note = '' }) => `* ${`${name}: ${value} of ${goal}. ${note}`.trim()}\n`;
  const kind = hasExactDot(results.peak) ? 'with' : 'without';
  const body = table(
    ['model', 'dtype', ...titles],
    rows.map(({ model, dtype, figures }) => [model, dtype, ...figures.map(cell)]),
  );
  const list = missed.length ? `\nMissed:\n\n${missed.map(line).join('')}` : '';
  return `${met.length} of ${met.length + missed.length} goals are met, those of a CPU ${kind} the exact one-instruction dot; a cell with \`of\` has one.\n\n${body}${list}`;
}

const runHead = [
  'engine',
  'dtype',
  'threads',
  'median ms',
  'minimum ms',
  'spread',
  'of the limit',
  'over the best peer',
  'first run ms',
  'load ms',
  'memory MB',
  'engine + weights MB',
];

function runRow(run, { runs, peak }) {
  const part = share(run, peak);
  return [
    titleOf(run.engine),
    run.dtype,
    run.threads,
    ms(run.median_ms),
    ms(run.min_ms),
    `${run.spread_percent.toFixed(0)} %`,
    part ? percent(part) : '',
    run.engine === 'mobilesight' ? times(overBestPeer(run, runs)) : '',
    ms(run.first_ms),
    run.load_ms.toFixed(0),
    megabytes(run.peak_bytes),
    `${megabytes(run.engine_bytes)} + ${megabytes(run.weights_bytes)}`,
  ];
}

/** The row of the table that a step of the profile counts to. */
function partOf(step, steps = {}) {
  const key = Object.keys(steps).find((prefix) => step === prefix || step.startsWith(`${prefix}.`));
  return key ? steps[key] : step;
}

/** Milliseconds of a profile's parts, a Map in their order. */
function partsOf({ layers }, steps) {
  const parts = new Map();
  layers.forEach(({ name, ms: time }) => {
    const part = partOf(name, steps);
    parts.set(part, (parts.get(part) ?? 0) + time);
  });
  return parts;
}

/** Where the time of a model and dtype goes, on one thread and beside it on two. */
function layerTable(model, dtype, profiles, peak) {
  const layers = model.layers?.() ?? [];
  const of = (threads) => {
    const profile = profiles.find((entry) => entry.dtype === dtype && entry.threads === threads);
    return profile && partsOf(profile, model.steps);
  };
  const [one, two] = [of(1), of(2)];
  if (!one) return '';
  const sum = (parts) => parts && [...parts.values()].reduce((a, b) => a + b, 0);
  const all = sum(one);
  const row = (part, time, macs, split) => {
    const limit = macs ? percent(macs / rateOf(dtype, peak) / time) : '';
    const cells = [part, ms(time), percent(time / all), macs ? (macs / 1e6).toFixed(1) : '', limit];
    return two ? [...cells, ms(split), times(time / split)] : cells;
  };
  const rows = [...one].map(([part, time]) => row(part, time, total(layers, part), two?.get(part)));
  const head = [
    'layer',
    'ms',
    'of the time',
    'million MACs',
    'of the limit',
    ...(two ? ['2 threads, ms', '2 threads over 1'] : []),
  ];
  return `\nmobilesight by layer, ${dtype}, one thread${two ? ', and beside it two' : ''}:\n\n${table(head, [...rows, row('all', all, total(layers), sum(two))])}`;
}

function modelSection(model, results) {
  const runs = results.runs.filter((run) => run.model === model.name);
  if (runs.length === 0) return '';
  const macs = macsOf(model.name);
  const { f32, i8 } = results.peak;
  const floor = (rate) => ms(macs / rate / 1e6);
  const limit = macs
    ? `${(macs / 1e9).toFixed(3)} GMAC: ${floor(f32)} ms at the f32 limit, ${floor(i8)} ms at int8's.\n\n`
    : '';
  const profiles = results.layers.filter((entry) => entry.model === model.name);
  const layers = dtypes.map((dtype) => layerTable(model, dtype, profiles, results.peak));
  const body = table(
    runHead,
    runs.map((run) => runRow(run, results)),
  );
  return `### ${model.title}\n\n${limit}${body}${layers.join('')}\n`;
}

/** What had no file, in words. */
export const absence = ({ engine, model, dtype, file, why }) =>
  `${titleOf(engine)} ${model} ${dtype}: no ${file}${why ? `, since ${why}` : ''}`;

/** Which outputs were compared, and what was left out. */
function agreementSection({ agreement, refused, versions }) {
  const of = ({ engine, model, dtype, threads, how }) =>
    `* ${titleOf(engine)} ${model} ${dtype} with threads = ${threads}: ${how}\n`;
  const out = refused.length ? `Left out:\n\n${refused.map(of).join('')}\n` : '';
  const noPeers = Object.keys(versions).length === 0;
  const absent = noPeers ? [] : absentFiles([...agreement, ...refused]);
  const without = absent.length
    ? `Not run for want of a file, so that fewer peers stand beside mobilesight there:\n\n${absent.map((entry) => `* ${absence(entry)}\n`).join('')}\n`
    : '';
  const rows = agreement.map(({ engine, model, dtype, threads, how }) => [titleOf(engine), model, dtype, threads, how]);
  const head = ['engine', 'model', 'dtype', 'threads', 'beside the reference'];
  return `### Agreement\n\nChecked before anything was timed.${noPeers ? ' There were no files of the peers, so mobilesight ran alone.' : ''}\n\n${out}${without}${table(head, rows)}`;
}

function cpuSection(results) {
  const { cpu, machine, peak, versions } = results;
  const peers = Object.entries(versions).map(([engine, version]) => `${titleOf(engine)} ${version}`);
  return `## ${cpu}

${machine.slice(cpu.length + 2)}; ${peers.join(', ') || 'no peers'}; ${circumstances(results)}.

The limit, GMAC/s: f32 ${peak.f32.toFixed(1)}; int8 by i16 dot ${peak.i8_dot_i16.toFixed(1)}, by the one-instruction dot ${peak.i8_dot_i8.toFixed(1)} (${peak.dot}); usable for int8: ${peak.i8.toFixed(1)}.

${glance(results)}
${models.map((model) => modelSection(model, results)).join('')}${agreementSection(results)}
${results.scale ? scaleSection(results.scale) : ''}`;
}

export function printSummary(results) {
  console.log(`\n${cpuSection(results)}`);
}

const fileOf = (folder, cpu) => join(folder, 'results', `${cpu.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.json`);

/** A file of results. Older ones have layers of one thread and the scale of f32 only, and do not say so. */
function read(file) {
  const { layers, scale, ...results } = JSON.parse(readFileSync(file, 'utf8'));
  const points = scale?.points.map((point) => ({ dtype: 'f32', ...point }));
  return {
    ...results,
    layers: layers.map((entry) => ({ threads: 1, ...entry })),
    ...(scale && { scale: { ...scale, points } }),
  };
}

/** What is kept of `cpu` in `folder`, benches/; undefined before its first run. */
function kept(folder, cpu) {
  const file = fileOf(folder, cpu);
  return existsSync(file) ? read(file) : undefined;
}

function write(folder, results) {
  mkdirSync(join(folder, 'results'), { recursive: true });
  writeFileSync(fileOf(folder, results.cpu), `${JSON.stringify(results, null, 2)}\n`);
  rewriteReport(folder);
}

/** Writes RESULTS.md and the charts of what `folder`, benches/, keeps. */
export function rewriteReport(folder) {
  const names = readdirSync(join(folder, 'results')).filter((name) => name.endsWith('.json'));
  const all = names.sort().map((name) => read(join(folder, 'results', name)));
  writeFileSync(join(folder, 'RESULTS.md'), [intro, ...all.map(cpuSection)].join('\n').replace(/\n{3,}/g, '\n\n'));
  writeFileSync(join(folder, 'results.svg'), chart(all));
  const scaled = all.filter(({ scale }) => scale);
  if (scaled.length) writeFileSync(join(folder, 'scale.svg'), scaleChart(scaled));
  console.log(`Written: ${join(folder, 'RESULTS.md')} and results.svg`);
}

/** Puts a run of all models into `folder`; a quick one never replaces a thorough one. */
export function writeReport(folder, results) {
  const before = kept(folder, results.cpu);
  if (results.protocol.quick && before && !before.protocol.quick) {
    console.log('RESULTS.md keeps the thorough run of this CPU; a quick one does not replace it');
    return;
  }
  write(folder, { ...results, ...(before?.scale ? { scale: before.scale } : {}) });
}

/** Puts `scale` beside what is kept of its CPU, unless that is more thorough, or says that there is nothing yet. */
export function writeScale(folder, cpu, scale) {
  const before = kept(folder, cpu);
  if (!before) return console.log('RESULTS.md has no part for this CPU yet: run the bench without --scale first');
  if (scale.protocol.quick && before.scale && !before.scale.protocol.quick)
    return console.log('RESULTS.md keeps the thorough scale of this CPU; a quick one does not replace it');
  write(folder, { ...before, scale });
}
