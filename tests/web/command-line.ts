/** What the command line finds in a picture, and how near to it the browser has to be. */
import { readFileSync } from 'node:fs';
import type { Page } from '@playwright/test';
import type { BoundingBox, Classification, Detection } from 'mobilesight';
import { mobilesightJson } from '../../pkg-config/cli.mjs';
import { expect } from './support.ts';

const SCORE_TOLERANCE = 1e-4;
const PIXEL_TOLERANCE = 0.01;
const SIDES: readonly (keyof BoundingBox)[] = ['x', 'y', 'width', 'height'];

/** `mobilesight run` of two files, as JSON. */
export function run(weights: string, picture: string, ...more: string[]): unknown {
  return mobilesightJson(['run', '--weights', weights, '--picture', picture, ...more]);
}

/** Pixels apart, over the four sides. */
function apart(a: BoundingBox, b: BoundingBox): number {
  return Math.max(...SIDES.map((side) => Math.abs(a[side] - b[side])));
}

/** Each of `found` is one of `wanted`: the same label, its score within 1e-4 and its box within 0.01 pixels. */
export function expectSameBoxes(found: Detection[], wanted: Detection[], picture: string): void {
  expect(found.length, picture).toBe(wanted.length);
  for (const one of found) {
    const near = ({ label, classId, score, box }: Detection) =>
      label === one.label &&
      classId === one.classId &&
      Math.abs(score - one.score) <= SCORE_TOLERANCE &&
      apart(box, one.box) <= PIXEL_TOLERANCE;
    expect(wanted.some(near), `${picture}: ${JSON.stringify(one)} of ${JSON.stringify(wanted)}`).toBe(true);
  }
}

/** The same classes in the same order, their scores within 1e-4. */
export function expectSameClasses(found: Classification[], wanted: Classification[], picture: string): void {
  const named = (classes: Classification[]) => classes.map(({ label, classId }) => ({ label, classId }));
  expect(named(found), picture).toEqual(named(wanted));
  found.forEach(({ score }, i) => {
    expect(Math.abs(score - (wanted[i]?.score ?? NaN)), picture).toBeLessThanOrEqual(SCORE_TOLERANCE);
  });
}

/** The class map in a grey PNG file. */
export async function classMap(page: Page, file: string): Promise<Uint8Array> {
  return page.evaluate(async (png) => {
    const { data } = await inside.stored(await inside.file(`data:image/png;base64,${png}`));
    return new Uint8Array(data.filter((_, i) => i % 4 === 0));
  }, readFileSync(file).toString('base64'));
}
