/** What the browser's tests share: the two servers, the blank page with the wrapper in it, the page's states, files, and comparisons. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test as base, expect, type Locator, type Page } from '@playwright/test';
import type * as Mobilesight from 'mobilesight';
import type { BoundingBox, Detection } from 'mobilesight';
import * as inside from './inside.ts';

declare global {
  /** The wrapper, in the blank page. */
  const mobilesight: typeof Mobilesight;
  /** Helpers, in the blank page. */
  const inside: typeof import('./inside.ts');
}

/** The project's folder. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** The default weights, in f32 and in int8, and samples, relative to the page. */
export const DETECTOR = './models/coco-fasterrcnn-mobilenetv3-320.f16.safetensors';
export const SEGMENTER = './models/street-lraspp-mobilenetv3.f16.safetensors';
export const INT8_DETECTOR = './models/coco-fasterrcnn-mobilenetv3-320.int8.safetensors';
export const INT8_SEGMENTER = './models/street-lraspp-mobilenetv3.int8.safetensors';
export const ASTRONAUT = './samples/astronaut.png';
export const CHINA = './samples/china.png';
export const COFFEE = './samples/coffee.png';

/** The bytes of a file of the page. */
export function pageFile(path: string): Buffer {
  return readFileSync(join(root, 'www', path));
}

/** How the page is served. */
export interface Serving {
  /** With the headers of cross-origin isolation. */
  isolated: boolean;
}

const helpers = Object.entries(inside).map(([name, helper]) => `${name}: ${String(helper)}`);
const BLANK = `<!doctype html><link rel="icon" href="data:,"><script type="module">
import * as mobilesight from './lib/index.js';
Object.assign(globalThis, { mobilesight, inside: { ${helpers.join(',\n')} } });
</script>`;

/** Gives the page the text at `url` as `edit` makes it; `at` is where it comes from. */
export async function rewrite(page: Page, url: string, edit: (text: string, at: string) => string): Promise<void> {
  await page.route(url, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: edit(await response.text(), response.url()) });
  });
}

/** A page of the site that holds nothing but the wrapper and the helpers; with the server's own headers. */
async function openBlank(page: Page): Promise<void> {
  await page.route('**/blank.html', async (route, request) => {
    const response = await route.fetch({ url: new URL('index.html', request.url()).href });
    await route.fulfill({ response, body: BLANK });
  });
  await page.goto('blank.html');
}

export const test = base.extend<{ blank: Page }, Serving>({
  isolated: [true, { option: true, scope: 'worker' }],
  baseURL: ({ isolated }, use) => use(process.env[isolated ? 'PAGE_ISOLATED' : 'PAGE_PLAIN'] ?? ''),
  /** The blank page; errors that nobody caught fail the test. */
  blank: async ({ page }, use) => {
    const uncaught: string[] = [];
    page.on('pageerror', (error) => uncaught.push(String(error)));
    await openBlank(page);
    await use(page);
    expect(uncaught).toEqual([]);
  },
});

export { expect };

/** The page's button for a sample of www/samples. */
export function sample(page: Page, name: string): Locator {
  return page.locator(`button[data-src="./samples/${name}.png"]`);
}

/** Waits until the page has got to `state`. */
export async function expectState(page: Page, state: string): Promise<void> {
  await expect(page.locator('html')).toHaveAttribute('data-state', state, { timeout: 120_000 });
}

/** Intersection over union. */
export function iou(a: BoundingBox, b: BoundingBox): number {
  const overlap = (from: number, size: number, otherFrom: number, otherSize: number) =>
    Math.max(0, Math.min(from + size, otherFrom + otherSize) - Math.max(from, otherFrom));
  const shared = overlap(a.x, a.width, b.x, b.width) * overlap(a.y, a.height, b.y, b.height);
  return shared / (a.width * a.height + b.width * b.height - shared);
}

/** Whether two detections are one and the same but for rounding. */
export function alike(a: Detection, b: Detection, tolerance: number): boolean {
  return a.classId === b.classId && Math.abs(a.score - b.score) <= tolerance && iou(a.box, b.box) >= 0.99;
}

/** Expects the same detections in the same order, where equal scores may change places. */
export function expectAlike(found: Detection[], wanted: Detection[], tolerance: number): void {
  expect(found.length).toBe(wanted.length);
  found.forEach((detection, i) => {
    expect(Math.abs(detection.score - (wanted[i]?.score ?? NaN))).toBeLessThanOrEqual(tolerance);
    const partner = wanted.find((other) => alike(detection, other, tolerance));
    expect(partner, `${detection.label} ${detection.score}`).toBeDefined();
  });
}

/** The share of equal values. */
export function equalShare(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length);
  return a.filter((value, i) => value === b[i]).length / a.length;
}
