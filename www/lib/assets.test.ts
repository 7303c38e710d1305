import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openWeights, type WeightsFile } from './assets.ts';
import { joined } from './download.ts';

const URL_A = 'https://example.test/a.safetensors';
const BYTES = Uint8Array.from({ length: 1000 }, (_, i) => i % 251);
const sha256 = (bytes: Uint8Array) => `sha256-${createHash('sha256').update(bytes).digest('base64')}`;
const none = () => {};
const bytesOf = ({ parts }: WeightsFile) => joined(parts);

/** The part of a Cache that is used. */
class FakeCache {
  readonly files = new Map<string, Response>();
  match = async (url: string) => this.files.get(url)?.clone();
  put = async (url: string, response: Response) => void this.files.set(url, response);
  delete = async (url: string) => this.files.delete(url);
}

let cache: FakeCache;
let fetched: ReturnType<typeof vi.fn<typeof fetch>>;

/** A body that comes in pieces; the test may hold it back. */
function pieces(bytes: Uint8Array, size: number, hold: Promise<void> = Promise.resolve()): ReadableStream {
  let at = 0;
  return new ReadableStream({
    async pull(controller) {
      if (at > 0) await hold;
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at + size));
      at += size;
    },
  });
}

function respond(headers: Record<string, string> = { 'content-length': String(BYTES.length) }, hold?: Promise<void>) {
  return async () => new Response(pieces(BYTES, 400, hold), { headers });
}

beforeEach(() => {
  cache = new FakeCache();
  fetched = vi.fn<typeof fetch>(respond());
  vi.stubGlobal('fetch', fetched);
  vi.stubGlobal('caches', { open: async () => cache });
});

afterEach(() => vi.unstubAllGlobals());

describe('a download', () => {
  test('counts bytes', async () => {
    const progress: [number, number | undefined][] = [];
    const file = await openWeights({ weights: URL_A }, (...now) => progress.push([now[0], now[1]]));
    expect(bytesOf(file)).toEqual(BYTES);
    expect(progress).toEqual([0, 400, 800, 1000].map((loaded) => [loaded, 1000]));
  });

  test.each([
    ['no length', {}],
    ['a compressed body', { 'content-length': '700', 'content-encoding': 'gzip' }],
  ])('does not know the total of %s', async (_, headers) => {
    fetched.mockImplementation(respond(headers));
    const totals = new Set<number | undefined>();
    await openWeights({ weights: URL_A }, (_, total) => totals.add(total));
    expect([...totals]).toEqual([undefined]);
  });

  test('gives the header of a model file as soon as it is there, a copy of it', async () => {
    const bytes = Uint8Array.from(BYTES);
    new DataView(bytes.buffer).setBigUint64(0, 500n, true);
    fetched.mockResolvedValue(new Response(pieces(bytes, 400)));
    const heads: [number, Uint8Array | undefined][] = [];
    const { parts } = await openWeights({ weights: URL_A }, (loaded, _, head) => heads.push([loaded, head]));
    const head = bytes.slice(0, 508);
    expect(heads).toEqual([0, 400, 800, 1000].map((loaded) => [loaded, loaded < 508 ? undefined : head]));
    expect(parts.map(({ buffer }) => buffer)).not.toContain(heads[2]?.[1]?.buffer);
  });

  test('takes back a total that was too small', async () => {
    fetched.mockImplementation(respond({ 'content-length': '500' }));
    const totals: unknown[] = [];
    await openWeights({ weights: URL_A }, (_, total) => totals.push(total));
    expect(totals).toEqual([500, 500, undefined, undefined]);
  });

  test('of an HTTP error says address and status', async () => {
    fetched.mockResolvedValue(new Response('no', { status: 404 }));
    await expect(openWeights({ weights: URL_A }, none)).rejects.toMatchObject({
      code: 'E_FETCH',
      details: { url: URL_A, status: 404 },
      message: expect.stringContaining('404'),
    });
  });

  test('without a network is E_FETCH, and the next try fetches again', async () => {
    fetched.mockRejectedValueOnce(new TypeError('Failed to fetch'));
    await expect(openWeights({ weights: URL_A }, none)).rejects.toMatchObject({
      code: 'E_FETCH',
      details: { url: URL_A },
    });
    expect(bytesOf(await openWeights({ weights: URL_A }, none))).toEqual(BYTES);
  });

  test('that breaks off is E_FETCH', async () => {
    const broken = new ReadableStream({ pull: (controller) => controller.error(new TypeError('network error')) });
    fetched.mockResolvedValue(new Response(broken));
    await expect(openWeights({ weights: URL_A }, none)).rejects.toMatchObject({ code: 'E_FETCH' });
  });

  test('needs an address', async () => {
    await expect(openWeights({ weights: 'http://[' }, none)).rejects.toMatchObject({ code: 'E_OPTION' });
  });
});

describe('two loads of one file', () => {
  test('share a request and have bytes of their own', async () => {
    const [a, b] = await Promise.all([openWeights({ weights: URL_A }, none), openWeights({ weights: URL_A }, none)]);
    expect(fetched).toHaveBeenCalledOnce();
    expect(bytesOf(a)).toEqual(BYTES);
    expect(bytesOf(b)).toEqual(BYTES);
    expect(a.parts[0]?.buffer).not.toBe(b.parts[0]?.buffer);
  });

  test('do not end with one of them, but with both', async () => {
    let release = none;
    fetched.mockImplementation(respond({}, new Promise((resolve) => (release = resolve))));
    const [one, other] = [new AbortController(), new AbortController()];
    const first = openWeights({ weights: URL_A }, none, one.signal);
    const second = openWeights({ weights: URL_A }, none, other.signal);
    await vi.waitFor(() => expect(fetched).toHaveBeenCalledOnce());
    const request = fetched.mock.calls[0]?.[1]?.signal as AbortSignal;

    one.abort();
    await expect(first).rejects.toMatchObject({ name: 'AbortError' });
    expect(request.aborted).toBe(false);
    other.abort();
    await expect(second).rejects.toMatchObject({ name: 'AbortError' });
    expect(request.aborted).toBe(true);

    release();
    expect(bytesOf(await openWeights({ weights: URL_A }, none))).toEqual(BYTES);
    expect(fetched).toHaveBeenCalledTimes(2);
  });

  test('a late one hears at once how far it is', async () => {
    let release = none;
    fetched.mockImplementation(respond(undefined, new Promise((resolve) => (release = resolve))));
    const first = openWeights({ weights: URL_A }, none);
    await vi.waitFor(() => expect(fetched).toHaveBeenCalledOnce());
    const heard = vi.fn();
    const second = openWeights({ weights: URL_A }, heard);
    await vi.waitFor(() => expect(heard).toHaveBeenCalled());
    release();
    await Promise.all([first, second]);
    expect(fetched).toHaveBeenCalledOnce();
  });
});

describe('the cache', () => {
  test('keeps what the engine accepted, and nothing before', async () => {
    const file = await openWeights({ weights: URL_A }, none);
    expect(cache.files.size).toBe(0);
    await file.accept(file.parts);
    const progress: [number, number | undefined][] = [];
    const again = await openWeights({ weights: URL_A }, (...now) => progress.push([now[0], now[1]]));
    expect(bytesOf(again)).toEqual(BYTES);
    expect(fetched).toHaveBeenCalledOnce();
    expect(progress.at(-1)).toEqual([1000, 1000]);
    cache.put = vi.fn();
    await again.accept(again.parts);
    expect(cache.put).not.toHaveBeenCalled();
  });

  test('drops what the engine refuses', async () => {
    cache.files.set(URL_A, new Response('old'));
    const file = await openWeights({ weights: URL_A }, none);
    await file.refuse();
    expect(cache.files.size).toBe(0);
  });

  test('is replaced when the file is not that of integrity', async () => {
    cache.files.set(URL_A, new Response('old'));
    const file = await openWeights({ weights: URL_A, integrity: sha256(BYTES) }, none);
    expect(bytesOf(file)).toEqual(BYTES);
    await file.accept(file.parts);
    expect(new Uint8Array((await (await cache.match(URL_A))?.arrayBuffer()) ?? [])).toEqual(BYTES);
  });

  test("asks the server for what replaces it, not the browser's own cache", async () => {
    const modes = () => fetched.mock.calls.map(([, init]) => init?.cache);
    cache.files.set(URL_A, new Response('old'));
    await openWeights({ weights: URL_A, integrity: sha256(BYTES) }, none);
    const file = await openWeights({ weights: 'https://example.test/b' }, none);
    expect(modes()).toEqual(['reload', 'default']);
    await file.refuse();
    await openWeights({ weights: 'https://example.test/b' }, none);
    await openWeights({ weights: 'https://example.test/b' }, none);
    expect(modes().slice(2)).toEqual(['reload', 'default']);
    const wrong = { weights: 'https://example.test/c', integrity: sha256(Uint8Array.of(1)) };
    await expect(openWeights(wrong, none)).rejects.toMatchObject({ code: 'E_CHECKSUM' });
    await openWeights({ weights: 'https://example.test/c' }, none);
    expect(modes().slice(4)).toEqual(['default', 'reload']);
  });

  test('is not asked when it is turned off', async () => {
    cache.files.set(URL_A, new Response('old'));
    const file = await openWeights({ weights: URL_A, cache: false }, none);
    await file.accept(file.parts);
    expect(bytesOf(file)).toEqual(BYTES);
    expect(await cache.files.get(URL_A)?.text()).toBe('old');
  });

  test.each([
    ['is missing', () => vi.stubGlobal('caches', undefined)],
    ['may not be opened', () => vi.stubGlobal('caches', { open: () => Promise.reject(new Error('denied')) })],
    ['is full', () => (cache.put = () => Promise.reject(new Error('quota')))],
    ['cannot be read', () => (cache.match = () => Promise.reject(new Error('broken')))],
  ])('is done without where it %s', async (_, harm) => {
    harm();
    const file = await openWeights({ weights: URL_A }, none);
    await file.accept(file.parts);
    expect(bytesOf(file)).toEqual(BYTES);
  });
});

describe('integrity', () => {
  test('lets the right bytes pass', async () => {
    const integrity = sha256(BYTES);
    expect(bytesOf(await openWeights({ weights: URL_A, integrity }, none))).toEqual(BYTES);
    expect(bytesOf(await openWeights({ weights: BYTES, integrity }, none))).toEqual(BYTES);
  });

  test('refuses others', async () => {
    const integrity = sha256(Uint8Array.of(1));
    const refused = { code: 'E_CHECKSUM', details: { actual: sha256(BYTES), expected: integrity } };
    await expect(openWeights({ weights: URL_A, integrity }, none)).rejects.toMatchObject(refused);
    await expect(openWeights({ weights: BYTES, integrity }, none)).rejects.toMatchObject(refused);
  });
});

describe('given bytes', () => {
  test('are copied, only what a view shows', async () => {
    const view = BYTES.subarray(10, 20);
    const { parts } = await openWeights({ weights: view }, none);
    expect(parts).toEqual([view]);
    const buffers = parts.map(({ buffer }) => buffer);
    expect(buffers.map(({ byteLength }) => byteLength)).toEqual([10]);
    structuredClone(parts, { transfer: buffers });
    expect(view).toHaveLength(10);
    expect((await openWeights({ weights: BYTES.buffer }, none)).parts[0]?.buffer).not.toBe(BYTES.buffer);
    expect(fetched).not.toHaveBeenCalled();
  });

  test('of any view are its bytes, not its values', async () => {
    const view = new Float32Array([1]) as unknown as Uint8Array<ArrayBuffer>;
    expect((await openWeights({ weights: view }, none)).parts).toEqual([Uint8Array.of(0, 0, 128, 63)]);
  });

  test('must be some', async () => {
    await expect(openWeights({ weights: new ArrayBuffer(0) }, none)).rejects.toMatchObject({ code: 'E_OPTION' });
  });
});
