/**
 * What the tests use inside of the blank page, there as the global `inside`. Each function is sent as text, so it names nothing
 * but `inside` and the browser's own.
 */

/** An error as a test sees it. */
export interface Failure {
  name: string;
  code: string;
  message: string;
}

/** How `work` fails; code 'none' when it does not. */
export async function failure(work: () => Promise<unknown>): Promise<Failure> {
  try {
    await work();
    return { name: 'none', code: 'none', message: '' };
  } catch (error) {
    const { name, code = 'none', message } = error as Partial<Failure> & Error;
    return { name, code, message };
  }
}

/** A file of the site. */
export async function file(url: string): Promise<Blob> {
  return (await fetch(url)).blob();
}

/** The pixels of a picture file, as they are stored: neither colours nor orientation are touched. */
export async function stored(blob: Blob): Promise<ImageData> {
  const options = { colorSpaceConversion: 'none', premultiplyAlpha: 'none', imageOrientation: 'none' };
  const bitmap = await createImageBitmap(blob, options as ImageBitmapOptions);
  const context = inside.context(bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** The context of a new canvas. */
export function context(width: number, height: number): CanvasRenderingContext2D {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('no 2d context');
  return context;
}

/** A picture on a canvas. */
export function onCanvas(image: ImageData): HTMLCanvasElement {
  const context = inside.context(image.width, image.height);
  context.putImageData(image, 0, 0);
  return context.canvas;
}

/** A picture turned by a quarter, clockwise or not. */
export function turned(image: ImageData, clockwise: boolean): ImageData {
  const { width: w, height: h } = image;
  const result = new ImageData(h, w);
  const from = new Uint32Array(image.data.buffer);
  const to = new Uint32Array(result.data.buffer);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) to[clockwise ? x * h + (h - 1 - y) : (w - 1 - x) * h + y] = from[y * w + x] ?? 0;
  }
  return result;
}

/** A canvas's picture as a file. */
export function encoded(canvas: HTMLCanvasElement, type: string): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error(`no ${type}`))), type, 0.95);
  });
}

/** A JPEG file with an Exif segment that holds this orientation, after the file's first marker. */
export async function withOrientation(jpeg: Blob, orientation: number): Promise<Blob> {
  const bytes = new Uint8Array(await jpeg.arrayBuffer());
  const exif = [0x45, 0x78, 0x69, 0x66, 0, 0];
  const header = [0x4d, 0x4d, 0, 0x2a, 0, 0, 0, 8];
  const entry = [0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
  const payload = [...exif, ...header, ...entry, 0, 0, 0, 0];
  const segment = new Uint8Array([0xff, 0xe1, 0, payload.length + 2, ...payload]);
  return new Blob([bytes.subarray(0, 2), segment, bytes.subarray(2)], { type: 'image/jpeg' });
}

/** A loaded <img>. */
export async function imageElement(src: string): Promise<HTMLImageElement> {
  const image = Object.assign(new Image(), { src });
  await image.decode();
  return image;
}

/** A small picture of colours that change from pixel to pixel, always the same. */
export function pattern(width: number, height: number): ImageData {
  const image = new ImageData(width, height);
  image.data.forEach((_, i) => (image.data[i] = i % 4 === 3 ? 255 : (i * 37 + (i >> 7) * 11) % 256));
  return image;
}

/** Milliseconds of waiting. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
