/** Memory: what a load takes, and that runs take no more. */
import { ASTRONAUT, DETECTOR, INT8_DETECTOR, INT8_SEGMENTER, SEGMENTER, expect, pageFile, test } from './support.ts';

const MB = 1e6;

/** Bytes of a file's weights in memory: halves become floats there. */
function weightsOf(file: string): number {
  const bytes = pageFile(file);
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE())));
  const tensors = Object.entries(header).filter(([name]) => name !== '__metadata__');
  return (tensors as [string, { dtype: string; shape: number[] }][])
    .map(([, { dtype, shape }]) => shape.reduce((a, b) => a * b, /^[IU]8$/.test(dtype) ? 1 : 4))
    .reduce((a, b) => a + b);
}

for (const module of ['relaxed', 'relaxed-threads'] as const) {
  for (const file of [DETECTOR, SEGMENTER, INT8_DETECTOR, INT8_SEGMENTER]) {
    const weights = weightsOf(file);
    test(`a load and a run take little more than the weights, ${file.split('/').at(-1)}, ${module}`, async ({
      blank,
    }) => {
      const { loaded, peak, dtype } = await blank.evaluate(
        async ({ module, weights, picture, detection }) => {
          const model = await mobilesight[detection ? 'createDetector' : 'createSegmenter']({ weights, module });
          const { memoryBytes: loaded, dtype } = model.info();
          // Memory never shrinks: what it is after a run is its peak.
          await ('detect' in model ? model.detect(picture) : model.segment(picture));
          return { loaded, dtype, peak: model.info().memoryBytes };
        },
        { module, weights: file, picture: ASTRONAUT, detection: file.includes('fasterrcnn') },
      );
      expect(dtype).toBe(file.includes('int8') ? 'int8' : 'f32');
      expect(loaded).toBeGreaterThan(weights);
      for (const memory of [loaded, peak]) expect(memory).toBeLessThanOrEqual(weights * 1.3 + 40 * MB);
    });
  }
}

// Two shapes, so that what one leaves behind the other must make do with.
test('200 detections take no more memory than three', async ({ blank }) => {
  const memory = await blank.evaluate(async (weights) => {
    const model = await mobilesight.createDetector({ weights });
    const pictures = [inside.pattern(64, 64), inside.pattern(64, 72)] as const;
    const memory = [];
    for (let run = 0; run < 200; run++) {
      await model.detect(pictures[run % 2 ? 1 : 0], { rpn: { postNmsTopN: 10 } });
      memory.push(model.info().memoryBytes);
    }
    return memory;
  }, DETECTOR);
  expect(memory).toHaveLength(200);
  expect(memory.at(-1)).toBe(memory[2]);
});

test('200 masks take no more memory than three', async ({ blank }) => {
  const memory = await blank.evaluate(async (weights) => {
    const model = await mobilesight.createSegmenter({ weights, threads: 1 });
    const pictures = [inside.pattern(64, 64), inside.pattern(64, 72)] as const;
    const memory = [];
    for (let run = 0; run < 200; run++) {
      await model.segment(pictures[run % 2 ? 1 : 0]);
      memory.push(model.info().memoryBytes);
    }
    return memory;
  }, SEGMENTER);
  expect(memory).toHaveLength(200);
  expect(memory.at(-1)).toBe(memory[2]);
});
