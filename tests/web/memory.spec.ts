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

for (const module of ['relaxed', 'relaxed-threads'] as const) {
  test(`200 runs of both models take no more memory than three, ${module}`, async ({ blank }) => {
    const seen = await blank.evaluate(
      async ({ module, detection, segmentation }) => {
        const detector = await mobilesight.createDetector({ weights: detection, module });
        const segmenter = await mobilesight.createSegmenter({ weights: segmentation, module });
        const pictures = [inside.pattern(96, 64), inside.pattern(64, 96)] as const;
        const memory = [];
        for (let run = 0; run < 200; run++) {
          const image = pictures[run % 2 ? 1 : 0];
          await Promise.all([detector.detect(image, { rpn: { postNmsTopN: 10 } }), segmenter.segment(image)]);
          memory.push([detector.info().memoryBytes, segmenter.info().memoryBytes]);
        }
        return memory;
      },
      { module, detection: DETECTOR, segmentation: SEGMENTER },
    );
    expect(seen).toHaveLength(200);
    expect(seen.at(-1)).toEqual(seen[2]);
  });
}
