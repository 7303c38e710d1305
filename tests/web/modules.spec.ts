/** The four modules give equal results, and the wrapper takes the best one that the page allows. */
import type { Detection, ModuleName } from 'mobilesight';
import {
  ASTRONAUT,
  COFFEE,
  DETECTOR,
  INT8_SEGMENTER,
  SEGMENTER,
  equalShare,
  expect,
  expectAlike,
  rewrite,
  test,
} from './support.ts';

const SINGLE: readonly ModuleName[] = ['simd128', 'relaxed'];
const THREADED: readonly ModuleName[] = ['simd128-threads', 'relaxed-threads'];
const PICTURES = [ASTRONAUT, COFFEE];

test('all modules find the same', { tag: '@both' }, async ({ blank, isolated }) => {
  const results: { boxes: Detection[][]; masks: Uint8Array[] }[] = [];
  for (const module of isolated ? [...SINGLE, ...THREADED] : SINGLE) {
    const { infos, boxes, masks } = await blank.evaluate(
      async ({ module, detection, segmentation, pictures }) => {
        const detector = await mobilesight.createDetector({ weights: detection, module });
        const segmenter = await mobilesight.createSegmenter({ weights: segmentation, module });
        const [boxes, masks] = [[], []] as [Detection[][], Uint8Array[]];
        for (const picture of pictures) {
          boxes.push((await detector.detect(picture, { scoreThreshold: 0.06 })).detections);
          masks.push((await segmenter.segment(picture)).mask);
        }
        const infos = [detector.info(), segmenter.info()];
        await Promise.all([detector.close(), segmenter.close()]);
        return { infos, boxes, masks };
      },
      { module, detection: DETECTOR, segmentation: SEGMENTER, pictures: PICTURES },
    );
    expect(infos.map((info) => info.module)).toEqual([module, module]);
    results.push({ boxes, masks });
  }
  const [first, ...others] = results;
  expect(first?.boxes.every((found) => found.length > 0)).toBe(true);
  for (const { boxes, masks } of others) {
    boxes.forEach((found, i) => expectAlike(found, first?.boxes[i] ?? [], 1e-4));
    masks.forEach((mask, i) => {
      expect(equalShare(mask, first?.masks[i] ?? new Uint8Array())).toBeGreaterThanOrEqual(0.999);
    });
  }
});

// Their maps have so many pixels that a product of them leaves 32 bits.
test('long pictures are segmented by every module, threads or not', async ({ blank }) => {
  const pictures = [
    { weights: SEGMENTER, height: 4100 },
    { weights: INT8_SEGMENTER, height: 2400 },
  ];
  for (const { weights, height } of pictures) {
    const masks: Uint8Array[] = [];
    for (const module of [...SINGLE, ...THREADED]) {
      const mask = await blank.evaluate(
        async ({ weights, height, module }) => {
          const model = await mobilesight.createSegmenter({ weights, module });
          const { mask } = await model.segment(inside.pattern(100, height));
          await model.close();
          return mask;
        },
        { weights, height, module },
      );
      expect(mask).toHaveLength(100 * height);
      masks.push(mask);
    }
    const [first = new Uint8Array(), ...others] = masks;
    expect(new Set(first).size).toBeGreaterThan(1);
    for (const mask of others) expect(equalShare(mask, first)).toBeGreaterThanOrEqual(0.999);
  }
});

test('the best module is taken', { tag: '@both' }, async ({ blank, isolated }) => {
  const { info, cores, allowed } = await blank.evaluate(async (weights) => {
    const model = await mobilesight.createSegmenter({ weights });
    return { info: model.info(), cores: navigator.hardwareConcurrency, allowed: globalThis.crossOriginIsolated };
  }, SEGMENTER);
  expect(allowed).toBe(isolated);
  const threads = isolated ? Math.min(4, cores) : 1;
  expect(info).toMatchObject({ module: threads > 1 ? 'relaxed-threads' : 'relaxed', threads });
  expect(info.fallback).toBeUndefined();
});

test('threads: 1 takes the module without', async ({ blank }) => {
  const info = await blank.evaluate(
    async (weights) => (await mobilesight.createSegmenter({ weights, threads: 1 })).info(),
    SEGMENTER,
  );
  expect(info).toMatchObject({ module: 'relaxed', threads: 1 });
});

test('threads are as many as asked for where the page allows', { tag: '@both' }, async ({ blank, isolated }) => {
  const info = await blank.evaluate(
    async (weights) => (await mobilesight.createSegmenter({ weights, threads: 3 })).info(),
    SEGMENTER,
  );
  if (isolated) expect(info).toMatchObject({ module: 'relaxed-threads', threads: 3 });
  else expect(info).toMatchObject({ module: 'relaxed', threads: 1, fallback: expect.stringContaining('COEP') });
});

test('a module that the page does not allow is refused', { tag: '@plain' }, async ({ blank }) => {
  for (const module of THREADED) {
    const { failure, size } = await blank.evaluate(
      async ({ weights, module }) => {
        const failure = await inside.failure(() => mobilesight.createSegmenter({ weights, module }));
        const model = await mobilesight.createSegmenter({ weights });
        return { failure, size: (await model.segment(inside.pattern(20, 10))).mask.length };
      },
      { weights: SEGMENTER, module },
    );
    expect(failure.code).toBe('E_UNSUPPORTED_ENV');
    expect(failure.message).toMatch(/cross-origin isolation: send the headers/);
    expect(size).toBe(200);
  }
});

test('options that contradict are refused', async ({ blank }) => {
  const failure = await blank.evaluate(
    (weights) => inside.failure(() => mobilesight.createSegmenter({ weights, module: 'simd128', threads: 2 })),
    SEGMENTER,
  );
  expect(failure.code).toBe('E_OPTION');
  expect(failure.message).toContain('Use module simd128-threads');
});

test('without relaxed SIMD the other module is taken', async ({ blank }) => {
  const { info, refused } = await blank.evaluate(async (weights) => {
    const validate = WebAssembly.validate.bind(WebAssembly);
    // As an engine says that knows SIMD but not its operations from 0x100 on, the relaxed ones: in LEB128, 0x80 0x02 and so on.
    const isRelaxed = (bytes: Uint8Array) =>
      bytes.some((byte, i) => byte === 0xfd && (bytes[i + 1] ?? 0) >= 0x80 && bytes[i + 2] === 2);
    WebAssembly.validate = (bytes) => !isRelaxed(new Uint8Array(bytes as ArrayBuffer)) && validate(bytes);
    const refused = await inside.failure(() => mobilesight.createSegmenter({ weights, module: 'relaxed' }));
    return { refused, info: (await mobilesight.createSegmenter({ weights, threads: 1 })).info() };
  }, SEGMENTER);
  expect(refused.code).toBe('E_UNSUPPORTED_ENV');
  expect(refused.message).toContain('no relaxed SIMD');
  expect(info.module).toBe('simd128');
});

test('a thread whose script is missing gives way to one, too', async ({ blank }) => {
  await rewrite(blank, '**/workerHelpers.js', (text) => text.replace("'./workerHelpers.js'", "'./missing.js'"));
  const { info, size } = await blank.evaluate(async (weights) => {
    const model = await mobilesight.createSegmenter({ weights, threads: 2 });
    const { mask } = await model.segment(inside.pattern(20, 10));
    return { info: model.info(), size: mask.length };
  }, SEGMENTER);
  expect(info).toMatchObject({ module: 'relaxed', threads: 1, fallback: expect.stringContaining('did not start') });
  expect(size).toBe(200);
});

test('threads that do not start give way to one', async ({ blank }) => {
  await blank.route('**/engine/relaxed-threads/**', (route) => route.abort());
  const { info, size, refused } = await blank.evaluate(async (weights) => {
    const model = await mobilesight.createSegmenter({ weights, threads: 2 });
    const { mask } = await model.segment(inside.pattern(20, 10));
    const named = { weights, module: 'relaxed-threads' } as const;
    return {
      info: model.info(),
      size: mask.length,
      refused: await inside.failure(() => mobilesight.createSegmenter(named)),
    };
  }, SEGMENTER);
  expect(info).toMatchObject({ module: 'relaxed', threads: 1, fallback: expect.stringContaining('1 thread of 2') });
  expect(size).toBe(200);
  expect(refused.code).toBe('E_FETCH');
});
