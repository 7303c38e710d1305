/** Results on a canvas, in the source picture's pixels: scale the context to draw on a canvas of another size. */
import type { Detection, SegmentationResult } from './types.ts';

/** A canvas to draw on. */
export type DrawContext = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** A class that a mask has. */
export interface ClassPresence {
  classId: number;
  label: string;
  /** As `classColor` gives it. */
  color: string;
  /** Of the picture's pixels, 0 to 1. */
  share: number;
}

/** How boxes are drawn. */
export interface DrawDetectionsOptions {
  /** Of the box, in the context's units. Default 2. */
  lineWidth?: number;
  /** Of the label, as CSS writes it. Default `600 13px system-ui, sans-serif`. */
  font?: string;
}

/** How a mask is drawn. */
export interface DrawMaskOptions {
  /** 0 to 1. Default 0.5. */
  opacity?: number;
}

/** The class of models that know one for nothing; it has no colour in a mask. */
const BACKGROUND = '__background__';

/** Successive multiples of this angle fall between all earlier ones, so any number of classes gets hues apart. */
const GOLDEN_ANGLE = 137.508;
/** Per cent; a neighbour in hue differs in lightness. */
const LIGHTNESSES = [55, 42, 68];

/** Red, green and blue of a class, 0 to 255. */
export function classRgb(classId: number): [number, number, number] {
  const hue = (classId * GOLDEN_ANGLE) % 360;
  const lightness = (LIGHTNESSES[classId % LIGHTNESSES.length] ?? 50) / 100;
  const chroma = 0.8 * Math.min(lightness, 1 - lightness);
  // CSS Color 4, section "Converting HSL Colors to sRGB".
  const channel = (n: number) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** The colour of a class as CSS writes it, the same in boxes, masks and legends. */
export function classColor(classId: number): string {
  return `rgb(${classRgb(classId).join(', ')})`;
}

/** The legend of a mask: the classes present, most pixels first. */
export function classesPresent({ mask, labels }: SegmentationResult): ClassPresence[] {
  const counts = new Uint32Array(256);
  for (const classId of mask) counts[classId] = (counts[classId] ?? 0) + 1;
  return Array.from(counts, (pixels, classId) => ({ classId, pixels }))
    .filter(({ pixels }) => pixels > 0)
    .sort((a, b) => b.pixels - a.pixels)
    .map(({ classId, pixels }) => ({
      classId,
      label: labels[classId] ?? String(classId),
      color: classColor(classId),
      share: pixels / mask.length,
    }));
}

/** Draws boxes with label and score, best on top. */
export function drawDetections(
  context: DrawContext,
  detections: readonly Detection[],
  { lineWidth = 2, font = '600 13px system-ui, sans-serif' }: DrawDetectionsOptions = {},
): void {
  context.save();
  Object.assign(context, { lineWidth, font, textBaseline: 'top', lineJoin: 'round' });
  const worstFirst = [...detections].reverse();
  for (const { box, classId } of worstFirst) {
    context.strokeStyle = classColor(classId);
    context.strokeRect(box.x, box.y, box.width, box.height);
  }
  // Over all boxes, so that no line crosses a text.
  for (const detection of worstFirst) drawLabel(context, detection, lineWidth);
  context.restore();
}

function drawLabel(context: DrawContext, { box, label, classId, score }: Detection, lineWidth: number): void {
  const text = `${label} ${score.toFixed(2)}`;
  const metrics = context.measureText(text);
  const padding = 2 * lineWidth;
  const height = metrics.actualBoundingBoxAscent + metrics.actualBoundingBoxDescent + 2 * padding;
  const width = metrics.width + 2 * padding;
  const right = context.canvas.width / context.getTransform().a;
  const x = Math.max(0, Math.min(box.x - lineWidth / 2, right - width));
  // Above the box where there is room, else inside.
  const y = box.y >= height ? box.y - height : Math.max(0, box.y);
  context.fillStyle = classColor(classId);
  context.fillRect(x, y, width, height);
  context.fillStyle = textColor(classId);
  context.fillText(text, x + padding, y + padding + metrics.actualBoundingBoxAscent);
}

/** Black or white, whichever stands out more: the crossing of WCAG's contrast ratios is at luminance 0.179. */
export function textColor(classId: number): 'black' | 'white' {
  const [r, g, b] = classRgb(classId).map((channel) => linear(channel / 255)) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? 'black' : 'white';
}

function linear(channel: number): number {
  return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
}

/** Lays a mask's colours over what is drawn. */
export function drawMask(
  context: DrawContext,
  result: SegmentationResult,
  { opacity = 0.5 }: DrawMaskOptions = {},
): void {
  const { width, height } = result;
  const layer = new OffscreenCanvas(width, height);
  layer.getContext('2d')?.putImageData(new ImageData(maskColors(result), width, height), 0, 0);
  context.save();
  context.globalAlpha *= opacity;
  context.imageSmoothingEnabled = false;
  context.drawImage(layer, 0, 0);
  context.restore();
}

/** RGBA of a mask, background transparent. */
export function maskColors({ mask, labels }: SegmentationResult): Uint8ClampedArray<ArrayBuffer> {
  const palette = Uint32Array.from({ length: 256 }, (_, classId) => {
    const [r, g, b] = classRgb(classId);
    return labels[classId] === BACKGROUND ? 0 : ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
  // WebAssembly's hosts are little-endian in practice: red is the lowest byte.
  const pixels = Uint32Array.from(mask, (classId) => palette[classId] ?? 0);
  return new Uint8ClampedArray(pixels.buffer);
}
