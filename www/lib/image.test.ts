import { afterEach, describe, expect, test, vi } from 'vitest';
import { capture, DECODE_OPTIONS, discard, transfers } from './image.ts';
import { fakeImageData } from './testing.ts';
import type { ImageSource } from './types.ts';

/** A browser's object by its name. */
function fake(name: string, properties: object): ImageSource {
  return { ...properties, [Symbol.toStringTag]: name } as unknown as ImageSource;
}

const copy = { close: vi.fn() } as unknown as ImageBitmap;

function stubBitmaps() {
  const create = vi.fn(async () => copy);
  vi.stubGlobal('createImageBitmap', create);
  return create;
}

afterEach(() => vi.unstubAllGlobals());

describe('capture', () => {
  test('copies ImageData as it is', async () => {
    const image = fakeImageData(2);
    image.data.set([1, 2, 3, 0, 5, 6, 7, 8]);
    const picture = await capture(image);
    expect(picture).toEqual({
      kind: 'rgba',
      pixels: { rgba: Uint8Array.of(1, 2, 3, 0, 5, 6, 7, 8), width: 2, height: 1 },
    });
    expect(transfers(picture)).not.toContain(image.data.buffer);
  });

  test('leaves wide gamuts to the browser', async () => {
    const create = stubBitmaps();
    const image = Object.assign(fakeImageData(2), { colorSpace: 'display-p3' });
    expect(await capture(image)).toEqual({ kind: 'bitmap', bitmap: copy });
    expect(create).toHaveBeenCalledWith(image, undefined);
  });

  test('sends files to the worker undecoded', async () => {
    const blob = new Blob(['x']);
    expect(await capture(blob)).toEqual({ kind: 'blob', blob });
    expect(transfers({ kind: 'blob', blob })).toEqual([]);
  });

  test('fetches a URL, as text or not', async () => {
    vi.stubGlobal('fetch', async (url: string) => new Response(url));
    for (const url of ['https://example.test/a.png', new URL('https://example.test/a.png')]) {
      const picture = await capture(url);
      expect(picture.kind === 'blob' && (await picture.blob.text())).toBe('https://example.test/a.png');
    }
  });

  test('decodes an <img> as the worker does a file', async () => {
    const create = stubBitmaps();
    const image = fake('HTMLImageElement', { complete: true, naturalWidth: 2, naturalHeight: 1 });
    await capture(image);
    expect(create).toHaveBeenCalledWith(image, DECODE_OPTIONS);
  });

  test.each([
    fake('ImageBitmap', { width: 2, height: 1 }),
    fake('HTMLCanvasElement', { width: 2, height: 1 }),
    fake('OffscreenCanvas', { width: 2, height: 1 }),
    fake('HTMLVideoElement', { readyState: 2, videoWidth: 2 }),
    fake('VideoFrame', {}),
  ])('sends a copy of %s, and frees it', async (source) => {
    stubBitmaps();
    const picture = await capture(source);
    expect(transfers(picture)).toEqual([copy]);
    discard(picture);
    expect(copy.close).toHaveBeenCalled();
  });

  test.each<[string, unknown]>([
    ['a closed bitmap', fake('ImageBitmap', { width: 0, height: 0 })],
    ['a canvas without width', fake('HTMLCanvasElement', { width: 0, height: 5 })],
    ['a canvas without height', fake('OffscreenCanvas', { width: 5, height: 0 })],
    ['ImageData that was transferred', Object.assign(fakeImageData(2), { data: new Uint8ClampedArray() })],
    ['an image that loads', fake('HTMLImageElement', { complete: false, src: 'x' })],
    ['an image that failed', fake('HTMLImageElement', { complete: true, naturalWidth: 0, src: 'x' })],
    ['a video without a frame', fake('HTMLVideoElement', { readyState: 1, videoWidth: 2 })],
    ['an empty file', new Blob([])],
    ['no address', 'http://['],
    ['nothing', undefined],
    ['null', null],
    ['an object', {}],
  ])('refuses %s', async (_, source) => {
    stubBitmaps();
    await expect(capture(source as ImageSource)).rejects.toMatchObject({ code: 'E_IMAGE' });
  });

  test('says what the browser cannot read', async () => {
    vi.stubGlobal('createImageBitmap', () => Promise.reject(new DOMException('closed', 'InvalidStateError')));
    await expect(capture(fake('VideoFrame', {}))).rejects.toMatchObject({ code: 'E_IMAGE' });
  });
});

describe('an address', () => {
  test('is fetched, and sent undecoded', async () => {
    vi.stubGlobal('fetch', async () => new Response('picture'));
    const picture = await capture('https://example.test/a.png');
    expect(picture.kind === 'blob' && (await picture.blob.text())).toBe('picture');
  });

  test('that is wrong is E_FETCH', async () => {
    vi.stubGlobal('fetch', async () => new Response('no', { status: 404 }));
    await expect(capture('https://example.test/a.png')).rejects.toMatchObject({
      code: 'E_FETCH',
      details: { status: 404 },
    });
  });

  test('is left when the call is aborted', async () => {
    vi.stubGlobal('fetch', (_: string, { signal }: RequestInit) => Promise.reject(signal?.reason));
    const signal = AbortSignal.abort();
    await expect(capture('https://example.test/a.png', signal)).rejects.toMatchObject({ name: 'AbortError' });
  });
});
