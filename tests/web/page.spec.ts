/** The page as a user has it: pictures from every source, findings drawn and listed, words for what went wrong. */
import { join } from 'node:path';
import type { Locator, Page } from '@playwright/test';
import type { Detection } from 'mobilesight';
import { run } from './command-line.ts';
import {
  DETECTOR,
  INT8_DETECTOR,
  INT8_SEGMENTER,
  expect,
  expectState,
  pageFile,
  root,
  sample,
  test,
} from './support.ts';

const sampleFile = (name: string) => join(root, 'www/samples', name);
const found = (page: Page) => page.locator('#results li');
const slider = (page: Page) => page.getByLabel('Least score');

/** Keeps a file back until the function that it gives is called. */
async function holdBack(page: Page, file: string): Promise<() => void> {
  let letGo = (): void => undefined;
  const held = new Promise<void>((resolve) => (letGo = resolve));
  await page.route(`**/${file.slice(2)}`, async (route) => {
    await held;
    await route.continue();
  });
  return letGo;
}

const size = (file: string) => `${(pageFile(file).length / 1e6).toFixed(1)} MB`;

/** Boxes, a mask and their lists are there. */
async function expectFindings(page: Page, label: string): Promise<void> {
  await expectState(page, 'done');
  await expect(page.getByRole('alert')).toBeHidden();
  await expect(found(page).filter({ hasText: label })).not.toHaveCount(0);
  await expect(page.locator('#legend li')).not.toHaveCount(0);
}

/** The canvas's pixels. */
function pixels(page: Page): Promise<Uint32Array> {
  return page.locator('#canvas').evaluate((canvas: HTMLCanvasElement) => {
    const context = canvas.getContext('2d');
    return new Uint32Array(context?.getImageData(0, 0, canvas.width, canvas.height).data.buffer ?? []);
  });
}

/** The share of pixels that differ. */
function difference(a: Uint32Array, b: Uint32Array): number {
  expect(a.length).toBe(b.length);
  return a.filter((value, i) => value !== b[i]).length / a.length;
}

test.beforeEach(async ({ page }) => {
  await page.goto('./');
  await expectState(page, 'idle');
});

test('a sample gets boxes and a mask, drawn and listed', { tag: '@both' }, async ({ page }) => {
  await sample(page, 'astronaut').click();
  await expectFindings(page, 'person');
  await expect(page.locator('#caption')).toContainText('512 × 512');
  await expect(page.locator('#status')).toContainText('person 0.99');
  await expect(page.locator('#timings')).toContainText('Network');
  await expect(page.locator('#progress')).toBeHidden();

  const both = await pixels(page);
  await page.getByLabel('Mask', { exact: true }).uncheck();
  const boxes = await pixels(page);
  await page.getByLabel('Boxes').uncheck();
  const picture = await pixels(page);
  await page.getByLabel('Mask', { exact: true }).check();
  const mask = await pixels(page);
  // A box is lines and a label; the mask lies on all that is not background.
  expect(difference(boxes, picture)).toBeGreaterThan(0.001);
  expect(difference(boxes, picture)).toBeLessThan(0.2);
  expect(difference(mask, picture)).toBeGreaterThan(0.5);
  expect(difference(both, mask)).toBeGreaterThan(0.001);
});

test('int8 is used unless f32 is chosen; sizes and times of both are shown', async ({ page }) => {
  const models = page.getByRole('group', { name: 'Faster R-CNN 320' });
  const [int8, f32] = [models.locator('label').nth(0), models.locator('label').nth(1)];
  await expect(int8).toHaveText(`int8${size(INT8_DETECTOR)}`);
  await expect(f32).toHaveText(`f32${size(DETECTOR)}`);
  await expect(models.getByRole('radio', { name: 'int8' })).toBeChecked();
  await sample(page, 'astronaut').click();
  await expectFindings(page, 'person');
  await expect(int8).toContainText(/ ms$/);
  await expect(f32).not.toContainText(' ms');
  await expect(page.locator('#timings')).toContainText('Boxesint8');
  await expect(page.locator('#engine')).toContainText('int8 by dot-');

  // By keyboard, as any radio buttons.
  await models.getByRole('radio', { name: 'int8' }).focus();
  await page.keyboard.press('ArrowDown');
  await expect(page.locator('#timings')).toContainText('Boxesf32', { timeout: 120_000 });
  await expectFindings(page, 'person');
  await expect(int8).toContainText(/ ms$/);
  await expect(f32).toContainText(/ ms$/);
  // Both are known for this picture now: going back runs nothing.
  await models.getByRole('radio', { name: 'int8' }).check();
  await expectFindings(page, 'person');
  await expect(page.locator('#timings')).toContainText('Boxesint8Boxesf32');
});

test('the engine in use is told', { tag: '@both' }, async ({ page, isolated }) => {
  await sample(page, 'astronaut').click();
  await expectFindings(page, 'person');
  const engine = page.locator('#engine');
  const cores = await page.evaluate(() => navigator.hardwareConcurrency);
  const threads = isolated ? Math.min(4, cores) : 1;
  const module = threads > 1 ? 'relaxed-threads' : 'relaxed';
  await expect(engine).toContainText(`Module ${module}, ${threads} thread`);
  if (!isolated) await expect(engine).toContainText('One thread: more need cross-origin isolation');
  else await expect(engine).not.toContainText('isolation');
});

test.describe('a picture of the user', () => {
  test('comes from a file, and again from the same one', async ({ page }) => {
    for (const name of ['astronaut.png', 'coffee.png', 'coffee.png']) {
      await page.setInputFiles('#file', sampleFile(name));
      await expect(page.locator('#caption')).toContainText(name);
      await expectFindings(page, name.startsWith('astronaut') ? 'person' : 'dining table');
    }
  });

  /** What a drop or the clipboard holds. */
  const transfer = (page: Page, url: string) =>
    page.evaluateHandle(async (url) => {
      const data = new DataTransfer();
      const blob = await (await fetch(url)).blob();
      data.items.add(new File([blob], 'brought.png', { type: 'image/png' }));
      return data;
    }, url);

  test('may be dropped', async ({ page }) => {
    const data = await transfer(page, './samples/astronaut.png');
    await page.dispatchEvent('body', 'dragover', { dataTransfer: data });
    await expect(page.locator('body')).toHaveClass(/dropping/);
    await page.dispatchEvent('body', 'drop', { dataTransfer: data });
    await expect(page.locator('body')).not.toHaveClass(/dropping/);
    await expectFindings(page, 'person');
    await expect(page.locator('#caption')).toContainText('brought.png');
  });

  test('may be pasted', async ({ page }) => {
    const data = await transfer(page, './samples/astronaut.png');
    await data.evaluate((clipboardData) =>
      document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true })),
    );
    await expectFindings(page, 'person');
  });

  test('chosen last counts', async ({ page }) => {
    await sample(page, 'astronaut').click();
    await sample(page, 'chelsea').click();
    await sample(page, 'coffee').click();
    await expectFindings(page, 'dining table');
    await expect(page.locator('#caption')).toContainText('600 × 400');
    await expect(found(page).filter({ hasText: 'person' })).toHaveCount(0);
  });
});

test('what is chosen while a picture opens is what runs on it', async ({ page }) => {
  const letGo = await holdBack(page, './samples/coffee.png');
  await sample(page, 'coffee').click();
  await expectState(page, 'loading');
  await page.getByRole('checkbox', { name: 'Mask' }).uncheck();
  letGo();
  await expectState(page, 'done');
  await expect(found(page).filter({ hasText: 'dining table' })).not.toHaveCount(0);
  await expect(page.locator('#legend li')).toHaveCount(0);
});

/** Calls `act`, and expects that the page neither loads nor runs anything meanwhile. */
async function expectNoRun(page: Page, act: () => Promise<void>): Promise<void> {
  const states = await page.evaluateHandle(() => {
    const states: string[] = [];
    const note = () => states.push(document.documentElement.dataset['state'] ?? '');
    new MutationObserver(note).observe(document.documentElement, { attributeFilter: ['data-state'] });
    return states;
  });
  await act();
  expect(await states.jsonValue()).toEqual([]);
}

test('the threshold acts by keyboard, without a new run', async ({ page }) => {
  await sample(page, 'coffee').click();
  await expectFindings(page, 'dining table');
  const wanted = run(join(root, 'www', INT8_DETECTOR), sampleFile('coffee.png')) as { detections: Detection[] };
  const above = (threshold: number) => wanted.detections.filter(({ score }) => score >= threshold).length;
  expect(above(0.05)).toBeGreaterThan(above(0.4));
  await expect(found(page)).toHaveCount(above(0.4));
  const before = await pixels(page);
  await expectNoRun(page, async () => {
    await slider(page).focus();
    await page.keyboard.press('Home');
    await expect(found(page)).toHaveCount(above(0.05));
    await page.keyboard.press('End');
    await expect(found(page)).toHaveCount(0);
    await expect(page.locator('#results')).toContainText('Lower the threshold');
    await page.keyboard.press('ArrowLeft');
    await expect(page.locator('label[for="threshold"] output')).toHaveText('0.94');
  });
  expect(difference(before, await pixels(page))).toBeGreaterThan(0.001);
});

test.describe('what goes wrong is said', () => {
  const alert = (page: Page): Locator => page.getByRole('alert');

  test('of a broken file; a good one then works', async ({ page }) => {
    await page.setInputFiles('#file', { name: 'broken.png', mimeType: 'image/png', buffer: Buffer.from('no picture') });
    await expectState(page, 'error');
    await expect(alert(page)).toContainText('broken.png cannot be read as a picture. Choose a PNG');
    await page.setInputFiles('#file', { name: 'none.png', mimeType: 'image/png', buffer: Buffer.alloc(0) });
    await expect(alert(page)).toContainText('none.png is empty');
    await sample(page, 'astronaut').click();
    await expectFindings(page, 'person');
  });

  test('of a drop without a file', async ({ page }) => {
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.setData('text/plain', 'words');
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    });
    await expectState(page, 'error');
    await expect(alert(page)).toContainText('not a file. Save the picture first');
  });

  test('of weights that are missing; the button tries again', async ({ page }) => {
    const file = `**/${INT8_DETECTOR.slice(2)}`;
    await page.route(file, (route) => route.fulfill({ status: 404 }));
    await sample(page, 'astronaut').click();
    await expectState(page, 'error');
    await expect(alert(page)).toContainText('Boxes: The weights cannot be fetched: the server answers 404');
    await expect(alert(page)).toContainText('E_FETCH');
    // The other model has done its part.
    await expect(page.locator('#legend li')).not.toHaveCount(0);
    await page.unroute(file);
    await page.getByRole('button', { name: 'Try again' }).click();
    await expect(page.locator('#stage')).toBeFocused();
    await expectFindings(page, 'person');
  });

  test('of an address without a picture', async ({ page }) => {
    await page.goto('./?picture=samples/none.png');
    await expectState(page, 'error');
    await expect(alert(page)).toContainText('the server answers 404. Check its address');
  });

  test('of a camera that is not there', async ({ page }) => {
    await page.evaluate(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('none', 'NotFoundError'));
    });
    await page.getByRole('button', { name: 'Start camera' }).click();
    await expectState(page, 'error');
    await expect(alert(page)).toContainText('There is no camera. Connect one');
    await expect(page.getByRole('button', { name: 'Start camera' })).toBeVisible();
  });
});

test('weights come with a progress bar', async ({ page }) => {
  const letGo = await holdBack(page, INT8_SEGMENTER);
  await page.getByLabel('Boxes').uncheck();
  await sample(page, 'china').click();
  await expect(page.getByRole('progressbar')).toBeVisible();
  await expectState(page, 'loading');
  letGo();
  await expectState(page, 'done');
  await expect(page.getByRole('progressbar')).toBeHidden();
});

test('the keyboard alone suffices', async ({ page }) => {
  const focused = () => page.evaluate(() => document.activeElement?.id || document.activeElement?.className || '');
  await page.keyboard.press('Tab');
  expect(await focused()).toBe('sample');
  await page.keyboard.press('Enter');
  await expectFindings(page, 'person');
  const reached: string[] = [];
  for (let press = 0; press < 20 && reached.at(-1) !== 'opacity'; press++) {
    await page.keyboard.press('Tab');
    reached.push(await focused());
  }
  expect(reached.filter((name) => name !== 'sample')).toEqual([
    'file',
    'webcam',
    'show-detection',
    'model-detection-0',
    'show-segmentation',
    'model-segmentation-0',
    'threshold',
    'opacity',
  ]);
  const before = await pixels(page);
  await page.keyboard.press('Home');
  await expect(page.locator('label[for="opacity"] output')).toHaveText('0%');
  expect(difference(before, await pixels(page))).toBeGreaterThan(0.5);
});

test('the camera starts, draws, and stops', { tag: '@both' }, async ({ page }) => {
  const button = page.locator('#webcam');
  await button.click();
  await expect(button).toHaveText('Stop camera');
  await expect(button).toHaveClass(/\bon\b/);
  await expect(page.locator('#timings')).toContainText('Network');
  await expect(page.locator('#caption')).toContainText('The camera');
  const frame = await pixels(page);
  expect(new Set(frame).size).toBeGreaterThan(10);
  // The fake camera's picture moves.
  await expect.poll(async () => difference(frame, await pixels(page))).toBeGreaterThan(0.001);

  const boxes = page.getByRole('checkbox', { name: 'Boxes' });
  const mask = page.getByRole('checkbox', { name: 'Mask' });
  for (const box of [boxes, mask]) await box.uncheck();
  await expect(page.locator('#status')).toHaveText(/Nothing is switched on/);
  for (const box of [boxes, mask]) await box.check();

  await button.click();
  await expect(button).toHaveText('Start camera');
  await expect(button).not.toHaveClass(/\bon\b/);
  await expectState(page, 'done');
  const last = await pixels(page);
  await page.waitForTimeout(500);
  expect(difference(last, await pixels(page))).toBe(0);
  await sample(page, 'astronaut').click();
  await expectFindings(page, 'person');
});

test('the camera is released at once, also while weights come', async ({ page }) => {
  const letGo = await holdBack(page, INT8_DETECTOR);
  const streams = await page.evaluateHandle(() => {
    const streams: MediaStream[] = [];
    const devices = navigator.mediaDevices;
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (constraints) => {
      const stream = await open(constraints);
      streams.push(stream);
      return stream;
    };
    return streams;
  });
  const states = () =>
    streams.evaluate((all) => all.flatMap((one) => one.getTracks().map((track) => track.readyState)));
  await page.locator('#webcam').click();
  await expect(page.getByRole('progressbar')).toBeVisible();
  expect(await states()).toEqual(['live']);
  await page.locator('#webcam').click();
  expect(await states()).toEqual(['ended']);
  letGo();
  await expectState(page, 'done');
});

test.describe('the page keeps to itself', () => {
  test(
    'asks no other origin, and keeps a strict policy, its worker too',
    { tag: '@both' },
    async ({ page, baseURL }) => {
      const policy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'";
      const messages: string[] = [];
      const foreign: string[] = [];
      page.on('console', (message) => messages.push(message.text()));
      page.on('pageerror', (error) => messages.push(String(error)));
      page.on('request', (request) => {
        if (!request.url().startsWith(baseURL ?? '')) foreign.push(request.url());
      });
      // A worker has the policy of its own script's answer.
      await page.route('**/*.js', async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, headers: { ...response.headers(), 'content-security-policy': policy } });
      });
      await page.reload();
      await sample(page, 'astronaut').click();
      await expectFindings(page, 'person');
      expect(messages).toEqual([]);
      expect(foreign).toEqual([]);
    },
  );

  test('fetches weights at first use only', async ({ page }) => {
    const weights: string[] = [];
    page.on('request', (request) => {
      if (request.url().endsWith('.safetensors')) weights.push(request.url());
    });
    expect(weights).toEqual([]);
    for (const name of ['astronaut', 'coffee', 'astronaut']) {
      await sample(page, name).click();
      await expectFindings(page, name === 'coffee' ? 'dining table' : 'person');
    }
    expect(weights.map((url) => new URL(url).pathname)).toEqual([INT8_DETECTOR, INT8_SEGMENTER].map((f) => f.slice(1)));
    await expect(page.locator('#timings')).toContainText(size(INT8_SEGMENTER));
  });
});
