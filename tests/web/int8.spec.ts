/** An int8 segmenter gives the same integers in every module, near to what f32 gives. */
import type { ModuleName } from 'mobilesight';
import { ASTRONAUT, SEGMENTER, equalShare, expect, test } from './support.ts';

const INT8 = './models/street-lraspp-mobilenetv3.int8.safetensors';
const CHINA = './samples/china.png';
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
      { module, weights: INT8, pictures: [ASTRONAUT, CHINA] },
    );
    expect(info).toMatchObject({ module, dtype: 'int8' });
    expect(['dot-i16', 'dot-i8']).toContain(info.int8Gemm);
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
    { files: [INT8, SEGMENTER], picture: CHINA },
  );
  expect(equalShare(int8 ?? new Uint8Array(), f32 ?? new Uint8Array())).toBeGreaterThan(0.95);
});
