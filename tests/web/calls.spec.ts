/** The life of calls: their order, their end by an abort, by close() and by a crash, and what comes after. */
import type { JSHandle, Page } from '@playwright/test';
import type { LoadProgress, ModuleName, Segmenter } from 'mobilesight';
import type { Failure } from './inside.ts';
import { SEGMENTER, expect, rewrite, test } from './support.ts';

const createSegmenter = (
  page: Page,
  options: { maxQueue?: number; threads?: number; module?: ModuleName } = {},
): Promise<JSHandle<Segmenter>> =>
  page.evaluateHandle((options) => mobilesight.createSegmenter(options), { weights: SEGMENTER, ...options });

/** Runs it once more. */
async function expectWorks(model: JSHandle<Segmenter>): Promise<void> {
  const { mask } = await model.evaluate((model) => model.segment(inside.pattern(30, 20)));
  expect(mask).toHaveLength(600);
}

/** The models' workers, without those of their threads. */
const workersOf = (page: Page) => page.workers().filter((worker) => worker.url().endsWith('/lib/worker.js'));

test.describe('an abort', () => {
  for (const phase of ['download', 'compile', 'load', 'warmup'] satisfies LoadProgress['phase'][]) {
    test(`ends a load in its phase ${phase}`, async ({ blank }) => {
      const failure = await blank.evaluate(
        ({ weights, phase }) => {
          const controller = new AbortController();
          const onProgress = (progress: LoadProgress) => {
            if (progress.phase === phase) controller.abort();
          };
          return inside.failure(() => mobilesight.createSegmenter({ weights, onProgress, signal: controller.signal }));
        },
        { weights: SEGMENTER, phase },
      );
      expect(failure.name).toBe('AbortError');
      await expect.poll(() => workersOf(blank).length).toBe(0);
      await expectWorks(await createSegmenter(blank));
    });
  }

  test('before a load starts none', async ({ blank }) => {
    let requests = 0;
    blank.on('request', () => requests++);
    const failure = await blank.evaluate(
      (weights) => inside.failure(() => mobilesight.createSegmenter({ weights, signal: AbortSignal.abort() })),
      SEGMENTER,
    );
    expect(failure.name).toBe('AbortError');
    expect(requests).toBe(0);
  });

  test('of one load leaves the other that shares its request', async ({ blank }) => {
    const { failure, size } = await blank.evaluate(async (weights) => {
      const controller = new AbortController();
      const aborted = inside.failure(() =>
        mobilesight.createSegmenter({ weights, signal: controller.signal, onProgress: () => controller.abort() }),
      );
      const model = await mobilesight.createSegmenter({ weights });
      return { failure: await aborted, size: (await model.segment(inside.pattern(30, 20))).mask.length };
    }, SEGMENTER);
    expect(failure.name).toBe('AbortError');
    expect(size).toBe(600);
  });

  test('drops a call that waits, and ends the wait for one that runs', async ({ blank }) => {
    const model = await createSegmenter(blank);
    const ends = await model.evaluate(async (model) => {
      const ends: string[] = [];
      const picture = inside.pattern(640, 480);
      const controllers = Array.from({ length: 4 }, () => new AbortController());
      const calls = controllers.map(({ signal }, i) =>
        model.segment(picture, { signal }).then(
          () => ends.push(`${i}`),
          (error: Error) => ends.push(`${i} ${error.name}`),
        ),
      );
      controllers[2]?.abort();
      await calls[2];
      controllers[0]?.abort();
      await Promise.all(calls);
      return ends;
    });
    expect(ends).toEqual(['2 AbortError', '0 AbortError', '1', '3']);
    await expectWorks(model);
  });

  test('gives the reason of its signal', async ({ blank }) => {
    const model = await createSegmenter(blank);
    const failure = await model.evaluate((model) => {
      const signal = AbortSignal.timeout(0);
      return inside.failure(async () => {
        await inside.pause(20);
        await model.segment(inside.pattern(30, 20), { signal });
      });
    });
    expect(failure.name).toBe('TimeoutError');
    await expectWorks(model);
  });
});

test('calls end in their order, whatever the size of their pictures', async ({ blank }) => {
  const model = await createSegmenter(blank);
  const order = await model.evaluate(async (model) => {
    const order: number[] = [];
    const widths = [400, 8, 200, 16, 100];
    await Promise.all(
      widths.map(async (width) => order.push((await model.segment(inside.pattern(width, width))).width)),
    );
    return order;
  });
  expect(order).toEqual([400, 8, 200, 16, 100]);
});

test('threads that wait take no time of the processor', async ({ blank, browser }) => {
  const model = await createSegmenter(blank, { threads: 2 });
  expect(await model.evaluate((model) => model.info().threads)).toBe(2);
  const session = await browser.newBrowserCDPSession();
  /** Seconds of all pages so far. */
  const used = async () => {
    const { processInfo } = await session.send('SystemInfo.getProcessInfo');
    return processInfo.filter(({ type }) => type === 'renderer').reduce((sum, { cpuTime }) => sum + cpuTime, 0);
  };
  const before = await used();
  await expectWorks(model);
  const busy = (await used()) - before;
  // What comes right after a run is its end, and the browser's own.
  await blank.waitForTimeout(1000);
  const start = await used();
  await blank.waitForTimeout(2000);
  expect(busy).toBeGreaterThan(0);
  // One thread that waits in a loop would take 2 s.
  expect((await used()) - start).toBeLessThan(0.2);
});

test('more calls than the queue holds are refused', async ({ blank }) => {
  const model = await createSegmenter(blank, { maxQueue: 2 });
  const failures = await model.evaluate((model) =>
    Promise.all([1, 2, 3, 4].map(() => inside.failure(() => model.segment(inside.pattern(200, 200))))),
  );
  expect(failures.map(({ code }) => code)).toEqual(['none', 'none', 'none', 'E_QUEUE_FULL']);
  expect(failures[3]?.message).toMatch(/2 requests wait already\. Await earlier ones first, or raise maxQueue/);
  await expectWorks(model);
});

test('close() ends the worker and all calls; twice is no error', async ({ blank }) => {
  const model = await createSegmenter(blank);
  expect(workersOf(blank)).toHaveLength(1);
  const failures = await model.evaluate(async (model) => {
    const calls = [1, 2].map(() => inside.failure(() => model.segment(inside.pattern(200, 200))));
    await model.close();
    await model.close();
    calls.push(inside.failure(() => model.segment(inside.pattern(200, 200))));
    calls.push(inside.failure(() => model.profile(inside.pattern(200, 200))));
    return Promise.all(calls);
  });
  for (const { code, message } of failures) {
    expect(code).toBe('E_CLOSED');
    expect(message).toContain('Create a new one');
  }
  expect(failures).toHaveLength(4);
  await expect.poll(() => workersOf(blank).length).toBe(0);
  await expectWorks(await createSegmenter(blank));
});

test.describe('where memory ends', () => {
  /** A segmenter on two threads, whose memory ends after `pages` of 64 KiB. */
  async function createSmall(page: Page, pages: number): Promise<JSHandle<Segmenter>> {
    await rewrite(page, '**/relaxed-threads/mobilesight.js', (text) =>
      text.replace('maximum:16384', `maximum:${pages}`),
    );
    return createSegmenter(page, { module: 'relaxed-threads', threads: 2 });
  }

  const segment = (model: JSHandle<Segmenter>, width: number, height: number) =>
    model.evaluate(
      (model, [width, height]) => inside.failure(() => model.segment(inside.pattern(width ?? 1, height ?? 1))),
      [width, height],
    );

  test('a picture that is larger than the memory is read in strips', async ({ blank }) => {
    const model = await createSmall(blank, 1536);
    const pixels = await model.evaluate(async (model) => {
      const { mask } = await model.segment(inside.pattern(5000, 5000));
      return mask.length;
    });
    expect(pixels).toBe(5000 * 5000);
  });

  test('a mask that is too large is E_OOM, and harms nothing', async ({ blank }) => {
    const model = await createSmall(blank, 768);
    const [worker] = workersOf(blank);
    // More than the whole memory: how much of it is free depends on how many runs the warm-up had time for.
    const failure = await segment(model, 8000, 6500);
    expect(failure.code).toBe('E_OOM');
    expect(failure.message).toContain('give a smaller picture');
    await expectWorks(model);
    expect(workersOf(blank)).toEqual([worker]);
  });

  test('maps that are too large are E_OOM, and the next call gets a new worker', async ({ blank }) => {
    const model = await createSmall(blank, 1536);
    const failure = await segment(model, 100, 2400);
    expect(failure.code).toBe('E_OOM');
    expect(failure.message).toMatch(/smaller picture; then call again/);
    await expectWorks(model);
  });
});

test.describe('a crash of the worker', () => {
  /** What two calls get when the worker does `harm` before the first. */
  async function crash(page: Page, model: JSHandle<Segmenter>, harm: () => void): Promise<Failure[]> {
    const [worker] = workersOf(page);
    await worker?.evaluate(harm);
    return model.evaluate((model) =>
      Promise.all([1, 2].map(() => inside.failure(() => model.segment(inside.pattern(640, 480))))),
    );
  }

  async function expectReplaced(page: Page, model: JSHandle<Segmenter>): Promise<void> {
    await expectWorks(model);
    // The old one is reported gone a little later.
    await expect.poll(() => workersOf(page).length).toBe(1);
    expect((await model.evaluate((model) => model.info())).task).toBe('segmentation');
  }

  const harms: [name: string, code: string, harm: () => void][] = [
    [
      'by an error outside of any call',
      'E_WORKER_CRASHED',
      () => {
        self.onmessage = () => {
          throw new Error('harm');
        };
      },
    ],
    [
      'by a trap of its module',
      'E_WORKER_CRASHED',
      () => {
        performance.now = () => {
          throw new WebAssembly.RuntimeError('unreachable');
        };
      },
    ],
    [
      'by the death of a thread that it waits for',
      'E_WORKER_CRASHED',
      () => {
        performance.now = () => {
          const { mobilesightChannel } = globalThis as unknown as { mobilesightChannel: string };
          new BroadcastChannel(mobilesightChannel).postMessage('unreachable');
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
          return 0;
        };
      },
    ],
    [
      'by want of memory',
      'E_OOM',
      () => {
        performance.now = () => {
          throw new RangeError('Array buffer allocation failed');
        };
      },
    ],
  ];

  for (const [name, code, harm] of harms) {
    test(`${name} ends its calls; the next one gets a new worker`, async ({ blank }) => {
      const model = await createSegmenter(blank, { threads: 2 });
      const failures = await crash(blank, model, harm);
      expect(failures.map((failure) => failure.code)).toEqual([code, code]);
      for (const { message } of failures) expect(message).toMatch(/call again/i);
      await expectReplaced(blank, model);
    });
  }

  test('of a thread, which starts but does not work, ends the load', async ({ blank }) => {
    // Requests of threads pass no route, so the script is given to them as a Blob.
    await rewrite(blank, '**/workerHelpers.js', (helper, at) => {
      const harmful = helper
        .replace('pkg.wbg_rayon_start_worker(receiver);', "throw new WebAssembly.RuntimeError('unreachable');")
        .replace("'../../../mobilesight.js'", `'${new URL('../../../mobilesight.js', at)}'`);
      const blob = `new Blob([${JSON.stringify(harmful)}], { type: 'text/javascript' })`;
      return helper.replace("new URL('./workerHelpers.js', import.meta.url)", `URL.createObjectURL(${blob})`);
    });
    const failure = await blank.evaluate(
      (weights) =>
        inside.failure(() => mobilesight.createSegmenter({ weights, module: 'relaxed-threads', threads: 2 })),
      SEGMENTER,
    );
    expect(failure.code).toBe('E_WORKER_CRASHED');
    expect(failure.message).toContain('unreachable');
    await blank.unroute('**/workerHelpers.js');
    await expectWorks(await createSegmenter(blank));
  });

  test('between calls goes unnoticed', async ({ blank }) => {
    const model = await createSegmenter(blank);
    const [worker] = workersOf(blank);
    await worker?.evaluate(() => {
      setTimeout(() => {
        throw new Error('harm');
      });
    });
    await expect.poll(() => workersOf(blank).length).toBe(0);
    await expectReplaced(blank, model);
  });

  test('whose replacement cannot load fails that call only', async ({ blank }) => {
    const model = await createSegmenter(blank);
    await blank.route('**/lib/worker.js', (route) => route.fulfill({ status: 404 }));
    const harm = harms[1]?.[2] ?? (() => {});
    await crash(blank, model, harm);
    const failure = await model.evaluate((model) => inside.failure(() => model.segment(inside.pattern(30, 20))));
    expect(failure.code).toBe('E_FETCH');
    await blank.unroute('**/lib/worker.js');
    await expectReplaced(blank, model);
  });
});
