import { afterEach, expect, test, vi } from 'vitest';

afterEach(() => vi.unstubAllGlobals());

test('importing asks nothing of the environment', async () => {
  const forbidden = ['fetch', 'Worker', 'caches', 'document', 'navigator', 'createImageBitmap', 'OffscreenCanvas'];
  const touched = vi.fn();
  for (const name of forbidden) {
    const trap = new Proxy(() => {}, { apply: touched, construct: () => (touched(), {}), get: touched });
    vi.stubGlobal(name, trap);
  }
  const before = Object.keys(globalThis);
  const mobilesight = await import('./index.ts');
  expect(touched).not.toHaveBeenCalled();
  expect(Object.keys(globalThis)).toEqual(before);
  expect(Object.keys(mobilesight).sort()).toEqual([
    'MobilesightError',
    'classColor',
    'classesPresent',
    'createClassifier',
    'createDetector',
    'createSegmenter',
    'drawDetections',
    'drawMask',
  ]);
});

test('creating outside of a browser is a typed error', async () => {
  vi.stubGlobal('Worker', undefined);
  const { createDetector, MobilesightError } = await import('./index.ts');
  const creating = createDetector({ weights: 'https://example.test/x' });
  await expect(creating).rejects.toBeInstanceOf(MobilesightError);
  await expect(creating).rejects.toMatchObject({ code: 'E_UNSUPPORTED_ENV' });
});
