/** The page's layouts: side by side on a desktop, one column on a phone; nothing overlaps, overflows or is too small to hit. */
import type { Page } from '@playwright/test';
import { expect, expectState, sample, test } from './support.ts';

/** Parts that share the page. */
const PARTS = ['header', '.sources', '.stage', 'aside', '.engine', 'footer'] as const;

/** In pixels of the viewport. */
interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

const apart = (a: Box, b: Box) => a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;

function box(page: Page, selector: string): Promise<Box> {
  return page.locator(selector).evaluate((found) => {
    const { left, top, right, bottom } = found.getBoundingClientRect();
    return { left, top, right, bottom };
  });
}

/** The page with findings on a wide picture, at a window's size. */
async function openAt(page: Page, width: number, height: number): Promise<void> {
  await page.setViewportSize({ width, height });
  await page.goto('./');
  await sample(page, 'china').click();
  await expectState(page, 'done');
}

/** What holds at each size. */
async function expectOrder(page: Page, width: number, height: number): Promise<void> {
  const room = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return clientWidth - scrollWidth;
  });
  expect(room).toBeGreaterThanOrEqual(0);

  const canvas = await box(page, '#canvas');
  expect(canvas.left).toBeGreaterThanOrEqual(0);
  expect(canvas.right).toBeLessThanOrEqual(width);
  expect(canvas.bottom - canvas.top).toBeLessThanOrEqual(height);

  const boxes = await Promise.all(PARTS.map((part) => box(page, part)));
  boxes.forEach((a, i) =>
    boxes.slice(i + 1).forEach((b, j) => expect(apart(a, b), `${PARTS[i]}, ${PARTS[i + 1 + j]}`).toBe(true)),
  );
}

/** WCAG 2.2's least size of what is clicked: 24 pixels either way. */
async function expectLargeControls(page: Page): Promise<void> {
  const controls = page.locator('button, label:has(input), label.button, input[type="range"]');
  const small = await controls.evaluateAll((all) =>
    all
      .filter((one) => one instanceof HTMLElement && one.offsetParent !== null)
      .filter((one) => Math.min(one.clientWidth, one.clientHeight) < 24)
      .map(({ outerHTML }) => outerHTML),
  );
  expect(small).toEqual([]);
}

test('on a desktop the panel is beside the picture, which is seen whole', async ({ page }) => {
  const [width, height] = [1280, 800];
  await openAt(page, width, height);
  await expectOrder(page, width, height);
  await expectLargeControls(page);
  const [stage, aside, canvas] = [await box(page, '.stage'), await box(page, 'aside'), await box(page, '#canvas')];
  expect(stage.right).toBeLessThanOrEqual(aside.left);
  expect(stage.top).toBe(aside.top);
  expect(canvas.bottom).toBeLessThanOrEqual(height);
});

for (const [width, height] of [
  [320, 640],
  [390, 844],
] as const) {
  test(`on a phone ${width} wide the picture fills the column, and the panel is below`, async ({ page }) => {
    await openAt(page, width, height);
    await expectOrder(page, width, height);
    await expectLargeControls(page);
    const [stage, aside, canvas] = [await box(page, '.stage'), await box(page, 'aside'), await box(page, '#canvas')];
    expect(stage.bottom).toBeLessThanOrEqual(aside.top);
    expect(stage.left).toBe(aside.left);
    expect(canvas.right - canvas.left).toBeGreaterThan(width * 0.8);
  });
}

test('what went wrong stands between the sources and the picture', async ({ page }) => {
  const [width, height] = [390, 844];
  await openAt(page, width, height);
  await page.setInputFiles('#file', { name: 'broken.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
  await expectState(page, 'error');
  await expectOrder(page, width, height);
  await expectLargeControls(page);
  const [error, canvas] = [await box(page, '#error'), await box(page, '#canvas')];
  expect((await box(page, '.sources')).bottom).toBeLessThanOrEqual(error.top);
  expect(error.bottom).toBeLessThanOrEqual(canvas.top);
});
