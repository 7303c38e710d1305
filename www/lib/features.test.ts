import { afterEach, describe, expect, test, vi } from 'vitest';
import { detectEnvironment, plan, withoutThreads, type Environment } from './features.ts';
import type { CreateOptions } from './types.ts';

const best: Environment = { simd: true, relaxedSimd: true, threads: true, isolated: true, cores: 8 };

function choose(options: Partial<CreateOptions>, environment: Partial<Environment> = {}) {
  return plan({ weights: '/x', ...options }, { ...best, ...environment });
}

afterEach(() => vi.unstubAllGlobals());

describe('automatically', () => {
  test.each<[Partial<Environment>, string, number]>([
    [{}, 'relaxed-threads', 4],
    [{ cores: 2 }, 'relaxed-threads', 2],
    [{ cores: 1 }, 'relaxed', 1],
    [{ isolated: false }, 'relaxed', 1],
    [{ threads: false }, 'relaxed', 1],
    [{ relaxedSimd: false }, 'simd128-threads', 4],
    [{ relaxedSimd: false, isolated: false }, 'simd128', 1],
  ])('%o gives %s with %d', (environment, module, threads) => {
    const chosen = choose({}, environment);
    expect(chosen).toMatchObject({ module, threads });
    // Nothing more was asked for.
    expect(chosen.fallback).toBeUndefined();
  });
});

describe('a number of threads', () => {
  test('is obeyed, also above the automatic most', () => {
    expect(choose({ threads: 6 })).toMatchObject({ module: 'relaxed-threads', threads: 6 });
    expect(choose({ threads: 1 })).toMatchObject({ module: 'relaxed', threads: 1 });
  });

  test('that cannot be had is said', () => {
    const chosen = choose({ threads: 3 }, { isolated: false });
    expect(chosen).toMatchObject({
      module: 'relaxed',
      threads: 1,
      fallback: expect.stringMatching(/1 thread of 3.*COOP/),
    });
  });
});

describe('a module', () => {
  test('is obeyed and not replaced', () => {
    expect(choose({ module: 'simd128' })).toEqual({ module: 'simd128', threads: 1, replaceable: false });
    expect(choose({ module: 'relaxed-threads' })).toEqual({
      module: 'relaxed-threads',
      threads: 4,
      replaceable: false,
    });
    expect(choose({ module: 'relaxed-threads', threads: 1 })).toMatchObject({ module: 'relaxed-threads', threads: 1 });
  });

  test('that cannot run is an error', () => {
    const unsupported = expect.objectContaining({ code: 'E_UNSUPPORTED_ENV' });
    expect(() => choose({ module: 'relaxed' }, { relaxedSimd: false })).toThrow(unsupported);
    expect(() => choose({ module: 'simd128-threads' }, { isolated: false })).toThrow(unsupported);
    expect(() => choose({ module: 'simd128-threads' }, { threads: false })).toThrow(unsupported);
  });

  test('of one thread contradicts more', () => {
    const contradiction = expect.objectContaining({ code: 'E_OPTION' });
    expect(() => choose({ module: 'relaxed', threads: 2 })).toThrow(contradiction);
  });
});

test('without threads the same instruction set stays', () => {
  const first = choose({});
  expect(withoutThreads(first, 'too late')).toEqual({
    module: 'relaxed',
    threads: 1,
    fallback: '1 thread of 4: too late',
    replaceable: false,
  });
});

test('no SIMD is an error', () => {
  expect(() => choose({}, { simd: false })).toThrow(expect.objectContaining({ code: 'E_NO_SIMD' }));
});

describe('the environment', () => {
  test('without workers is an error', async () => {
    vi.stubGlobal('Worker', undefined);
    await expect(detectEnvironment()).rejects.toMatchObject({ code: 'E_UNSUPPORTED_ENV' });
  });

  test('is asked what it can do', async () => {
    vi.stubGlobal('Worker', vi.fn());
    vi.stubGlobal('navigator', { hardwareConcurrency: 6 });
    vi.stubGlobal('crossOriginIsolated', true);
    expect(await detectEnvironment()).toMatchObject({ simd: true, isolated: true, cores: 6 });
    vi.stubGlobal('crossOriginIsolated', undefined);
    expect(await detectEnvironment()).toMatchObject({ isolated: false });
  });
});
