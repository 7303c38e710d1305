/** `npm run weights`, with a server of this machine in the place of PyTorch's, and what the page makes of the files. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { mobilesightJson } from '../../pkg-config/cli.mjs';
import { serve } from '../../pkg-config/serve.mjs';
import { makeWeights } from '../../pkg-config/weights.mjs';
import { expect, root, test } from './support.ts';
import { BUILDERS } from '../../www/demo/torchvision.ts';

const CHECKPOINT = join(root, 'tests/golden/mobilenet_v3_small_w035.pth');
const ARCH = 'mobilenet_v3_small';
const HASH = createHash('sha256').update(readFileSync(CHECKPOINT)).digest('hex').slice(0, 8);

/** A new folder of the test. */
function folder(name: string): string {
  const path = test.info().outputPath(name);
  mkdirSync(path, { recursive: true });
  return path;
}

/** Makes the weights of a checkpoint that the server has under a name that ends with `hash`. */
async function make(hash: string): Promise<string> {
  const [site, kept, made] = [folder('site'), folder('kept'), folder('made')];
  const path = `${ARCH}-${hash}.pth`;
  copyFileSync(CHECKPOINT, join(site, path));
  const { url, close } = await serve(site);
  const files = [{ arch: ARCH, path, mb: 2.3 }];
  try {
    await makeWeights({ site: url, files, kept, folder: made });
    // What is kept needs no network.
    await makeWeights({ site: 'http://localhost:1/', files, kept, folder: made });
  } finally {
    close();
  }
  return made;
}

/** The page with the files of `made` on its site. */
async function openWith(page: Page, made: string): Promise<void> {
  await page.route('**/models/index.json', (route) => route.fulfill({ path: join(made, 'index.json') }));
  await page.route('**/models/torchvision/*', (route) =>
    route.fulfill({ path: join(made, new URL(route.request().url()).pathname.split('/').at(-1) ?? '') }),
  );
  await page.goto('./');
  await expect(page.locator('html')).toHaveAttribute('data-state', 'idle');
}

test('checkpoints become models of the page, whose classes have bars', async ({ page }) => {
  const made = await make(HASH);
  expect(readdirSync(made).sort()).toEqual(['index.json', `${ARCH}.f16.safetensors`, `${ARCH}.int8.safetensors`]);

  await openWith(page, made);
  await page.getByLabel('Boxes').uncheck();
  await page.getByLabel('Mask', { exact: true }).uncheck();
  await page.getByLabel('Classes').check();
  for (const dtype of ['int8', 'f32']) {
    await page.getByRole('group', { name: 'MobileNetV3 Small' }).getByRole('radio', { name: dtype }).check();
    await page.locator('button[data-src="./samples/chelsea.png"]').click();
    await expect(page.locator('html')).toHaveAttribute('data-state', 'done', { timeout: 120_000 });
    await expect(page.locator('#timings')).toContainText(`Classes${dtype}`);
    await expect(page.locator('#results li')).toHaveCount(5);
    const rows = await page.locator('#results li').evaluateAll((rows) =>
      rows.map((row) => ({
        score: Number(row.querySelector('b')?.textContent),
        share: (row.querySelector('.bar')?.clientWidth ?? 0) / (row.querySelector('.track')?.clientWidth ?? 1),
      })),
    );
    for (const { score, share } of rows) expect(Math.abs(share - score)).toBeLessThan(0.02);
    expect(rows.map(({ score }) => score)).toEqual(rows.map(({ score }) => score).sort((a, b) => b - a));
  }
});

test('the menu is the registry', () => {
  const { models } = mobilesightJson(['models']) as { models: { arch: string; task: string }[] };
  const rows = (list: readonly { arch: string; task: string }[]) => list.map(({ arch, task }) => ({ arch, task }));
  // A second size is of a model that is there.
  expect(rows(BUILDERS.filter(({ resize }) => resize === undefined))).toEqual(rows(models));
});

test('models without weights are shown, and cannot be chosen', async ({ page }) => {
  await page.goto('./');
  await expect(page.getByLabel('Classes')).toBeDisabled();
  const absent = page.getByRole('group', { name: 'npm run weights' });
  await expect(absent).toHaveCount(3);
  await expect(absent.getByRole('radio')).toHaveCount(BUILDERS.length);
  for (const radio of await absent.getByRole('radio').all()) await expect(radio).toBeDisabled();
});

test('a checkpoint that is not what its name says is refused, and so is a site that is not there', async () => {
  await expect(make('00000000')).rejects.toThrow(/has the SHA-256 [0-9a-f]{64}, not that of its name/);
  const files = [{ arch: ARCH, path: `${ARCH}-${HASH}.pth`, mb: 2.3 }];
  const absent = makeWeights({ site: 'http://localhost:1/', files, kept: folder('none'), folder: folder('made') });
  await expect(absent).rejects.toThrow('http://localhost:1/ cannot be reached from here; connect and run it again.');
});

test('a model that fails is named, and the others are made', async () => {
  const [site, kept, made] = [folder('site'), folder('kept'), folder('made')];
  const path = (hash: string) => `${ARCH}-${hash}.pth`;
  for (const hash of ['00000000', HASH]) copyFileSync(CHECKPOINT, join(site, path(hash)));
  const { url, close } = await serve(site);
  const files = [
    { arch: 'quantized_mobilenet_v3_large', path: path('00000000'), mb: 2.3 },
    { arch: 'mobilenet_v3_large', path: 'mobilenet_v3_large-5c1a4163.pth', mb: 21.1 },
    { arch: ARCH, path: path(HASH), mb: 2.3, resize: 320 },
  ];
  const outcome = await makeWeights({ site: url, files, kept, folder: made }).then(String, String);
  close();
  expect(outcome).toContain('no quantized_mobilenet_v3_large: mobilenet_v3_small-00000000.pth has the SHA-256');
  expect(outcome).toContain(`no mobilenet_v3_large: ${url}mobilenet_v3_large-5c1a4163.pth answers 404.`);
  expect(outcome.split('\n')).toHaveLength(2);
  // At a size of its own.
  const file = `${ARCH}_320.int8.safetensors`;
  expect(readdirSync(made).sort()).toEqual(['index.json', `${ARCH}_320.f16.safetensors`, file]);
  expect(mobilesightJson(['info', join(made, file)])).toMatchObject({ preset: { resize: 320 }, input: [224, 224] });
  const index: unknown = JSON.parse(readFileSync(join(made, 'index.json'), 'utf8'));
  expect(index).toMatchObject(['int8', 'f32'].map((dtype) => ({ arch: ARCH, resize: 320, dtype })));
  expect(readdirSync(kept)).toEqual([path(HASH)]);
});

test('without network npm run weights says so in one line', () => {
  const env = { ...process.env, HOME: folder('home') };
  const args = [join(root, 'pkg-config/weights.mjs'), '--site', 'http://localhost:1/'];
  const { status, stdout, stderr } = spawnSync('node', args, { env, encoding: 'utf8' });
  expect([status, stdout]).toEqual([1, '']);
  expect(stderr).toBe('Weights: http://localhost:1/ cannot be reached from here; connect and run it again.\n');
});
