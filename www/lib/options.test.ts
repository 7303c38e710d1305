import { describe, expect, test } from 'vitest';
import { checkCreateOptions, classifierOptions, detectorOptions, signalOf } from './options.ts';
import type { CreateOptions, DetectOptions } from './types.ts';

const LABELS = ['__background__', 'person', 'N/A', 'cat', 'N/A'];

describe('a detector', () => {
  test('leaves to the model what is not given', () => {
    expect(detectorOptions({}, LABELS)).toEqual({});
    expect(detectorOptions({ rpn: {} }, LABELS)).toEqual({ rpn: {} });
  });

  test('passes on what is given, labels as indices', () => {
    const rpn = { preNmsTopN: 150, postNmsTopN: 100, scoreThreshold: 0, nmsThreshold: 1 };
    const given = { scoreThreshold: 0.5, maxResults: 1, nmsThreshold: 0.3, rpn };
    expect(detectorOptions({ ...given, categoryAllowlist: ['cat', 'N/A'] }, LABELS)).toEqual({
      ...given,
      categoryAllowlist: [3, 2, 4],
    });
  });

  test('takes any count', () => {
    expect(detectorOptions({ maxResults: Number.MAX_SAFE_INTEGER }, LABELS)).toEqual({ maxResults: 2 ** 32 - 1 });
  });

  test('passes on an empty list, which allows nothing', () => {
    expect(detectorOptions({ categoryAllowlist: [] }, LABELS)).toEqual({ categoryAllowlist: [] });
  });

  test('names the unknown label and lists some that are known', () => {
    expect(() => detectorOptions({ categoryAllowlist: ['catt'] }, LABELS)).toThrow(/'catt'.*person/);
  });

  test.each([
    [{ scoreTreshold: 0.5 }, /^scoreTreshold is no option.*scoreThreshold, maxResults/],
    [{ rpn: { topN: 5 } }, /^rpn.topN is no option.*rpn.preNmsTopN, rpn.postNmsTopN/],
    [{ topK: 5 }, /^topK is no option/],
  ])('says which options there are for %o', (options, message) => {
    expect(() => detectorOptions(options as DetectOptions, LABELS)).toThrow(message);
  });

  test.each<DetectOptions>([
    { scoreThreshold: -0.1 },
    { scoreThreshold: 1.1 },
    { scoreThreshold: NaN },
    { scoreThreshold: '0.5' as unknown as number },
    { maxResults: 0 },
    { maxResults: 1.5 },
    { maxResults: Infinity },
    { nmsThreshold: 2 },
    { rpn: { preNmsTopN: 0 } },
    { rpn: { postNmsTopN: -1 } },
    { rpn: { scoreThreshold: 2 } },
    { rpn: { nmsThreshold: NaN } },
    { categoryAllowlist: ['dog'] },
    { categoryAllowlist: 'cat' as unknown as string[] },
    { rpn: 5 as unknown as object },
    { rpn: null as unknown as object },
    null as unknown as DetectOptions,
    { signal: { aborted: false } as AbortSignal },
  ])('refuses %o', (options) => {
    expect(() => detectorOptions(options, LABELS)).toThrow(expect.objectContaining({ code: 'E_OPTION' }));
  });
});

describe('a classifier', () => {
  test('gives five classes unless told', () => {
    expect(classifierOptions({})).toEqual({ topK: 5 });
    expect(classifierOptions({ topK: 1 })).toEqual({ topK: 1 });
  });

  test('refuses no object for options', () => {
    expect(() => classifierOptions(null as unknown as object)).toThrow(/options must be an object/);
    expect(() => checkCreateOptions(undefined as unknown as CreateOptions)).toThrow(/options must be an object/);
  });

  test.each([0, 2.5, NaN])('refuses topK %d', (topK) => {
    expect(() => classifierOptions({ topK })).toThrow(/topK must be an integer/);
  });
});

describe('a run without other options', () => {
  test('takes a signal of any window', () => {
    const { signal } = new AbortController();
    const ofAnother = { aborted: false, addEventListener: () => undefined } as unknown as AbortSignal;
    expect(signalOf({ signal })).toBe(signal);
    expect(signalOf({ signal: ofAnother })).toBe(ofAnother);
    expect(signalOf({})).toBeUndefined();
  });

  test.each([{ signal: 5 }, { signal: null }, { topK: 1 }])('refuses %o', (options) => {
    expect(() => signalOf(options as object)).toThrow(expect.objectContaining({ code: 'E_OPTION' }));
  });
});

describe('a create function', () => {
  const integrity = `sha256-${'A'.repeat(43)}=`;

  test.each<Partial<CreateOptions>>([
    {},
    { weights: new URL('https://example.test/x') },
    { weights: new ArrayBuffer(8) },
    { weights: new Uint8Array(8) },
    { threads: 'auto', module: 'auto' },
    { threads: 4, module: 'relaxed-threads', maxQueue: 1, integrity, labels: ['a'] },
    { assetPath: new URL('https://example.test/'), cache: false, arch: 'x', onProgress: () => undefined },
    { signal: new AbortController().signal },
  ])('takes %o', (options) => {
    expect(() => checkCreateOptions({ weights: '/x', ...options })).not.toThrow();
  });

  test.each<Record<string, unknown>>([
    { weights: undefined },
    { weights: 5 },
    { threads: 0 },
    { threads: 'many' },
    { maxQueue: 0 },
    { maxQueue: 1.5 },
    { labels: 'abc' },
    { arch: 5 },
    { module: 'avx512' },
    { integrity: 'sha512-x' },
    { integrity: 'sha256-short' },
    { labels: [1] },
    { assetPath: 5 },
    { cache: 'no' },
    { onProgress: {} },
    { signal: 'abort' },
    { thread: 2 },
  ])('refuses %o', (options) => {
    const all = { weights: '/x', ...options } as CreateOptions;
    expect(() => checkCreateOptions(all)).toThrow(expect.objectContaining({ code: 'E_OPTION' }));
  });
});
