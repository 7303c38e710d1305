/** What the worker does while weights come: it runs a model of their names and shapes, whose values come later. */
import type { Page } from '@playwright/test';
import {
  CHINA,
  DETECTOR,
  INT8_DETECTOR,
  INT8_SEGMENTER,
  SEGMENTER,
  expect,
  pageFile,
  rewrite,
  test,
} from './support.ts';

/** What a held load posted and got, until the weights were let through. */
interface Held {
  calls: string[];
  runs: number;
  /** Of a run on the loaded model. */
  result: unknown;
  memory: number;
}

/** Loads with all but the first 64 KB held back until the rehearsal has begun or, with `whole`, has ended; then runs once. */
function loadHeld(page: Page, options: { weights: string; whole: boolean; picture: string }): Promise<Held> {
  return page.evaluate(async ({ weights, whole, picture }) => {
    const posted = new Map<number, string>();
    const answered = new Map<string, unknown>();
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (this: Worker, message: { id: number; name: string }, ...rest: never[]) {
      if (posted.size === 0) {
        this.addEventListener('message', ({ data }) => answered.set(posted.get(data.id) ?? '', data.value));
      }
      posted.set(message.id, message.name);
      post.call(this, message, ...rest);
    } as typeof post;
    const names = () => [...posted.values()];
    const ready = () => (whole ? answered.has('rehearse') : names().includes('rehearse'));
    const request = globalThis.fetch;
    globalThis.fetch = async (...given) => {
      const response = await request(...given);
      if (!String(given[0]).endsWith('.safetensors')) return response;
      const bytes = new Uint8Array(await response.arrayBuffer());
      const body = new ReadableStream({
        async start(controller) {
          controller.enqueue(bytes.slice(0, 1 << 16));
          while (!ready()) await inside.pause(5);
          controller.enqueue(bytes.slice(1 << 16));
          controller.close();
        },
      });
      return new Response(body, { headers: { 'content-length': String(bytes.length) } });
    };
    const create = weights.includes('fasterrcnn') ? mobilesight.createDetector : mobilesight.createSegmenter;
    const model = await create({ weights, cache: false });
    const result = await ('detect' in model ? model.detect(picture) : model.segment(picture));
    const memory = model.info().memoryBytes;
    await model.close();
    const plain = 'mask' in result ? Array.from(result.mask) : result.detections;
    return { calls: names(), runs: answered.get('rehearse') as number, result: plain, memory };
  }, options);
}

/** The same without a hold. */
const load = (page: Page, options: { weights: string; picture: string }) =>
  page.evaluate(async ({ weights, picture }) => {
    const create = weights.includes('fasterrcnn') ? mobilesight.createDetector : mobilesight.createSegmenter;
    const model = await create({ weights, cache: false });
    const result = await ('detect' in model ? model.detect(picture) : model.segment(picture));
    const memory = model.info().memoryBytes;
    await model.close();
    return { memory, result: 'mask' in result ? Array.from(result.mask) : result.detections };
  }, options);

/** Has the worker's clock go on by 10 ms with each look at it: how many runs make up the time of a rehearsal is not the host's to say. */
const setClock = (page: Page): Promise<void> =>
  rewrite(page, '**/lib/worker.js', (script) => `let looks = 0; performance.now = () => 10 * looks++;\n${script}`);

for (const weights of [DETECTOR, INT8_DETECTOR, SEGMENTER, INT8_SEGMENTER]) {
  test(`rehearses until runs are steady, and gives the same result, ${weights.split('/').at(-1)}`, async ({
    blank,
  }) => {
    const wanted = await load(blank, { weights, picture: CHINA });
    await setClock(blank);
    const held = await loadHeld(blank, { weights, whole: true, picture: CHINA });
    expect(held.calls).toEqual(['start', 'rehearse', 'load', 'warmUp', 'run']);
    expect(held.runs).toBeGreaterThan(1);
    expect(held.result).toEqual(wanted.result);
    // The real values take the room of those that stood for them.
    expect(held.memory).toBeLessThanOrEqual(1.1 * wanted.memory);
  });
}

test('ends the rehearsal when the weights are there', { tag: '@both' }, async ({ blank }) => {
  const { calls, runs, result } = await loadHeld(blank, { weights: SEGMENTER, whole: false, picture: CHINA });
  expect(calls).toEqual(['start', 'rehearse', 'load', 'warmUp', 'run']);
  expect(runs).toBeGreaterThanOrEqual(1);
  expect((result as number[]).length).toBeGreaterThan(0);
});

test('loads a file whose header promises more than there is as any broken one', async ({ blank }) => {
  const bytes = pageFile(SEGMENTER);
  await blank.route('**/short.safetensors', (route) =>
    route.fulfill({ body: bytes.subarray(0, bytes.length / 2), contentType: 'application/octet-stream' }),
  );
  const failure = await blank.evaluate(() =>
    inside.failure(() => mobilesight.createSegmenter({ weights: './short.safetensors' })),
  );
  expect(failure.code).toBe('E_WEIGHTS_TRUNCATED');
});
