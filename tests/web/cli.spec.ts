/** The command line gives what the browser gives, on the shipped pictures with the default weights. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import type { BoundingBox, Detection } from 'mobilesight';
import { mobilesightJson } from '../../pkg-config/cli.mjs';
import {
  ASTRONAUT,
  CHINA,
  COFFEE,
  DETECTOR,
  INT8_DETECTOR,
  INT8_SEGMENTER,
  SEGMENTER,
  equalShare,
  expect,
  root,
  test,
} from './support.ts';

const PICTURES = [ASTRONAUT, './samples/chelsea.png', CHINA, COFFEE, './samples/grace_hopper.png'];
const SIDES: readonly (keyof BoundingBox)[] = ['x', 'y', 'width', 'height'];

const onDisk = (file: string) => join(root, 'www', file);
const run = (weights: string, picture: string, ...more: string[]) =>
  mobilesightJson(['run', '--weights', onDisk(weights), '--picture', onDisk(picture), ...more]);

/** Pixels apart, over the four sides. */
function apart(a: BoundingBox, b: BoundingBox): number {
  return Math.max(...SIDES.map((side) => Math.abs(a[side] - b[side])));
}

/** Each of `found` is one of `wanted`: the same label, its score within 1e-4 and its box within 0.01 pixels. */
function expectSame(found: Detection[], wanted: Detection[], picture: string): void {
  expect(found.length, picture).toBe(wanted.length);
  for (const one of found) {
    const near = ({ label, classId, score, box }: Detection) =>
      label === one.label &&
      classId === one.classId &&
      Math.abs(score - one.score) <= 1e-4 &&
      apart(box, one.box) <= 0.01;
    expect(wanted.some(near), `${picture}: ${JSON.stringify(one)} of ${JSON.stringify(wanted)}`).toBe(true);
  }
}

/** The class map in a grey PNG file. */
async function classMap(page: Page, file: string): Promise<Uint8Array> {
  return page.evaluate(async (png) => {
    const { data } = await inside.stored(await inside.file(`data:image/png;base64,${png}`));
    return new Uint8Array(data.filter((_, i) => i % 4 === 0));
  }, readFileSync(file).toString('base64'));
}

for (const weights of [DETECTOR, INT8_DETECTOR]) {
  test(`boxes of ${weights}`, async ({ blank }) => {
    const detector = await blank.evaluateHandle((weights) => mobilesight.createDetector({ weights }), weights);
    let boxes = 0;
    for (const picture of PICTURES) {
      const { detections } = await detector.evaluate((model, url) => model.detect(url), picture);
      expectSame(detections, (run(weights, picture) as { detections: Detection[] }).detections, picture);
      boxes += detections.length;
    }
    expect(boxes).toBeGreaterThan(10);
  });
}

for (const weights of [SEGMENTER, INT8_SEGMENTER]) {
  test(`classes of ${weights}`, async ({ blank }) => {
    const segmenter = await blank.evaluateHandle((weights) => mobilesight.createSegmenter({ weights }), weights);
    for (const picture of PICTURES) {
      const { mask, labels } = await segmenter.evaluate((model, url) => model.segment(url), picture);
      const file = test.info().outputPath('classes.png');
      const { classes } = run(weights, picture, '--mask', file) as { classes: { label: string; classId: number }[] };
      expect(equalShare(mask, await classMap(blank, file)), picture).toBeGreaterThanOrEqual(0.999);
      for (const { label, classId } of classes) expect(labels[classId]).toBe(label);
    }
  });
}
