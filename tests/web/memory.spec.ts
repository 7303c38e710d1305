/** Memory: what a load takes, and that runs take no more. */
import { DETECTOR, SEGMENTER, expect, pageFile, test } from './support.ts';

const MB = 1e6;

for (const module of ['relaxed', 'relaxed-threads'] as const) {
  test(`a load takes little more than its weights, ${module}`, async ({ blank }) => {
    const memory = await blank.evaluate(
      async ({ module, detection, segmentation }) => {
        const detector = await mobilesight.createDetector({ weights: detection, module });
        const segmenter = await mobilesight.createSegmenter({ weights: segmentation, module });
        return [detector.info().memoryBytes, segmenter.info().memoryBytes];
      },
      { module, detection: DETECTOR, segmentation: SEGMENTER },
    );
    [DETECTOR, SEGMENTER].forEach((file, i) => {
      // The file is f16.
      const weights = 2 * pageFile(file).length;
      expect(memory[i]).toBeGreaterThan(weights);
      expect(memory[i]).toBeLessThanOrEqual(weights * 1.3 + 40 * MB);
    });
  });
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
