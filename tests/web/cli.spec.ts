/** The command line gives what the browser gives, on the shipped pictures with the default weights. */
import { join } from 'node:path';
import type { Classification, Detection } from 'mobilesight';
import { mobilesight as commandLine } from '../../pkg-config/cli.mjs';
import { classMap, expectSameBoxes, expectSameClasses, run } from './command-line.ts';
import {
  ASTRONAUT,
  CHINA,
  COFFEE,
  DETECTOR,
  INT8_DETECTOR,
  INT8_SEGMENTER,
  SEGMENTER,
  equalShare,
  expect,
  root,
  test,
} from './support.ts';

const SAMPLES = ['./samples/chelsea.png', './samples/grace_hopper.png', './samples/street.png'];
const PICTURES = [ASTRONAUT, CHINA, COFFEE, ...SAMPLES];
const CHECKPOINTS = ['mobilenet_v3_small_w035.pth', 'mobilenet_v3_large_w035_qat.pth'];

const onDisk = (file: string) => join(root, 'www', file);

for (const weights of [DETECTOR, INT8_DETECTOR]) {
  test(`boxes of ${weights}`, async ({ blank }) => {
    const detector = await blank.evaluateHandle((weights) => mobilesight.createDetector({ weights }), weights);
    let boxes = 0;
    for (const picture of PICTURES) {
      const { detections } = await detector.evaluate((model, url) => model.detect(url), picture);
      const wanted = run(onDisk(weights), onDisk(picture)) as { detections: Detection[] };
      expectSameBoxes(detections, wanted.detections, picture);
      boxes += detections.length;
    }
    expect(boxes).toBeGreaterThan(10);
  });
}

for (const weights of [SEGMENTER, INT8_SEGMENTER]) {
  test(`classes of ${weights}`, async ({ blank }) => {
    const segmenter = await blank.evaluateHandle((weights) => mobilesight.createSegmenter({ weights }), weights);
    for (const picture of PICTURES) {
      const { mask, labels } = await segmenter.evaluate((model, url) => model.segment(url), picture);
      const file = test.info().outputPath('classes.png');
      const found = run(onDisk(weights), onDisk(picture), '--mask', file);
      const { classes } = found as { classes: { label: string; classId: number }[] };
      expect(equalShare(mask, await classMap(blank, file)), picture).toBeGreaterThanOrEqual(0.999);
      for (const { label, classId } of classes) expect(labels[classId]).toBe(label);
    }
  });
}

for (const checkpoint of CHECKPOINTS) {
  test(`classes of a picture of ${checkpoint}`, async ({ blank }) => {
    const file = test.info().outputPath('classifier.safetensors');
    commandLine('Convert', ['convert', join(root, 'tests/golden', checkpoint), '-o', file]);
    await blank.route('**/classifier.safetensors', (route) => route.fulfill({ path: file }));
    const weights = './classifier.safetensors';
    const classifier = await blank.evaluateHandle((weights) => mobilesight.createClassifier({ weights }), weights);
    for (const picture of PICTURES) {
      for (const topK of [undefined, 1, 8]) {
        const options = topK === undefined ? {} : { topK };
        const { classes } = await classifier.evaluate(
          (model, { picture, options }) => model.classify(picture, options),
          { picture, options },
        );
        expect(classes.length).toBe(topK ?? 5);
        const wanted = run(file, onDisk(picture), '--top', String(topK ?? 5)) as { classes: Classification[] };
        expectSameClasses(classes, wanted.classes, picture);
      }
    }
  });
}
