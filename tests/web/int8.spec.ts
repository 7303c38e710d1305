/** The int8 models give the same integers in every module, near to what f32 gives. */
import type { ModuleName } from 'mobilesight';
import { ASTRONAUT, CHINA, COFFEE, DETECTOR, INT8_DETECTOR, INT8_SEGMENTER, SEGMENTER } from './support.ts';
import { equalShare, expect, iou, test } from './support.ts';

const MODULES: readonly ModuleName[] = ['simd128', 'relaxed', 'simd128-threads', 'relaxed-threads'];

test('an int8 mask is the same in every module', async ({ blank }) => {
  const masks: Uint8Array[][] = [];
  for (const module of MODULES) {
    const { info, found } = await blank.evaluate(
      async ({ module, weights, pictures }) => {
        const segmenter = await mobilesight.createSegmenter({ weights, module });
        const found: Uint8Array[] = [];
        for (const picture of pictures) found.push((await segmenter.segment(picture)).mask);
        const info = segmenter.info();
        await segmenter.close();
        return { info, found };
      },
      { module, weights: INT8_SEGMENTER, pictures: [ASTRONAUT, CHINA] },
    );
    expect(info).toMatchObject({ module, dtype: 'int8' });
    // Only relaxed SIMD has a dot of bytes, which the CPU may or may not make exact.
    expect(module.startsWith('relaxed') ? ['dot-i16', 'dot-i8'] : ['dot-i16']).toContain(info.int8Gemm);
    masks.push(found);
  }
  const [first, ...others] = masks;
  for (const found of others)
    found.forEach((mask, i) => expect(equalShare(mask, first?.[i] ?? new Uint8Array())).toBe(1));
});

test('an int8 mask is near to that of f32', async ({ blank }) => {
  const [int8, f32] = await blank.evaluate(
    async ({ files, picture }) => {
      const masks: Uint8Array[] = [];
      for (const weights of files) {
        const segmenter = await mobilesight.createSegmenter({ weights });
        masks.push((await segmenter.segment(picture)).mask);
        await segmenter.close();
      }
      return masks;
    },
    { files: [INT8_SEGMENTER, SEGMENTER], picture: CHINA },
  );
  expect(equalShare(int8 ?? new Uint8Array(), f32 ?? new Uint8Array())).toBeGreaterThan(0.95);
});

test('int8 boxes are near to those of f32', async ({ blank }) => {
  const pictures = [ASTRONAUT, CHINA, COFFEE];
  const { int8, f32 } = await blank.evaluate(
    async ({ files, pictures }) => {
      const found = async (weights: string, dtype: string) => {
        const detector = await mobilesight.createDetector({ weights });
        const info = detector.info();
        // Which GEMM of integers runs is said where one does.
        if (info.dtype !== dtype || (dtype === 'int8') !== (info.int8Gemm !== undefined)) throw new Error(info.dtype);
        const results = [];
        for (const picture of pictures) results.push((await detector.detect(picture)).detections);
        await detector.close();
        return results;
      };
      return { int8: await found(files.int8, 'int8'), f32: await found(files.f32, 'f32') };
    },
    { files: { int8: INT8_DETECTOR, f32: DETECTOR }, pictures },
  );
  const strong = f32.flatMap((found, i) => found.filter(({ score }) => score > 0.5).map((want) => ({ want, i })));
  expect(strong.length).toBeGreaterThan(2);
  for (const { want, i } of strong) {
    const same = int8[i]?.find(({ classId, box }) => classId === want.classId && iou(box, want.box) > 0.7);
    expect(same, `${pictures[i]}: ${want.label} ${want.score}`).toBeDefined();
    expect(Math.abs((same?.score ?? NaN) - want.score)).toBeLessThan(0.1);
  }
});

test('int8 boxes are the same in every module', async ({ blank }) => {
  const found = await blank.evaluate(
    async ({ modules, weights, picture }) => {
      const found = [];
      for (const module of modules) {
        const detector = await mobilesight.createDetector({ weights, module });
        found.push((await detector.detect(picture)).detections);
        await detector.close();
      }
      return found;
    },
    { modules: MODULES, weights: INT8_DETECTOR, picture: COFFEE },
  );
  expect(found[0]?.length).toBeGreaterThan(2);
  for (const others of found) expect(others).toEqual(found[0]);
});
