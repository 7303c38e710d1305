/**
 * From any form of a picture to what is posted to the worker. A picture is taken at the time of the call, as its canvas or video
 * may show something else when its turn comes; the caller's object is only read.
 *
 * Equal results: bytes that are decoded here or in the worker are taken as the file stores them, without its colour profile, as
 * TorchVision's readers do; what is on a canvas has sRGB's values. Both are the same for pictures in sRGB. Under transparency only
 * ImageData has its colours still: a canvas, by which all other forms are read, forgets what is not seen.
 */
import { MobilesightError } from './errors.ts';
import { fetchOk, resolveUrl } from './fetch.ts';
import type { Picture } from './protocol.ts';
import type { ImageSource } from './types.ts';

/** How files are decoded, here and in the worker. EXIF orientation is respected by default. */
export const DECODE_OPTIONS: ImageBitmapOptions = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };

/** Reads a picture. Rejects with E_IMAGE, or E_FETCH for a URL. */
export async function capture(source: ImageSource, signal?: AbortSignal): Promise<Picture> {
  if (typeof source === 'string' || source instanceof URL) return fromUrl(source, signal);
  // By name, because pictures of another window are of other classes.
  switch (Object.prototype.toString.call(source).slice(8, -1)) {
    case 'Blob':
    case 'File':
      return fromBlob(source as Blob);
    case 'ImageData':
      return fromImageData(source as ImageData);
    case 'HTMLImageElement':
      return fromImage(source as HTMLImageElement);
    case 'HTMLVideoElement':
      return fromVideo(source as HTMLVideoElement);
    case 'HTMLCanvasElement':
    case 'OffscreenCanvas':
      return fromCanvas(source as HTMLCanvasElement | OffscreenCanvas);
    case 'ImageBitmap':
      return fromBitmap(source as ImageBitmap);
    case 'VideoFrame':
      return toBitmap(source as VideoFrame, 'The VideoFrame cannot be read. Call before it is closed.');
    default:
      throw imageError(
        'This is no picture. Give an ImageBitmap, ImageData, VideoFrame, Blob, URL, or an image, canvas or video element.',
      );
  }
}

/** Frees a picture that was not posted; one that was is left alone. */
export function discard(picture: Picture): void {
  if (picture.kind === 'bitmap') picture.bitmap.close();
}

/** What is moved to the worker with a picture, not copied. */
export function transfers(picture: Picture): Transferable[] {
  if (picture.kind === 'bitmap') return [picture.bitmap];
  return picture.kind === 'rgba' ? [picture.pixels.rgba.buffer] : [];
}

/** E_IMAGE with words. */
export function imageError(message: string, details: Record<string, unknown> = {}): MobilesightError {
  return new MobilesightError('E_IMAGE', message, details);
}

/** E_IMAGE for a picture that the browser refuses to post, because a page of this origin may not read it. */
export function taintedError(cause: unknown): MobilesightError {
  const advice = "Load it with crossOrigin = 'anonymous' from a server that allows this page by CORS.";
  return imageError(`The picture holds pixels of another origin, which this page may not read. ${advice}`, { cause });
}

async function fromUrl(source: string | URL, signal?: AbortSignal): Promise<Picture> {
  const url = resolveUrl(source, 'The picture', 'E_IMAGE');
  const response = await fetchOk(url, 'The picture', { signal: signal ?? null });
  const blob = await response.blob().catch((cause: unknown) => {
    if (signal?.aborted) throw cause;
    throw new MobilesightError('E_FETCH', `The picture at ${url} broke off. Try again.`, { url, cause });
  });
  return fromBlob(blob);
}

function fromBlob(blob: Blob): Picture {
  if (blob.size === 0) throw imageError('The picture file is empty. Give a PNG, JPEG, WebP, AVIF or GIF file.');
  return { kind: 'blob', blob };
}

function fromImageData(image: ImageData): Picture | Promise<Picture> {
  const { width, height, data } = image;
  if (data.length === 0) throw imageError('The ImageData is empty: its bytes were transferred. Give it whole.');
  // Wide gamuts and half floats are converted by the browser.
  if (!(data instanceof Uint8ClampedArray) || image.colorSpace === 'display-p3') {
    return toBitmap(image, 'The ImageData cannot be read. Give one of 8 bits a channel, in srgb.');
  }
  return { kind: 'rgba', pixels: { rgba: new Uint8Array(data), width, height } };
}

function fromImage(image: HTMLImageElement): Promise<Picture> {
  if (!image.complete) throw imageError('The <img> is not loaded yet. Await image.decode() first.', { src: image.src });
  if (image.naturalWidth === 0 || image.naturalHeight === 0) {
    throw imageError('The <img> has no picture: it failed to load, or its size is 0. Check its src.', {
      src: image.src,
    });
  }
  return toBitmap(image, 'The <img> cannot be read. Give a PNG, JPEG, WebP, AVIF or GIF picture.', DECODE_OPTIONS);
}

function fromVideo(video: HTMLVideoElement): Promise<Picture> {
  if (video.readyState < 2 || video.videoWidth === 0) {
    throw imageError('The video has no frame yet. Wait for its event loadeddata.', { readyState: video.readyState });
  }
  return toBitmap(video, 'The frame of the video cannot be read.');
}

function fromCanvas(canvas: HTMLCanvasElement | OffscreenCanvas): Promise<Picture> {
  checkSize(canvas, 'The canvas is empty');
  return toBitmap(canvas, 'The canvas cannot be read.');
}

function fromBitmap(bitmap: ImageBitmap): Promise<Picture> {
  checkSize(bitmap, 'The ImageBitmap is closed or was transferred');
  return toBitmap(bitmap, 'The ImageBitmap cannot be read.');
}

function checkSize({ width, height }: { width: number; height: number }, otherwise: string): void {
  if (width === 0 || height === 0)
    throw imageError(`${otherwise}: it is ${width} x ${height}. Give a picture with pixels.`);
}

async function toBitmap(source: ImageBitmapSource, otherwise: string, options?: ImageBitmapOptions): Promise<Picture> {
  try {
    return { kind: 'bitmap', bitmap: await createImageBitmap(source, options) };
  } catch (cause) {
    throw imageError(otherwise, { cause });
  }
}
