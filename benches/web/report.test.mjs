// What the bench makes of figures; that they are measured well is no matter of a test.
import { Buffer } from 'node:buffer';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { enlarged } from './generator.mjs';
import { judged } from './goals.mjs';
import { commitOf } from './machine.mjs';
import { absentFiles } from './models.mjs';
import { memoryOfWeights } from './safetensors.mjs';
import { scaleChart, scaleSection } from './scale-report.mjs';
import { medianLayers } from './statistics.mjs';

const run = (engine, dtype, threads, median_ms, more = {}) => {
  const bytes = { peak_bytes: 60e6, weights_memory_bytes: 20e6 };
  const times = { median_ms, launch_medians_ms: [median_ms], first_ms: median_ms * 1.4 };
  return { engine, model: 'large224', dtype, threads, ...times, ...bytes, ...more };
};

/** Of large224 in int8 on a CPU whose dot is `dot`, by title. */
function figuresOf(dot, runs) {
  const rows = judged({ runs, peak: { f32: 25, i8: 40, dot } });
  const { figures } = rows.find(({ dtype }) => dtype === 'int8');
  return Object.fromEntries(figures.map((figure) => [figure.title, figure]));
}

const runs = [
  run('mobilesight', 'f32', 1, 12),
  run('mobilesight', 'int8', 1, 10),
  run('mobilesight', 'int8', 2, 11, { first_ms: 33, peak_bytes: 70e6 }),
  run('litert', 'int8', 1, 27),
  run('onnxruntime', 'int8', 1, 40),
];

test('a CPU with an exact dot has the goals of one', () => {
  const without = figuresOf('saturating', runs);
  expect(without['over own f32']).toMatchObject({ value: '1.20x', goal: '1.00x', met: true });
  expect(without['over the best peer']).toMatchObject({ value: '2.70x', goal: '2.50x', met: true });
  for (const dot of ['unsigned', 'signed']) {
    const found = figuresOf(dot, runs);
    expect(found['over own f32']).toMatchObject({ value: '1.20x', goal: '1.60x', met: false });
    expect(found['over the best peer']).toMatchObject({ value: '2.70x', goal: '2.80x', met: false });
  }
});

test('each launch has its own ratios, of the same minutes', () => {
  const slow = (dtype, threads, launches) =>
    run('mobilesight', dtype, threads, launches[1], { launch_medians_ms: launches });
  const found = figuresOf('saturating', [
    slow('f32', 1, [12, 13, 24]),
    slow('int8', 1, [10, 20, 19]),
    slow('int8', 2, [5, 11, 9.5]),
    run('litert', 'int8', 1, 27),
  ]);
  expect(found['over own f32'].value).toBe('1.20x');
  expect(found['2 threads over 1'].value).toBe('2.00x');
  // It failed in two launches of the three.
  expect(found['over the best peer'].value).toBe('1.35x');
});

test("a turn has a ratio of its own, and a share of its own turn's limit", () => {
  const inTurns = (dtype, turns) =>
    run('mobilesight', dtype, 1, turns[1], { launch_medians_ms: [turns[1]], turn_medians_ms: turns });
  const results = {
    runs: [inTurns('f32', [12, 13, 24, 20]), inTurns('int8', [10, 20, 20, 10])],
    peak: { f32: 25, i8: 40, dot: 'saturating' },
  };
  const figure = (title, more = {}) => {
    const [, { figures }] = judged({ ...results, ...more });
    return figures.find((candidate) => candidate.title === title).value;
  };
  expect(figure('over own f32')).toBe('1.20x');
  // 0.217 GMAC at 20 GMAC/s take 10.8 ms.
  const peaks = [20, 10, 10, 20].map((i8) => ({ f32: 10, i8 }));
  const share = (turn_peaks) => figure('of the limit in the same turn', { turn_peaks });
  expect(Number.parseFloat(share({ large224: peaks }))).toBeCloseTo(108, 0);
  expect(share({ large224: peaks.slice(1) })).toBe('');
  expect(share(undefined)).toBe('');
});

test('two threads have a first run and a memory of their own', () => {
  const found = figuresOf('saturating', runs);
  expect(found['2 threads over 1']).toMatchObject({ value: '0.91x', goal: '1.00x', met: false });
  expect(found['first run over a steady one'].met).toBe(true);
  expect(found['first run, 2 threads']).toMatchObject({ value: '3.00x', goal: '1.50x', met: false });
  expect(found.memory).toMatchObject({ value: '60.0 MB', goal: '66.0 MB', met: true });
  expect(found['memory, 2 threads'].met).toBe(false);
});

test('a goal that nothing was measured for is neither met nor missed', () => {
  const found = figuresOf('saturating', [run('mobilesight', 'int8', 1, 10)]);
  expect(found['over the best peer']).toMatchObject({ value: '', goal: '2.50x', met: undefined });
});

test('weights in F16 take the memory of f32, bytes their own', () => {
  const tensor = (dtype, shape) => ({ dtype, shape, data_offsets: [0, 0] });
  const header = JSON.stringify({
    __metadata__: { mobilesight: '{}' },
    a: tensor('F16', [10, 3]),
    b: tensor('F32', [2]),
    c: tensor('I8', [7, 1]),
  });
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  expect(memoryOfWeights(Buffer.concat([length, Buffer.from(header)]))).toBe(4 * 30 + 4 * 2 + 7);
});

test('a layer takes the median of the launches, each the median of its profiles', () => {
  const launch = (...times) => times.map((ms) => [{ name: 'transform', ms }]);
  expect(medianLayers([launch(90, 90, 90), launch(1, 2, 90), launch(3, 3, 0)])).toEqual([{ name: 'transform', ms: 3 }]);
});

test("the peers' files that were not there are named, and why where that is known", () => {
  const entered = ['mobilesight', 'litert'].map((engine) => ({ engine, model: 'large224', dtype: 'f32' }));
  const files = absentFiles([...entered, { engine: 'mobilesight', model: 'default-detector', dtype: 'f32' }]);
  expect(files.map(({ file }) => file)).toEqual([
    'large224.int8.safetensors',
    'large224.onnx',
    'large224.int8.onnx',
    'large224.int8.tflite',
  ]);
  const detector = absentFiles([{ engine: 'mobilesight', model: 'frcnn320', dtype: 'f32' }]);
  expect(detector.find(({ file }) => file === 'frcnn320.tflite').why).toContain('cannot load');
});

test("a commit is marked for changes of what is measured, not for the benches' own reports", () => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  const write = (name) => {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), name);
  };
  const git = (...args) => execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', ...args], { cwd: folder });
  try {
    git('init', '-q');
    write('src/lib.rs');
    git('add', '.');
    git('commit', '-qm', 'Begin');
    ['README.md', 'benches/RESULTS.md', 'benches/results/x.json', 'benches/scale.svg', 'benches/RPN.md'].forEach(write);
    expect(commitOf(folder)).toMatch(/^[0-9a-f]+$/);
    write('src/new.rs');
    expect(commitOf(folder)).toMatch(/ with changes$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const scale = (points) => ({
  points,
  peak: { f32: 25, i8: 40 },
  browser: 'Chromium',
  commit: 'abc',
  date: '2026-01-01',
  protocol: { launches: 3, warm: 5, runs: 15 },
});

test('a cliff is bold and asks for its reason', () => {
  const point = (value, macs, min_ms) => ({
    series: 'S',
    dtype: 'int8',
    value,
    macs,
    min_ms,
    median_ms: 99,
    peak_bytes: 1e6,
  });
  const text = scaleSection(scale([point(1, 1e9, 50), point(2, 2e9, 101), point(3, 3e9, 190)]));
  expect(text).toContain('| 2 | 2.000 | 99.00 | 101.0 | 50.5 | 1.01x | 50 % | 1.0 |');
  expect(text).toContain('| 3 | 3.000 | 99.00 | 190.0 | 63.3 | **1.25x** | 39 % | 1.0 |');
  expect(text).toContain('Cliffs at 3: no reason is noted yet.');
});

test("a source's pixels cost what the network does not", () => {
  const parts = {
    preprocess_ms: 8,
    network_ms: 80,
    postprocess_ms: 2,
    copies_ms: 2,
    median_ms: 92,
    min_ms: 91,
    peak_bytes: 2e6,
  };
  const point = { series: 'S', dtype: 'f32', value: 12, source: { width: 4000, height: 3000 }, macs: 1e9, ...parts };
  const text = scaleSection(scale([point]));
  expect(text).toContain('| 4000 x 3000 | 92.00 | 91.00 | 8.00 | 80.00 | 2.00 | 2.00 | 1.00 | 2.0 |');
  expect(scaleChart([{ cpu: 'CPU', scale: scale([point]) }])).toContain('4000 x 3000');
});

test('a larger source shows the same picture', () => {
  const rgba = Uint8Array.from([1, 1, 1, 255, 2, 2, 2, 255]);
  const out = enlarged(rgba, { width: 2, height: 1 }, { width: 4, height: 2 });
  const row = [1, 1, 2, 2].flatMap((value) => [value, value, value, 255]);
  expect([...out]).toEqual([...row, ...row]);
});
