/** Every model in int8: the four modules give the same, which is what the command line gives. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Classification, Detection, ModuleName } from 'mobilesight';
import { cargoExample } from '../../pkg-config/cli.mjs';
import { BUILDERS } from '../../www/demo/torchvision.ts';
import { classMap, expectSameBoxes, expectSameClasses, run } from './command-line.ts';
import { COFFEE, equalShare, expect, root, test } from './support.ts';

const MODULES: readonly ModuleName[] = ['simd128', 'relaxed', 'simd128-threads', 'relaxed-threads'];

/** One worker has all of these tests, so that the files are made once. */
test.describe.configure({ mode: 'default' });

let folder = '';
test.beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mobilesight-int8-'));
  cargoExample('int8_weights', [folder]);
});
test.afterAll(() => rmSync(folder, { recursive: true }));

// A second size is of the same model.
for (const { task, arch } of BUILDERS.filter(({ resize }) => resize === undefined)) {
  test(`${arch} in int8`, async ({ blank }) => {
    const file = join(folder, `${arch}.int8.safetensors`);
    await blank.route('**/small.safetensors', (route) => route.fulfill({ path: file }));
    const results = await blank.evaluate(
      async ({ task, modules, picture }) => {
        const create = {
          async detection(module: ModuleName) {
            const model = await mobilesight.createDetector({ weights: './small.safetensors', module });
            return { model, found: (await model.detect(picture)).detections };
          },
          async segmentation(module: ModuleName) {
            const model = await mobilesight.createSegmenter({ weights: './small.safetensors', module });
            return { model, found: (await model.segment(picture)).mask };
          },
          async classification(module: ModuleName) {
            const model = await mobilesight.createClassifier({ weights: './small.safetensors', module });
            return { model, found: (await model.classify(picture)).classes };
          },
        };
        const results = [];
        for (const module of modules) {
          const { model, found } = await create[task](module);
          results.push({ info: model.info(), found });
          await model.close();
        }
        return results;
      },
      { task, modules: MODULES, picture: COFFEE },
    );
    const found = results[0]?.found ?? [];
    expect(found.length).toBeGreaterThan(0);
    results.forEach(({ info, found: other }, i) => {
      expect(info).toMatchObject({ arch, task, dtype: 'int8', module: MODULES[i] });
      expect(other).toEqual(found);
    });

    const png = test.info().outputPath('classes.png');
    const wanted = run(file, join(root, 'www', COFFEE), ...(task === 'segmentation' ? ['--mask', png] : []));
    const { detections = [], classes = [] } = wanted as { detections?: Detection[]; classes?: Classification[] };
    if (task === 'detection') expectSameBoxes(found as Detection[], detections, COFFEE);
    else if (task === 'classification') expectSameClasses(found as Classification[], classes, COFFEE);
    else expect(equalShare(found as Uint8Array, await classMap(blank, png))).toBe(1);
  });
}
