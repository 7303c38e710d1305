/**
 * The canvas: the picture, the mask over it, the boxes on top. It has the screen's own pixels, not the picture's, so that lines
 * are sharp and labels are readable at any size of the picture.
 */
import { drawDetections, drawMask } from 'mobilesight';
import type { BoundingBox, Detection, DetectionResult, SegmentationResult } from 'mobilesight';
import type { Outcome, Picture } from './state.ts';

/** The most that a small picture is enlarged. */
const MAX_ENLARGEMENT = 2;
/** Of the window's height, what the picture may take. */
const MAX_HEIGHT = 0.72;
/** Never lower than this, in CSS pixels. */
const MIN_HEIGHT = 240;

/** How to draw. */
interface DrawOptions {
  /** Least score of a box. */
  threshold: number;
  /** Of the mask, 0 to 1. */
  opacity: number;
}

/** The detections that reach the threshold. */
export function atLeast({ detections }: DetectionResult, threshold: number): Detection[] {
  return detections.filter(({ score }) => score >= threshold);
}

/** Draws a picture and what was found on it, as large as the canvas's parent and the window allow. */
export function draw(canvas: HTMLCanvasElement, picture: Picture, outcomes: Outcome[], options: DrawOptions): void {
  fit(canvas, picture.image);
  const ctx = canvas.getContext('2d');
  if (!ctx) return;
  ctx.imageSmoothingQuality = 'high';
  ctx.clearRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(picture.image, 0, 0, canvas.width, canvas.height);
  for (const { output } of outcomes) {
    if (output.task === 'segmentation') overlay(ctx, maskLayer(output.result), options.opacity);
  }
  for (const { output } of outcomes) {
    if (output.task === 'detection') boxes(ctx, output.result, options.threshold);
  }
}

function fit(canvas: HTMLCanvasElement, { width, height }: ImageBitmap): void {
  const room = canvas.parentElement?.clientWidth ?? width;
  const most = Math.max(MIN_HEIGHT, window.innerHeight * MAX_HEIGHT);
  const scale = Math.min(room / width, most / height, MAX_ENLARGEMENT);
  const cssWidth = Math.max(1, Math.floor(width * scale));
  const cssHeight = Math.max(1, Math.floor(height * scale));
  // The height follows from the canvas's own ratio, so that no width that CSS gives can distort it.
  canvas.style.width = `${cssWidth}px`;
  // Setting a size clears the canvas, which would flicker between a camera's frames.
  const [w, h] = [Math.round(cssWidth * devicePixelRatio), Math.round(cssHeight * devicePixelRatio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
}

/** A mask is coloured once; the sliders then only lay it over the picture anew. */
const layers = new WeakMap<SegmentationResult, HTMLCanvasElement>();

function maskLayer(result: SegmentationResult): HTMLCanvasElement {
  const known = layers.get(result);
  if (known) return known;
  const layer = Object.assign(document.createElement('canvas'), { width: result.width, height: result.height });
  const ctx = layer.getContext('2d');
  if (ctx) drawMask(ctx, result, { opacity: 1 });
  layers.set(result, layer);
  return layer;
}

function overlay(ctx: CanvasRenderingContext2D, layer: HTMLCanvasElement, opacity: number): void {
  ctx.save();
  ctx.globalAlpha = opacity;
  ctx.drawImage(layer, 0, 0, ctx.canvas.width, ctx.canvas.height);
  ctx.restore();
}

/** Boxes in the canvas's own pixels, so that lines and text keep their size on the screen. */
function boxes(ctx: CanvasRenderingContext2D, result: DetectionResult, threshold: number): void {
  const sx = ctx.canvas.width / result.width;
  const sy = ctx.canvas.height / result.height;
  const scaled = ({ x, y, width, height }: BoundingBox) => ({
    x: x * sx,
    y: y * sy,
    width: width * sx,
    height: height * sy,
  });
  const detections = atLeast(result, threshold).map((found) => ({ ...found, box: scaled(found.box) }));
  drawDetections(ctx, detections, {
    lineWidth: 2 * devicePixelRatio,
    font: `600 ${13 * devicePixelRatio}px system-ui, sans-serif`,
  });
}
