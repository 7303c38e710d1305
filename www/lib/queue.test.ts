import { describe, expect, test, vi } from 'vitest';
import { MobilesightError } from './errors.ts';
import { Queue } from './queue.ts';

/** Work that the test ends. */
function gate() {
  let open: (value: string) => void = () => {};
  let fail: (error: Error) => void = () => {};
  const done = new Promise<string>((resolve, reject) => ([open, fail] = [resolve, reject]));
  return { work: vi.fn(() => done), open: (value = '') => open(value), fail: (error: Error) => fail(error) };
}

const settle = () => new Promise((resolve) => setTimeout(resolve));

describe('Queue', () => {
  test('runs one at a time, in order', async () => {
    const queue = new Queue(16);
    const [a, b] = [gate(), gate()];
    const results = [queue.add(a.work), queue.add(b.work)];
    await settle();
    expect(a.work).toHaveBeenCalledOnce();
    expect(b.work).not.toHaveBeenCalled();
    a.open('a');
    await settle();
    expect(b.work).toHaveBeenCalledOnce();
    b.open('b');
    expect(await Promise.all(results)).toEqual(['a', 'b']);
  });

  test('goes on after a failure', async () => {
    const queue = new Queue(16);
    const failing = queue.add(() => Promise.reject(new Error('one')));
    const next = queue.add(() => Promise.resolve('two'));
    await expect(failing).rejects.toThrow('one');
    expect(await next).toBe('two');
  });

  test('refuses one more than may wait, and takes it once there is room', async () => {
    const queue = new Queue(1);
    const a = gate();
    const running = queue.add(a.work);
    const waiting = queue.add(async () => 'b');
    await expect(queue.add(async () => 'c')).rejects.toMatchObject({ code: 'E_QUEUE_FULL', details: { maxQueue: 1 } });
    a.open();
    await Promise.all([running, waiting]);
    expect(await queue.add(async () => 'd')).toBe('d');
  });

  test('drops what is aborted while it waits', async () => {
    const queue = new Queue(1);
    const [a, b] = [gate(), gate()];
    const controller = new AbortController();
    const running = queue.add(a.work);
    const waiting = queue.add(b.work, controller.signal);
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    // Its place is free.
    const third = queue.add(async () => 'c');
    a.open();
    await running;
    expect(await third).toBe('c');
    expect(b.work).not.toHaveBeenCalled();
  });

  test.each(['rejectWaiting', 'close'] as const)('leaves nothing on a signal after %s', async (end) => {
    const queue = new Queue(2);
    const { signal } = new AbortController();
    const [added, removed] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')];
    const running = gate();
    const all = [running, gate(), gate()].map(({ work }) => queue.add(work, signal).catch(() => undefined));
    await settle();
    queue[end](new Error('over'));
    running.open();
    await Promise.all(all);
    const listeners = (spy: typeof added | typeof removed) => spy.mock.calls.map(([, listener]) => listener);
    expect(listeners(added).filter((listener) => !listeners(removed).includes(listener))).toEqual([]);
    expect(listeners(added)).not.toHaveLength(0);
  });

  test('ends the wait for what is aborted while it runs, but not the work', async () => {
    const queue = new Queue(1);
    const a = gate();
    const next = vi.fn(async () => 'b');
    const controller = new AbortController();
    const running = queue.add(a.work, controller.signal);
    const following = queue.add(next);
    controller.abort();
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
    expect(next).not.toHaveBeenCalled();
    a.open();
    expect(await following).toBe('b');
  });

  test('refuses a signal that was aborted before', async () => {
    const work = vi.fn(async () => 'a');
    await expect(new Queue(1).add(work, AbortSignal.abort())).rejects.toMatchObject({ name: 'AbortError' });
    expect(work).not.toHaveBeenCalled();
  });

  test('close rejects what runs, what waits and what comes', async () => {
    const queue = new Queue(16);
    const closed = new MobilesightError('E_CLOSED', 'closed');
    const results = [queue.add(gate().work), queue.add(gate().work)];
    queue.close(closed);
    queue.close(new Error('again'));
    results.push(queue.add(gate().work));
    for (const result of results) await expect(result).rejects.toBe(closed);
  });
});
