/** Bad input and bad surroundings: each a typed error that says what to do, after which the next call works. */
import { createHash } from 'node:crypto';
import type { JSHandle, Page, Route } from '@playwright/test';
import type { CreateOptions, ImageSource, Segmenter } from 'mobilesight';
import type { Failure } from './inside.ts';
import { DETECTOR, SEGMENTER, expect, pageFile, test } from './support.ts';

const sha256 = (bytes: Buffer) => `sha256-${createHash('sha256').update(bytes).digest('base64')}`;

/** How the load of a segmenter fails. */
function loadFailure(page: Page, options: CreateOptions): Promise<Failure> {
  return page.evaluate((options) => inside.failure(() => mobilesight.createSegmenter(options)), options);
}

/** Expects that a segmenter loads and runs. */
async function expectWorks(page: Page, options: CreateOptions = { weights: SEGMENTER }): Promise<void> {
  const size = await page.evaluate(async (options) => {
    const model = await mobilesight.createSegmenter(options);
    const { mask } = await model.segment(inside.pattern(30, 20));
    await model.close();
    return mask.length;
  }, options);
  expect(size).toBe(600);
}

function expectFailure(failure: Failure, code: string, advice: RegExp): void {
  expect(failure).toMatchObject({ name: 'MobilesightError', code });
  expect(failure.message).toMatch(advice);
}

const pictures: [name: string, code: string, advice: RegExp, make: () => ImageSource | Promise<ImageSource>][] = [
  [
    'a canvas of no width',
    'E_IMAGE',
    /0 x 10\. Give a picture with pixels/,
    () => {
      return Object.assign(document.createElement('canvas'), { width: 0, height: 10 });
    },
  ],
  ['an OffscreenCanvas of no height', 'E_IMAGE', /Give a picture with pixels/, () => new OffscreenCanvas(10, 0)],
  [
    'a closed ImageBitmap',
    'E_IMAGE',
    /closed.*Give a picture/,
    async () => {
      const bitmap = await createImageBitmap(inside.pattern(8, 8));
      bitmap.close();
      return bitmap;
    },
  ],
  [
    'a closed VideoFrame',
    'E_IMAGE',
    /Call before it is closed/,
    () => {
      const frame = new VideoFrame(inside.onCanvas(inside.pattern(8, 8)), { timestamp: 0 });
      frame.close();
      return frame;
    },
  ],
  [
    'an ImageData whose bytes are gone',
    'E_IMAGE',
    /Give it whole/,
    () => {
      const image = inside.pattern(8, 8);
      structuredClone(image.data.buffer, { transfer: [image.data.buffer] });
      return image;
    },
  ],
  [
    'a broken file',
    'E_IMAGE',
    /broken or no picture\. Give a PNG/,
    () => new Blob(['no picture'], { type: 'image/png' }),
  ],
  [
    'a file that ends early',
    'E_IMAGE',
    /broken or no picture\. Give a PNG/,
    async () => {
      return (await inside.file('./samples/astronaut.png')).slice(0, 40);
    },
  ],
  ['an empty file', 'E_IMAGE', /empty\. Give a PNG/, () => new Blob([])],
  ['a page instead of a picture', 'E_IMAGE', /no picture\. Give a PNG/, () => './index.html'],
  ['an address without a file', 'E_FETCH', /404.*Check the address/, () => './samples/none.png'],
  ['a string that is no address', 'E_IMAGE', /Give a URL/, () => 'http://'],
  ['an <img> without src', 'E_IMAGE', /Check its src/, () => new Image()],
  [
    'an <img> that failed',
    'E_IMAGE',
    /Check its src/,
    async () => {
      const image = Object.assign(new Image(), { src: './samples/none.png' });
      await image.decode().catch(() => undefined);
      return image;
    },
  ],
  ['a <video> without frames', 'E_IMAGE', /Wait for its event loadeddata/, () => document.createElement('video')],
  ['a long line', 'E_IMAGE', /40000 x 1 becomes more than 8 million pixels/, () => inside.pattern(40_000, 1)],
  ['something else', 'E_IMAGE', /Give an ImageBitmap/, () => ({}) as ImageSource],
];

test('bad pictures are refused, and the next one is taken', async ({ blank }) => {
  const model: JSHandle<Segmenter> = await blank.evaluateHandle(
    (weights) => mobilesight.createSegmenter({ weights }),
    SEGMENTER,
  );
  for (const [name, code, advice, make] of pictures) {
    await test.step(name, async () => {
      const image = await blank.evaluateHandle(make);
      const failure = await model.evaluate(
        (model, image) => inside.failure(() => model.segment(image)),
        image as JSHandle<ImageSource>,
      );
      expectFailure(failure, code, advice);
      const { mask } = await model.evaluate((model) => model.segment(inside.pattern(30, 20)));
      expect(mask).toHaveLength(600);
    });
  }
});

test.describe('bad weights', () => {
  const WEIGHTS = './served.safetensors';
  const whole = pageFile(SEGMENTER);
  const header = 8 + Number(whole.readBigUInt64LE());
  const broken = Buffer.from(whole);
  broken.fill(0x20, 8, header);

  const stranger = '{"conv1.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
  const unknown = Buffer.alloc(8 + stranger.length + 4);
  unknown.writeBigUInt64LE(BigInt(stranger.length));
  unknown.write(stranger, 8);

  const answers: [name: string, code: string, advice: RegExp, answer: Parameters<Route['fulfill']>[0]][] = [
    ['cut in the middle', 'E_WEIGHTS_TRUNCATED', /again/, { body: whole.subarray(0, whole.length / 2) }],
    ['without their last byte', 'E_WEIGHTS_TRUNCATED', /again/, { body: whole.subarray(0, -1) }],
    ['cut in the header', 'E_WEIGHTS_TRUNCATED', /again/, { body: whole.subarray(0, header / 2) }],
    ['of four bytes', 'E_WEIGHTS_TRUNCATED', /again/, { body: whole.subarray(0, 4) }],
    ['with an unreadable header', 'E_WEIGHTS_MISMATCH', /safetensors/, { body: broken }],
    ['of no model of the family', 'E_WEIGHTS_MISMATCH', /name the architecture/, { body: unknown }],
    ['absent', 'E_FETCH', /404.*Check the address/, { status: 404, body: 'Not found' }],
    ['from a failing server', 'E_FETCH', /500.*try again later/, { status: 500 }],
    [
      'replaced by a page',
      'E_WEIGHTS_MISMATCH',
      /safetensors/,
      {
        contentType: 'text/html',
        body: '<!doctype html><title>Sign in</title><p>'.padEnd(2000, 'Sign in. '),
      },
    ],
  ];

  for (const [name, code, advice, answer] of answers) {
    test(`${name}: ${code}, and not kept`, async ({ blank }) => {
      await blank.route(`**/${WEIGHTS.slice(2)}`, (route) => route.fulfill(answer));
      expectFailure(await loadFailure(blank, { weights: WEIGHTS }), code, advice);
      await blank.route(`**/${WEIGHTS.slice(2)}`, (route) => route.fulfill({ body: whole }));
      await expectWorks(blank, { weights: WEIGHTS });
    });
  }

  test('without a connection: E_FETCH', async ({ blank }) => {
    await blank.route(`**/${WEIGHTS.slice(2)}`, (route) => route.abort('connectionrefused'));
    expectFailure(await loadFailure(blank, { weights: WEIGHTS }), 'E_FETCH', /Check the connection/);
    await expectWorks(blank);
  });

  test('of another task: E_WEIGHTS_MISMATCH', async ({ blank }) => {
    expectFailure(await loadFailure(blank, { weights: DETECTOR }), 'E_WEIGHTS_MISMATCH', /Load them by createDetector/);
    await expectWorks(blank);
  });

  test('of another architecture: E_WEIGHTS_MISMATCH', async ({ blank }) => {
    const detector = { weights: SEGMENTER, arch: 'fasterrcnn_mobilenet_v3_large_320_fpn' };
    expectFailure(await loadFailure(blank, detector), 'E_WEIGHTS_MISMATCH', /leave arch out, or load others/);
    await expectWorks(blank, { weights: SEGMENTER, arch: 'lraspp_mobilenet_v3_large' });
  });

  test('other than integrity: E_CHECKSUM', async ({ blank }) => {
    const right = sha256(whole);
    const wrong = sha256(Buffer.from('another file'));
    const failure = await loadFailure(blank, { weights: SEGMENTER, integrity: wrong });
    expectFailure(failure, 'E_CHECKSUM', /Use the right file, or its integrity/);
    expect(failure.message).toContain(right);
    await expectWorks(blank, { weights: SEGMENTER, integrity: right });
    // Kept by the load before; kept bytes are checked as well.
    expectFailure(
      await loadFailure(blank, { weights: SEGMENTER, integrity: wrong }),
      'E_CHECKSUM',
      /Use the right file/,
    );
  });

  test('kept from before, but changed since: integrity brings the new ones', async ({ blank }) => {
    const detector = pageFile(DETECTOR);
    let served = detector;
    await blank.route(`**/${WEIGHTS.slice(2)}`, (route) => route.fulfill({ body: served }));
    await blank.evaluate((weights) => mobilesight.createDetector({ weights }), WEIGHTS);
    served = whole;
    await expectWorks(blank, { weights: WEIGHTS, integrity: sha256(whole) });
  });
});

test.describe('bad options of a load', () => {
  const bad: [option: string, options: object][] = [
    ['weights', { weights: 5 }],
    ['weights', { weights: 'http://' }],
    ['weights', { weights: new Uint8Array() }],
    ['threads', { threads: 0 }],
    ['threads', { threads: 1.5 }],
    ['module', { module: 'scalar' }],
    ['integrity', { integrity: 'md5-abc' }],
    ['maxQueue', { maxQueue: 0 }],
    ['labels', { labels: [1, 2] }],
    ['cache', { cache: 'yes' }],
    ['assetPath', { assetPath: 5 }],
    ['thread', { thread: 2 }],
  ];

  test('are refused by name', async ({ blank }) => {
    for (const [option, options] of bad) {
      const failure = await loadFailure(blank, { weights: SEGMENTER, ...options });
      expectFailure(failure, 'E_OPTION', new RegExp(`^${option}`));
    }
    await expectWorks(blank);
  });
});

test.describe('surroundings', () => {
  test('without SIMD: E_NO_SIMD', async ({ blank }) => {
    const saved = await blank.evaluateHandle(() => WebAssembly.validate);
    await blank.evaluate(() => Object.assign(WebAssembly, { validate: () => false }));
    expectFailure(
      await loadFailure(blank, { weights: SEGMENTER }),
      'E_NO_SIMD',
      /Use Chrome 91, Firefox 114, Safari 16\.4/,
    );
    await saved.evaluate((validate) => Object.assign(WebAssembly, { validate }));
    await expectWorks(blank);
  });

  test('without Worker: E_UNSUPPORTED_ENV', async ({ blank }) => {
    const saved = await blank.evaluateHandle(() => Worker);
    await blank.evaluate(() => Reflect.deleteProperty(globalThis, 'Worker'));
    expectFailure(await loadFailure(blank, { weights: SEGMENTER }), 'E_UNSUPPORTED_ENV', /Create the model in a page/);
    await saved.evaluate((Worker) => Object.assign(globalThis, { Worker }));
    await expectWorks(blank);
  });

  /** What a site of one page answers where there is no file. */
  const PAGE = { status: 200, contentType: 'text/html', body: '<!doctype html><title>Home</title>' };

  const files: [file: string, code: string, advice: RegExp, answer: Parameters<Route['fulfill']>[0]][] = [
    ['lib/worker.js', 'E_FETCH', /Serve worker\.js beside/, { status: 404 }],
    ['engine/*/mobilesight.js', 'E_FETCH', /Serve the package's folder engine/, { status: 404 }],
    ['engine/*/mobilesight_bg.wasm', 'E_FETCH', /Serve the package's folder engine/, { status: 404 }],
    ['engine/*/mobilesight.js', 'E_FETCH', /Serve the package's folder engine/, PAGE],
    [
      'engine/*/mobilesight_bg.wasm',
      'E_FETCH',
      /the server answers with a page.*Serve the package's folder engine/,
      PAGE,
    ],
    [
      'engine/*/mobilesight_bg.wasm',
      'E_UNSUPPORTED_ENV',
      /does not compile/,
      {
        contentType: 'application/wasm',
        body: Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 1]),
      },
    ],
  ];

  for (const [file, code, advice, answer] of files) {
    test(`with a bad ${file.split('/').at(-1)}, ${answer?.contentType ?? answer?.status}: ${code}`, async ({
      blank,
    }) => {
      await blank.route(`**/${file}`, (route) => route.fulfill(answer));
      expectFailure(await loadFailure(blank, { weights: SEGMENTER }), code, advice);
      await blank.unroute(`**/${file}`);
      await expectWorks(blank);
    });
  }

  test('with the engine elsewhere: by assetPath', async ({ blank }) => {
    const wrong = { weights: SEGMENTER, assetPath: './nowhere/' };
    expectFailure(await loadFailure(blank, wrong), 'E_FETCH', /name its parent as assetPath/);
    for (const assetPath of ['./lib', './lib/']) await expectWorks(blank, { weights: SEGMENTER, assetPath });
  });
});
