/** What the wrapper gives: TorchVision's results, options that act, progress, and weights that are fetched once. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import type { BoundingBox, Detection, DetectOptions, LoadProgress } from 'mobilesight';
import { COFFEE, DETECTOR, SEGMENTER, alike, equalShare, expect, pageFile, root, test } from './support.ts';

interface Golden {
  boxes: [number, number, number, number][];
  scores: number[];
  labels: number[];
}

const goldenFile = (name: string) => readFileSync(join(root, 'tests/golden/samples', name));
const goldens = JSON.parse(goldenFile('samples.json').toString()) as Record<string, Golden>;

/** TorchVision's detections. */
function wanted({ boxes, scores, labels }: Golden): Detection[] {
  return boxes.map(([x, y, right, bottom], i) => {
    const box: BoundingBox = { x, y, width: right - x, height: bottom - y };
    return { box, label: '', classId: labels[i] ?? -1, score: scores[i] ?? NaN };
  });
}

/** TorchVision's class map, resized as the mask is: the nearest pixel's centre. */
async function goldenMask(page: Page, name: string, width: number, height: number): Promise<Uint8Array> {
  const png = goldenFile(name.replace('.png', '.street.png')).toString('base64');
  const map = await page.evaluate(async (png) => {
    const { data, width, height } = await inside.stored(await inside.file(`data:image/png;base64,${png}`));
    return { classes: new Uint8Array(data.filter((_, i) => i % 4 === 0)), width, height };
  }, png);
  const from = (i: number, of: number, to: number) => Math.floor(((2 * i + 1) * of) / (2 * to));
  return Uint8Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [from(i % width, map.width, width), from(Math.floor(i / width), map.height, height)];
    return map.classes[y * map.width + x] ?? 255;
  });
}

test('the detector finds what TorchVision finds', { tag: '@both' }, async ({ blank }) => {
  const detector = await blank.evaluateHandle((weights) => mobilesight.createDetector({ weights }), DETECTOR);
  for (const [name, golden] of Object.entries(goldens)) {
    const { detections } = await detector.evaluate((model, url) => model.detect(url), `./samples/${name}`);
    const rest = wanted(golden).reduce((left, want) => {
      const partner = left.find((found) => alike(found, want, 1e-3));
      expect(partner, `${name}: class ${want.classId} at ${want.score}`).toBeDefined();
      return left.filter((found) => found !== partner);
    }, detections);
    // At the threshold itself, 0.05, rounding decides.
    expect(rest.filter(({ score }) => score > 0.051)).toEqual([]);
    expect(detections.map(({ score }) => score)).toEqual(detections.map(({ score }) => score).sort((a, b) => b - a));
  }
});

test('the segmenter gives the classes that TorchVision gives', { tag: '@both' }, async ({ blank }) => {
  const segmenter = await blank.evaluateHandle((weights) => mobilesight.createSegmenter({ weights }), SEGMENTER);
  for (const name of Object.keys(goldens)) {
    const result = await segmenter.evaluate((model, url) => model.segment(url), `./samples/${name}`);
    const { mask, width, height, labels } = result;
    expect(mask).toHaveLength(width * height);
    expect(labels[0]).toBe('sky');
    const share = equalShare(mask, await goldenMask(blank, name, width, height));
    expect(share, name).toBeGreaterThanOrEqual(0.995);
  }
});

test('timings, sizes and profile are of the run', async ({ blank }) => {
  const seen = await blank.evaluate(
    async ({ weights, url }) => {
      const model = await mobilesight.createDetector({ weights });
      const result = await model.detect(url);
      return { result, layers: await model.profile(url), info: model.info() };
    },
    { weights: DETECTOR, url: COFFEE },
  );
  expect([seen.result.width, seen.result.height]).toEqual([600, 400]);
  const { decode, preprocess, network, postprocess } = seen.result.timings;
  for (const ms of [decode, preprocess, network, postprocess]) expect(ms).toBeGreaterThanOrEqual(0);
  expect(network).toBeGreaterThan(0);
  expect(seen.layers.length).toBeGreaterThan(20);
  expect(seen.layers.reduce((sum, { ms }) => sum + ms, 0)).toBeGreaterThan(0);
  expect(seen.info).toMatchObject({
    task: 'detection',
    arch: 'fasterrcnn_mobilenet_v3_large_320_fpn',
    dtype: 'f32',
    weightsBytes: pageFile(DETECTOR).length,
  });
  expect(seen.info.labels[1]).toBe('person');
});

test.describe('options of a detection', () => {
  async function detectWith(page: Page, all: DetectOptions[]): Promise<Detection[][]> {
    return page.evaluate(
      async ({ weights, url, all }) => {
        const model = await mobilesight.createDetector({ weights });
        const results = [];
        for (const options of all) results.push((await model.detect(url, options)).detections);
        return results;
      },
      { weights: DETECTOR, url: COFFEE, all },
    );
  }

  test('threshold, number and labels select', async ({ blank }) => {
    const [whole = []] = await detectWith(blank, [{}]);
    expect(whole.length).toBeGreaterThan(3);
    const label = whole[1]?.label ?? '';
    const [sure, two, labelled, none, clean] = await detectWith(blank, [
      { scoreThreshold: 0.5 },
      { maxResults: 2 },
      { categoryAllowlist: [label] },
      { categoryAllowlist: [] },
      {},
    ]);
    expect(sure).toEqual(whole.filter(({ score }) => score >= 0.5));
    expect(sure?.length).toBeLessThan(whole.length);
    expect(two).toEqual(whole.slice(0, 2));
    expect(labelled).toEqual(whole.filter((found) => found.label === label));
    expect(none).toEqual([]);
    expect(clean).toEqual(whole);
  });

  test('suppression and the proposal network obey', async ({ blank }) => {
    const options: DetectOptions[] = [
      {},
      { nmsThreshold: 1 },
      { nmsThreshold: 0 },
      { rpn: { postNmsTopN: 1 } },
      { rpn: { preNmsTopN: 1 } },
      { rpn: { scoreThreshold: 1 } },
      { rpn: { nmsThreshold: 0 } },
    ];
    const [usual = [], all = [], few = [], ...proposals] = await detectWith(blank, options);
    expect(all.length).toBeGreaterThan(usual.length);
    expect(few.length).toBeLessThanOrEqual(usual.length);
    const [one = [], oneALevel, unsure, apart] = proposals;
    // A proposal gives at most one box a class.
    expect(new Set(one.map(({ classId }) => classId)).size).toBe(one.length);
    expect(one.length).toBeLessThan(usual.length);
    expect(unsure).toEqual([]);
    for (const found of [oneALevel, apart]) expect(found).not.toEqual(usual);
  });

  const bad: [string, object][] = [
    ['scoreThreshold', { scoreThreshold: 1.5 }],
    ['scoreThreshold', { scoreThreshold: NaN }],
    ['maxResults', { maxResults: 0 }],
    ['maxResults', { maxResults: 1.5 }],
    ['nmsThreshold', { nmsThreshold: -0.1 }],
    ['categoryAllowlist', { categoryAllowlist: ['no such thing'] }],
    ['rpn.preNmsTopN', { rpn: { preNmsTopN: 0 } }],
    ['rpn.postNmsTopN', { rpn: { postNmsTopN: -1 } }],
    ['rpn.scoreThreshold', { rpn: { scoreThreshold: 2 } }],
    ['rpn.nmsThreshold', { rpn: { nmsThreshold: 2 } }],
    ['rpn.topN', { rpn: { topN: 100 } }],
    ['scoreTreshold', { scoreTreshold: 0.5 }],
    ['signal', { signal: 5 }],
  ];

  test('out of range or misspelt they are refused', async ({ blank }) => {
    const model = await blank.evaluateHandle((weights) => mobilesight.createDetector({ weights }), DETECTOR);
    for (const [option, options] of bad) {
      const failure = await model.evaluate(
        (model, options) => inside.failure(() => model.detect(inside.pattern(64, 64), options)),
        options,
      );
      expect(failure.code, option).toBe('E_OPTION');
      expect(failure.message).toMatch(option === 'categoryAllowlist' ? /no label 'no such thing'.*person/ : option);
    }
    const { width } = await model.evaluate((model) => model.detect(inside.pattern(64, 64)));
    expect(width).toBe(64);
  });
});

test.describe('a load', () => {
  /** Requests of the weights so far. */
  function countRequests(page: Page, file: string): () => number {
    let count = 0;
    page.on('request', (request) => (count += request.url().endsWith(file.slice(1)) ? 1 : 0));
    return () => count;
  }

  const load = (page: Page, weights: string) =>
    page.evaluate(async (weights) => {
      const progress: LoadProgress[] = [];
      await mobilesight.createSegmenter({ weights, onProgress: (step) => progress.push({ ...step }) });
      return progress;
    }, weights);

  function expectWhole(progress: LoadProgress[]): void {
    const size = pageFile(SEGMENTER).length;
    const download = progress.filter(({ phase }) => phase === 'download');
    const loaded = download.map(({ loaded }) => loaded);
    expect(loaded).toEqual([...loaded].sort((a, b) => a - b));
    expect(loaded.at(0)).toBe(0);
    expect(loaded.at(-1)).toBe(size);
    expect(new Set(download.map(({ total }) => total))).toEqual(new Set([size]));
    for (const phase of ['compile', 'load', 'warmup']) {
      const steps = progress.filter((step) => step.phase === phase).map(({ loaded, total }) => [loaded, total]);
      expect(steps, phase).toEqual([
        [0, 1],
        [1, 1],
      ]);
    }
    const phases = progress.filter(({ loaded }) => loaded === 1).map(({ phase }) => phase);
    expect(phases).toEqual(['compile', 'load', 'warmup']);
  }

  test('tells its progress, and needs no network at the second visit', { tag: '@both' }, async ({ blank }) => {
    const requests = countRequests(blank, SEGMENTER);
    expectWhole(await load(blank, SEGMENTER));
    expect(requests()).toBe(1);
    await blank.reload();
    expectWhole(await load(blank, SEGMENTER));
    expect(requests()).toBe(1);
  });

  test('without the cache fetches each time', async ({ blank }) => {
    const requests = countRequests(blank, SEGMENTER);
    for (let visit = 1; visit <= 2; visit++) {
      await blank.evaluate((weights) => mobilesight.createSegmenter({ weights, cache: false }), SEGMENTER);
      expect(requests()).toBe(visit);
      await blank.reload();
    }
  });

  test('shares its request with another of the same file', async ({ blank }) => {
    const requests = countRequests(blank, SEGMENTER);
    const sizes = await blank.evaluate(async (weights) => {
      const models = await Promise.all([1, 2].map(() => mobilesight.createSegmenter({ weights })));
      const results = await Promise.all(models.map((model) => model.segment(inside.pattern(40, 30))));
      return results.map(({ mask }) => mask.length);
    }, SEGMENTER);
    expect(sizes).toEqual([1200, 1200]);
    expect(requests()).toBe(1);
  });

  test('takes bytes and leaves them to their owner', async ({ blank }) => {
    const kept = await blank.evaluate(async (url) => {
      const weights = await (await inside.file(url)).arrayBuffer();
      const model = await mobilesight.createSegmenter({ weights });
      await mobilesight.createSegmenter({ weights: new Uint8Array(weights) });
      return { bytes: weights.byteLength, told: model.info().weightsBytes };
    }, SEGMENTER);
    expect(kept).toEqual({ bytes: pageFile(SEGMENTER).length, told: pageFile(SEGMENTER).length });
  });
});

test.describe("a file of TorchVision's state_dict, without metadata", () => {
  /** What `save_file(model.state_dict())` writes: the shipped file but for what it says of itself. */
  function plain(shipped: Buffer): Buffer {
    const start = 8 + Number(shipped.readBigUInt64LE());
    const { __metadata__, ...entries } = JSON.parse(shipped.toString('utf8', 8, start)) as Record<string, object>;
    expect(__metadata__).toHaveProperty('mobilesight');
    const header = Buffer.from(JSON.stringify(entries));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    return Buffer.concat([length, header, shipped.subarray(start)]);
  }

  test('finds the same, with labels of the caller', async ({ blank }) => {
    await blank.route('**/plain.safetensors', (route) => route.fulfill({ body: plain(pageFile(DETECTOR)) }));
    const seen = await blank.evaluate(
      async ({ weights, url }) => {
        const shipped = await mobilesight.createDetector({ weights });
        const { arch, labels } = shipped.info();
        const plain = await mobilesight.createDetector({ weights: './plain.safetensors', arch, labels });
        return { wanted: await shipped.detect(url), found: await plain.detect(url), arch, info: plain.info() };
      },
      { weights: DETECTOR, url: COFFEE },
    );
    expect(seen.wanted.detections.length).toBeGreaterThan(2);
    expect(seen.found.detections).toEqual(seen.wanted.detections);
    expect(seen.info.arch).toBe(seen.arch);
  });

  test('tells its architecture by its shapes', async ({ blank }) => {
    await blank.route('**/plain.safetensors', (route) => route.fulfill({ body: plain(pageFile(SEGMENTER)) }));
    const seen = await blank.evaluate(
      async ({ weights, url }) => {
        const shipped = await mobilesight.createSegmenter({ weights });
        const plain = await mobilesight.createSegmenter({ weights: './plain.safetensors' });
        const [wanted, found] = [await shipped.segment(url), await plain.segment(url)];
        return { wanted: wanted.mask, found: found.mask, info: plain.info() };
      },
      { weights: SEGMENTER, url: './samples/china.png' },
    );
    expect(seen.info).toMatchObject({ task: 'segmentation', arch: 'lraspp_mobilenet_v3_large' });
    expect(seen.info.labels).toHaveLength(11);
    // The same network at the 520 pixels of TorchVision's preset, not at the 320 of the shipped file's.
    expect(equalShare(seen.wanted, seen.found)).toBeGreaterThan(0.75);
  });
});
