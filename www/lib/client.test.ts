import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Client } from './client.ts';
import { ENGINE_INFO, fakeImageData, FakeWorker, runAnswer, until } from './testing.ts';
import type { Call } from './protocol.ts';
import type { CreateOptions, LoadProgress } from './types.ts';

let workers: FakeWorker[];
/** Changes the next workers before they are used. */
let prepare: (worker: FakeWorker) => void;

function spawn(): FakeWorker {
  const worker = new FakeWorker();
  prepare(worker);
  workers.push(worker);
  return worker;
}

const WEIGHTS = new Uint8Array([1, 2, 3]);

function create(options: Partial<CreateOptions> = {}): Promise<Client> {
  return Client.create('detection', { weights: WEIGHTS, assetPath: 'https://example.test/lib', ...options }, spawn);
}

const detect = (client: Client, width = 5, signal?: AbortSignal) => client.run(fakeImageData(width), {}, signal);

/** The pool that a worker is to start. */
const poolOf = ({ calls }: FakeWorker) => (calls[0] as Call<'start'>).argument.pool;

/** Answers runs by the width of their picture. */
function answerRuns(worker: FakeWorker): void {
  worker.overrides.run = (call) => {
    if (call.name === 'run' && call.argument.picture.kind === 'rgba') {
      worker.answer(call, runAnswer(call.argument.picture.pixels.width));
    }
  };
}

beforeEach(() => {
  workers = [];
  prepare = answerRuns;
  vi.stubGlobal('Worker', FakeWorker);
  vi.stubGlobal('navigator', { hardwareConcurrency: 8 });
});

afterEach(() => vi.unstubAllGlobals());

describe('a load', () => {
  test('starts, loads and warms up, in phases', async () => {
    const phases: LoadProgress[] = [];
    const client = await create({ onProgress: (progress) => phases.push(progress), labels: ['a'], arch: 'b' });
    expect(workers[0]?.calls.map(({ name }) => name)).toEqual(['start', 'load', 'warmUp']);
    expect(workers[0]?.calls[0]?.argument).toEqual({
      folder: `https://example.test/lib/engine/${client.info().module}/`,
      pool: null,
    });
    expect(workers[0]?.calls[1]?.argument).toMatchObject({ arch: 'b', labels: ['a'] });
    for (const phase of ['compile', 'load', 'warmup']) {
      const own = phases.filter((progress) => progress.phase === phase);
      expect(own).toEqual([0, 1].map((loaded) => ({ phase, loaded, total: 1 })));
    }
    expect(phases).toContainEqual({ phase: 'download', loaded: 3, total: 3 });
    expect(client.info()).toMatchObject({ ...ENGINE_INFO, threads: 1, weightsBytes: 3, memoryBytes: 999 });
    expect([...WEIGHTS]).toEqual([1, 2, 3]);
  });

  describe('while the weights come', () => {
    const HEAD = 20;
    let finish: () => void;

    /** A file of which all but the header is held back. */
    function hold(headers: Record<string, string>): void {
      const bytes = new Uint8Array(100);
      new DataView(bytes.buffer).setBigUint64(0, BigInt(HEAD - 8), true);
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(bytes.slice(0, HEAD + 1));
          finish = () => {
            controller.enqueue(bytes.slice(HEAD + 1));
            controller.close();
          };
        },
      });
      vi.stubGlobal('fetch', async () => new Response(body, { headers }));
    }

    const calls = () => workers[0]?.calls.map(({ name }) => name);

    test('has a model of their names and shapes run', async () => {
      hold({ 'content-length': '100' });
      const loading = create({ weights: 'https://example.test/x', arch: 'b' });
      await until(() => calls()?.length === 2);
      const argument = { length: 100, arch: 'b', labels: null, head: expect.objectContaining({ length: HEAD }) };
      expect(workers[0]?.calls[1]).toMatchObject({ name: 'rehearse', argument });
      finish();
      await loading;
      expect(calls()).toEqual(['start', 'rehearse', 'load', 'warmUp']);
    });

    test('loads all the same when that fails', async () => {
      hold({ 'content-length': '100' });
      prepare = (worker) => {
        worker.overrides.rehearse = (call) => worker.fail(call, { message: 'no model' });
      };
      const loading = create({ weights: 'https://example.test/x' });
      await until(() => calls()?.length === 2);
      finish();
      await loading;
      expect(calls()).toEqual(['start', 'rehearse', 'load', 'warmUp']);
    });

    test('runs nothing for a file whose length is not known', async () => {
      hold({});
      const loading = create({ weights: 'https://example.test/x' });
      await until(() => calls()?.length === 1);
      finish();
      await loading;
      expect(calls()).toEqual(['start', 'load', 'warmUp']);
    });
  });

  test('refuses weights of another task, saying which function is right', async () => {
    prepare = (worker) => {
      worker.overrides.load = (call) =>
        worker.answer(call, { info: { ...ENGINE_INFO, task: 'segmentation' }, parts: [WEIGHTS] });
    };
    await expect(create()).rejects.toMatchObject({
      code: 'E_WEIGHTS_MISMATCH',
      message: expect.stringContaining('createSegmenter'),
    });
    expect(workers[0]?.terminate).toHaveBeenCalledOnce();
  });

  test('passes on why the engine refuses', async () => {
    prepare = (worker) => {
      worker.overrides.load = (call) => worker.fail(call, { code: 'E_WEIGHTS_TRUNCATED', message: 'short' });
    };
    await expect(create()).rejects.toMatchObject({ code: 'E_WEIGHTS_TRUNCATED', message: 'short' });
    expect(workers[0]?.terminate).toHaveBeenCalledOnce();
  });

  test.each([
    ['E_WEIGHTS_MISMATCH', {}, 1],
    ['E_WEIGHTS_MISMATCH', { arch: 'lraspp_mobilenet_v3_larg' }, 0],
    ['E_OOM', {}, 0],
  ] as const)('refused with %s, for %o, drops the kept file %d times', async (code, options, times) => {
    const drop = vi.fn(async () => true);
    vi.stubGlobal('caches', { open: async () => ({ match: async () => new Response('kept'), delete: drop }) });
    prepare = (worker) => {
      worker.overrides.load = (call) => worker.fail(call, { code });
    };
    await expect(create({ weights: 'https://example.test/x', ...options })).rejects.toMatchObject({ code });
    expect(drop).toHaveBeenCalledTimes(times);
  });

  test('ends with its signal, and its worker too', async () => {
    prepare = (worker) => {
      worker.overrides.start = () => {};
    };
    const controller = new AbortController();
    const loading = create({ signal: controller.signal });
    await until(() => workers[0]?.calls.length === 1);
    controller.abort();
    await expect(loading).rejects.toMatchObject({ name: 'AbortError' });
    expect(workers[0]?.terminate).toHaveBeenCalledOnce();
  });

  test.each(['compile', 'download', 'load', 'warmup'])(
    'ends with a signal that aborts at the end of %s',
    async (phase) => {
      const controller = new AbortController();
      const onProgress = (progress: LoadProgress) => {
        if (progress.phase === phase && progress.loaded === progress.total) controller.abort();
      };
      await expect(create({ signal: controller.signal, onProgress })).rejects.toMatchObject({ name: 'AbortError' });
      expect(workers.every(({ terminate }) => terminate.mock.calls.length === 1)).toBe(true);
    },
  );

  test('starts nothing with a signal that was aborted before', async () => {
    await expect(create({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    expect(workers).toHaveLength(0);
  });

  test('names the script when the worker never said a word', async () => {
    prepare = (worker) => {
      worker.overrides.start = () => worker.crash();
    };
    await expect(create()).rejects.toMatchObject({ code: 'E_FETCH', message: expect.stringContaining('worker.js') });
  });

  test('goes on with one thread in a new worker when threads do not start', async () => {
    vi.stubGlobal('crossOriginIsolated', true);
    prepare = (worker) => {
      if (workers.length === 0) worker.overrides.start = (call) => worker.fail(call, { message: 'no pool' });
    };
    const client = await create({ threads: 3 });
    expect(workers.map((worker) => poolOf(worker)?.workers)).toEqual([2, undefined]);
    expect(workers[0]?.terminate).toHaveBeenCalledOnce();
    expect(client.info()).toMatchObject({ threads: 1, fallback: expect.stringContaining('no pool') });
    expect(client.info().module).not.toContain('threads');
  });

  test('goes on when the callback for progress throws', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    try {
      await create({
        onProgress: () => {
          throw new Error('of the page');
        },
      });
      expect(() => vi.runAllTimers()).toThrow('of the page');
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('a run', () => {
  test('answers in order and tells the memory', async () => {
    const client = await create();
    const answers = await Promise.all([3, 4, 5].map((width) => detect(client, width)));
    expect(answers.map(({ width }) => width)).toEqual([3, 4, 5]);
    expect(client.info().memoryBytes).toBe(1005);
  });

  test('takes the picture at the time of the call', async () => {
    const client = await create();
    const image = fakeImageData(1);
    image.data[0] = 7;
    const running = client.run(image, {}, undefined);
    image.data[0] = 9;
    await running;
    expect(workers[0]?.runs[0]?.argument.picture).toMatchObject({ pixels: { rgba: Uint8Array.of(7, 0, 0, 0) } });
  });

  test('with a bad picture is refused, and the next works', async () => {
    const client = await create();
    await expect(client.run({} as ImageData, {}, undefined)).rejects.toMatchObject({ code: 'E_IMAGE' });
    expect((await detect(client)).width).toBe(5);
  });

  test('of a picture that may not be posted is E_IMAGE', async () => {
    const client = await create();
    vi.spyOn(workers[0] as FakeWorker, 'postMessage').mockImplementationOnce(() => {
      throw new DOMException('not clean', 'DataCloneError');
    });
    await expect(detect(client)).rejects.toMatchObject({ code: 'E_IMAGE', message: expect.stringContaining('CORS') });
    expect((await detect(client)).width).toBe(5);
  });

  test('that is aborted rejects at once; the queue goes on when the worker is free', async () => {
    prepare = () => {};
    const client = await create();
    const controller = new AbortController();
    const first = detect(client, 3, controller.signal);
    const second = detect(client, 4);
    await until(() => workers[0]?.runs.length === 1);
    controller.abort();
    await expect(first).rejects.toMatchObject({ name: 'AbortError' });
    const worker = workers[0] as FakeWorker;
    expect(worker.runs).toHaveLength(1);
    worker.answer(worker.runs[0] as (typeof worker.runs)[0], runAnswer(3));
    await until(() => worker.runs.length === 2);
    worker.answer(worker.runs[1] as (typeof worker.runs)[0], runAnswer(4));
    expect((await second).width).toBe(4);
    expect(worker.terminate).not.toHaveBeenCalled();
  });
});

describe('a crash', () => {
  /** A client whose first worker fails its runs. */
  async function fragile(fail: (worker: FakeWorker) => void): Promise<Client> {
    prepare = (worker) => {
      if (workers.length > 0) answerRuns(worker);
      else worker.overrides.run = () => fail(worker);
    };
    return create();
  }

  const failRun = (code: 'E_OOM' | 'E_WORKER_CRASHED') => (worker: FakeWorker) =>
    worker.fail(worker.runs[0] as (typeof worker.runs)[0], { code, fatal: true });

  test.each([
    ['an error outside of the call', 'E_WORKER_CRASHED', (worker: FakeWorker) => worker.crash('Uncaught')],
    ['a trap', 'E_WORKER_CRASHED', failRun('E_WORKER_CRASHED')],
    ['a lack of memory', 'E_OOM', failRun('E_OOM')],
  ])('by %s rejects what runs and waits; the next call has a new worker', async (_, code, fail) => {
    const client = await fragile(fail);
    const calls = [detect(client), detect(client), detect(client)];
    for (const call of calls) await expect(call).rejects.toMatchObject({ code });
    expect(workers[0]?.terminate).toHaveBeenCalledOnce();
    expect((await detect(client)).width).toBe(5);
    expect(workers).toHaveLength(2);
    expect(workers[1]?.calls.map(({ name }) => name)).toEqual(['start', 'load', 'warmUp', 'run']);
  });

  test('of a thread ends the call that its worker never answers', async () => {
    vi.stubGlobal('crossOriginIsolated', true);
    prepare = (worker) => {
      if (workers.length > 0) answerRuns(worker);
    };
    const client = await create({ threads: 2 });
    const call = detect(client);
    await until(() => workers[0]?.runs.length === 1);
    const channel = new BroadcastChannel(poolOf(workers[0] as FakeWorker)?.channel ?? '');
    channel.postMessage('unreachable');
    await expect(call).rejects.toMatchObject({ code: 'E_WORKER_CRASHED', details: { cause: 'unreachable' } });
    expect(workers[0]?.terminate).toHaveBeenCalledOnce();
    expect((await detect(client)).width).toBe(5);
    expect(poolOf(workers[1] as FakeWorker)?.channel).not.toBe(channel.name);
    channel.close();
  });

  test('between calls is mended by the next', async () => {
    const client = await create();
    workers[0]?.crash('Uncaught');
    expect((await detect(client)).width).toBe(5);
    expect(workers).toHaveLength(2);
  });

  test('of the replacement too', async () => {
    const client = await create();
    workers[0]?.crash('Uncaught');
    prepare = (worker) => {
      worker.overrides.start = () => worker.crash('again');
    };
    await expect(detect(client)).rejects.toMatchObject({ code: 'E_WORKER_CRASHED' });
    prepare = answerRuns;
    expect((await detect(client)).width).toBe(5);
  });

  test('is mended although the signal of the first load was aborted since', async () => {
    const controller = new AbortController();
    const client = await create({ signal: controller.signal });
    controller.abort();
    expect((await detect(client)).width).toBe(5);
    expect(workers).toHaveLength(1);
    workers[0]?.crash('Uncaught');
    expect((await detect(client)).width).toBe(5);
  });

  test('is not what an ordinary error is', async () => {
    const client = await fragile((worker) =>
      worker.fail(worker.runs[0] as (typeof worker.runs)[0], { code: 'E_IMAGE' }),
    );
    await expect(detect(client)).rejects.toMatchObject({ code: 'E_IMAGE' });
    expect(workers[0]?.terminate).not.toHaveBeenCalled();
  });
});

describe('close', () => {
  test('rejects what runs, waits and comes; twice is no error', async () => {
    prepare = () => {};
    const client = await create();
    const calls = [detect(client), detect(client)];
    await client.close();
    await client.close();
    calls.push(detect(client));
    for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'E_CLOSED' });
    expect(workers[0]?.terminate).toHaveBeenCalledOnce();
    expect(workers).toHaveLength(1);
  });

  test('ends a replacement that loads', async () => {
    const client = await create();
    workers[0]?.crash('Uncaught');
    prepare = (worker) => {
      worker.overrides.start = () => {};
    };
    const call = detect(client);
    await until(() => workers.length === 2);
    await client.close();
    await expect(call).rejects.toMatchObject({ code: 'E_CLOSED' });
    await until(() => workers[1]?.terminate.mock.calls.length === 1);
  });
});
