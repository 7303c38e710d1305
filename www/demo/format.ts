/** Numbers and results in words, the same on the canvas, in the lists and for screen readers. */
import type { Detection } from 'mobilesight';

/** How many objects a sentence names. */
const NAMED = 5;

/** Bytes as "21.4 MB"; a megabyte is a million bytes, as file sizes are given on the web. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Milliseconds, with a decimal below 100. */
export function milliseconds(ms: number): string {
  return `${ms.toFixed(ms < 100 ? 1 : 0)} ms`;
}

/** A share of 1 in per cent. */
export function percent(share: number): string {
  return share < 0.01 ? '< 1%' : `${Math.round(share * 100)}%`;
}

/** "1 thread", "2 objects". */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}

/** "3 objects: person 0.98, tie 0.71, cup 0.55". */
export function objects(detections: readonly Detection[], threshold: number): string {
  if (detections.length === 0) return `No object scores ${threshold.toFixed(2)} or more`;
  const named = detections.slice(0, NAMED).map(({ label, score }) => `${label} ${score.toFixed(2)}`);
  const rest = detections.length - named.length;
  return `${count(detections.length, 'object')}: ${named.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}
