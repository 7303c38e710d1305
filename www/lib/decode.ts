/** The worker's part of decoding: a posted picture to RGBA bytes. */
import { DECODE_OPTIONS, imageError } from './image.ts';
import type { Picture, Rgba } from './protocol.ts';

/** Safari's canvases hold no more pixels: larger pictures are read in strips. */
const MOST_CANVAS_PIXELS = 2 ** 24;

let canvas: OffscreenCanvas | undefined;

/** Decodes, and frees the picture. Rejects with E_IMAGE. */
export async function toRgba(picture: Picture): Promise<Rgba> {
  if (picture.kind === 'rgba') return picture.pixels;
  const bitmap = picture.kind === 'bitmap' ? picture.bitmap : await decodeFile(picture.blob);
  try {
    return readPixels(bitmap);
  } catch (cause) {
    const { width, height } = bitmap;
    const message = `The picture of ${width} x ${height} cannot be read: it is too large. Give a smaller one.`;
    throw imageError(message, { cause: String(cause), width, height });
  } finally {
    bitmap.close();
  }
}

async function decodeFile(blob: Blob): Promise<ImageBitmap> {
  return createImageBitmap(blob, DECODE_OPTIONS).catch((cause: unknown) => {
    const message =
      'The file cannot be decoded: it is broken or no picture. Give a PNG, JPEG, WebP, AVIF or GIF file; draw an SVG on a canvas.';
    throw imageError(message, { cause: String(cause), type: blob.type, bytes: blob.size });
  });
}

function readPixels(bitmap: ImageBitmap): Rgba {
  const { width, height } = bitmap;
  const rows = Math.min(height, Math.max(1, Math.floor(MOST_CANVAS_PIXELS / width)));
  const context = contextOf(width, rows);
  // A whole picture's bytes are used as they come; strips are put together.
  if (rows === height) return { rgba: readStrip(context, bitmap, 0, rows), width, height };
  const rgba = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y += rows) {
    rgba.set(readStrip(context, bitmap, y, Math.min(rows, height - y)), y * width * 4);
  }
  return { rgba, width, height };
}

function readStrip(
  context: OffscreenCanvasRenderingContext2D,
  bitmap: ImageBitmap,
  y: number,
  rows: number,
): Uint8Array<ArrayBuffer> {
  context.drawImage(bitmap, 0, -y);
  return new Uint8Array(context.getImageData(0, 0, bitmap.width, rows).data.buffer);
}

function contextOf(width: number, height: number): OffscreenCanvasRenderingContext2D {
  canvas ??= new OffscreenCanvas(width, height);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  // Kept in the processor's memory: it is read back each time.
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) throw new Error('no 2d context');
  // Nothing of the last picture shines through.
  context.globalCompositeOperation = 'copy';
  return context;
}
