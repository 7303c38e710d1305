/** The page's choices and times: what is loaded unless the user chooses, and the median of the runs. */
import { readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { MODELS } from './models.ts';
import { BUILDERS } from './torchvision.ts';
import { RunTimes, initialChoices, type Outcome } from './state.ts';

const [INT8, F32] = MODELS.filter(({ task }) => task === 'detection');

function ran(row: Outcome['row'] | undefined, network: number): Outcome {
  const result = { timings: { network } };
  return { row, output: { task: 'detection', result } } as Outcome;
}

describe('the models of the page', () => {
  it('are int8 unless the user chooses f32', () => {
    const shown = initialChoices(MODELS).filter(({ task }) => task !== 'classification');
    expect(shown.map(({ task }) => task)).toEqual(['detection', 'segmentation']);
    for (const { row, rows } of shown) {
      expect(row?.dtype).toBe('int8');
      expect(rows.map(({ dtype }) => dtype)).toEqual(['int8', 'f32']);
    }
  });

  it('are, with their weights or without, those of the registry', () => {
    const registry = readFileSync(fileURLToPath(new URL('../../src/models/registry.rs', import.meta.url)), 'utf8');
    const rows = [...registry.matchAll(/arch: "(\w+)",\s+task: Task::(\w+),/g)].map(([, arch, task]) => [arch, task]);
    expect(rows.length).toBeGreaterThan(7);
    const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
    const presets = BUILDERS.filter(({ resize }) => resize === undefined);
    expect(presets.map(({ arch, task }) => [arch, capital(task)])).toEqual(rows);
    expect(new Set(BUILDERS.map(({ title }) => title)).size).toBe(BUILDERS.length);
  });

  it('have LR-ASPP at 520 and at 320', () => {
    const sizes = BUILDERS.filter(({ arch }) => arch === 'lraspp_mobilenet_v3_large').map(({ resize }) => resize);
    expect(sizes).toEqual([undefined, 320]);
  });

  it('without weights can be seen, not chosen', () => {
    const classes = initialChoices(MODELS).find(({ task }) => task === 'classification');
    expect(classes).toMatchObject({ rows: [], row: undefined });
  });

  it('have the sizes of their files', () => {
    const size = (file: string) => statSync(fileURLToPath(new URL(`../${file}`, import.meta.url))).size;
    for (const { file, bytes } of MODELS) expect(bytes, file).toBe(size(file));
  });
});

describe('RunTimes', () => {
  it('gives the median of each model, and none before it has run', () => {
    const times = new RunTimes();
    for (const ms of [30, 900, 20]) times.note(ran(INT8, ms));
    if (!INT8 || !F32) throw new Error('the detector has two dtypes');
    expect(times.median(INT8)).toBe(30);
    expect(times.median(F32)).toBeUndefined();
  });

  it('forgets what is long ago', () => {
    const times = new RunTimes();
    for (let i = 0; i < 100; i++) times.note(ran(INT8, i < 50 ? 900 : 10));
    if (!INT8) throw new Error('there is an int8 detector');
    expect(times.median(INT8)).toBe(10);
  });
});
