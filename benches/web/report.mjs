// benches/results/ has a file for each CPU; RESULTS.md and results.svg are made of all of them, so a run changes its own CPU's part only.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chart } from './chart.mjs';
import { total } from './macs.mjs';
import { table } from './markdown.mjs';
import { models, titleOf } from './models.mjs';
import { scaleChart, scaleSection } from './scale-report.mjs';

const intro = `# Results

Written by \`npm run bench\`; [README.md](README.md) says what is measured and how. One part for each CPU, which only a run on that CPU changes.

![Times of one thread beside the peers](results.svg)
`;

const ms = (value) => value.toFixed(value < 100 ? 2 : 1);
const percent = (value) => `${(value * 100).toFixed(0)} %`;
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

const macsOf = (name) => {
  const model = models.find((candidate) => candidate.name === name);
  return model?.layers ? total(model.layers()) : undefined;
};

/** Of the limit of as many threads: the time that the multiply-accumulates need at the best rate, over the time taken. */
function share({ model, dtype, threads, median_ms }, peak) {
  const macs = macsOf(model);
  const rate = dtype === 'int8' ? peak.i8 : peak.f32;
  return macs && macs / (rate * 1e6 * threads) / median_ms;
}

const same = (a) => (b) => a.model === b.model && a.dtype === b.dtype && a.threads === b.threads;

/** How many times faster than the fastest peer at the same work; undefined without one. */
export function overBestPeer(run, runs) {
  const peers = runs.filter(same(run)).filter(({ engine }) => engine !== 'mobilesight');
  return peers.length ? Math.min(...peers.map(({ median_ms }) => median_ms)) / run.median_ms : undefined;
}

const times = (value) => (value === undefined ? '' : `${value.toFixed(2)}x`);

function glance({ runs, peak }) {
  const ours = runs.filter(({ engine, threads }) => engine === 'mobilesight' && threads === 1);
  const rows = ours.map((run) => {
    const other = (changes) => runs.find((r) => r.engine === run.engine && same({ ...run, ...changes })(r));
    const [two, f32] = [other({ threads: 2 }), other({ dtype: 'f32' })];
    const part = share(run, peak);
    return [
      run.model,
      run.dtype,
      times(overBestPeer(run, runs)),
      times(two && overBestPeer(two, runs)),
      part ? percent(part) : '',
      times(run.dtype === 'int8' && f32 ? f32.median_ms / run.median_ms : undefined),
      times(two && run.median_ms / two.median_ms),
      times(run.first_ms / run.median_ms),
    ];
  });
  const head = [
    'model',
    'dtype',
    'over the best peer',
    'the same, 2 threads',
    'of the limit',
    'over own f32',
    '2 threads over 1',
    'first run',
  ];
  return table(head, rows);
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

function layerTable({ model: name, dtype, layers: profile }, peak) {
  const rate = dtype === 'int8' ? peak.i8 : peak.f32;
  const model = models.find((candidate) => candidate.name === name);
  const layers = model.layers?.() ?? [];
  const parts = new Map();
  profile.forEach((step) => {
    const part = partOf(step.name, model.steps);
    parts.set(part, (parts.get(part) ?? 0) + step.ms);
  });
  const all = profile.reduce((sum, step) => sum + step.ms, 0);
  const rows = [...parts].map(([part, time]) => {
    const macs = total(layers, part);
    const limit = macs ? percent(macs / (rate * 1e6) / time) : '';
    return [part, ms(time), percent(time / all), macs ? (macs / 1e6).toFixed(1) : '', limit];
  });
  return `\nmobilesight by layer, ${dtype}, one thread:\n\n${table(['layer', 'ms', 'of the time', 'million MACs', 'of the limit'], rows)}`;
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
  const layers = results.layers.filter((entry) => entry.model === model.name);
  const body = table(
    runHead,
    runs.map((run) => runRow(run, results)),
  );
  return `### ${model.title}\n\n${limit}${body}${layers.map((entry) => layerTable(entry, results.peak)).join('')}\n`;
}

/** Which outputs were compared, and what was left out. */
function agreementSection({ agreement, refused }) {
  const of = ({ engine, model, dtype, threads, how }) =>
    `* ${titleOf(engine)} ${model} ${dtype} with threads = ${threads}: ${how}\n`;
  const out = refused.length ? `Left out:\n\n${refused.map(of).join('')}\n` : '';
  const rows = agreement.map(({ engine, model, dtype, threads, how }) => [titleOf(engine), model, dtype, threads, how]);
  const head = ['engine', 'model', 'dtype', 'threads', 'beside the reference'];
  return `### Agreement\n\nChecked before anything was timed.\n\n${out}${table(head, rows)}`;
}

function cpuSection(results) {
  const { cpu, machine, browser, commit, date, protocol, peak, versions } = results;
  const peers = Object.entries(versions).map(([engine, version]) => `${titleOf(engine)} ${version}`);
  const { launches, runs, warm, quick } = protocol;
  return `## ${cpu}

${machine.slice(cpu.length + 2)}; ${browser}; commit ${commit}; ${date}; ${peers.join(', ') || 'no peers'}. ${launches} ${launches > 1 ? 'launches' : 'launch'} of ${runs} runs after ${warm}${quick ? ' (quick: only a look)' : ''}.

The limit, GMAC/s: f32 ${peak.f32.toFixed(1)}; int8 by i16 dot ${peak.i8_dot_i16.toFixed(1)}, by the one-instruction dot ${peak.i8_dot_i8.toFixed(1)} (${peak.dot}); usable for int8: ${peak.i8.toFixed(1)}.

${glance(results)}
${models.map((model) => modelSection(model, results)).join('')}${agreementSection(results)}
${results.scale ? scaleSection(results.scale) : ''}`;
}

export function printSummary(results) {
  console.log(`\n${cpuSection(results)}`);
}

const fileOf = (folder, cpu) => join(folder, 'results', `${cpu.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.json`);

/** What is kept of `cpu` in `folder`, benches/; undefined before its first run. */
function kept(folder, cpu) {
  const file = fileOf(folder, cpu);
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

function write(folder, results) {
  mkdirSync(join(folder, 'results'), { recursive: true });
  writeFileSync(fileOf(folder, results.cpu), `${JSON.stringify(results, null, 2)}\n`);
  const names = readdirSync(join(folder, 'results')).filter((name) => name.endsWith('.json'));
  const all = names.sort().map((name) => JSON.parse(readFileSync(join(folder, 'results', name), 'utf8')));
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

/** Puts `scale` beside what is kept of its CPU, or says that there is nothing yet. */
export function writeScale(folder, cpu, scale) {
  const before = kept(folder, cpu);
  if (before) write(folder, { ...before, scale });
  else console.log('RESULTS.md has no part for this CPU yet: run the bench without --scale first');
}
