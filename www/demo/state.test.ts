/** The page's choices and times: what is loaded unless the user chooses, and the median of the runs. */
import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { MODELS } from './models.ts';
import { RunTimes, initialChoices, type Outcome } from './state.ts';

const [INT8, F32] = MODELS.filter(({ task }) => task === 'detection');

function ran(row: Outcome['row'] | undefined, network: number): Outcome {
  const result = { timings: { network } };
  return { row, output: { task: 'detection', result } } as Outcome;
}

describe('the models of the page', () => {
  it('are int8 unless the user chooses f32', () => {
    const shown = initialChoices().filter(({ task }) => task !== 'classification');
    expect(shown.map(({ task }) => task)).toEqual(['detection', 'segmentation']);
    for (const { row, rows } of shown) {
      expect(row.dtype).toBe('int8');
      expect(rows.map(({ dtype }) => dtype)).toEqual(['int8', 'f32']);
    }
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
