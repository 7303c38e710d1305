import { describe, expect, test, vi } from 'vitest';
import {
  classColor,
  classesPresent,
  classRgb,
  drawDetections,
  maskColors,
  textColor,
  type DrawContext,
} from './draw.ts';
import type { SegmentationResult } from './types.ts';

const result: SegmentationResult = {
  mask: Uint8Array.of(0, 2, 2, 1, 2, 0),
  labels: ['__background__', 'road', 'car'],
  width: 3,
  height: 2,
  timings: { decode: 0, preprocess: 0, network: 0, postprocess: 0 },
};

describe('colours', () => {
  const classes = Array.from({ length: 91 }, (_, classId) => classId);

  test('are CSS colours', () => {
    const [r, g, b] = classRgb(7);
    expect(classColor(7)).toBe(`rgb(${r}, ${g}, ${b})`);
    for (const channel of classes.flatMap(classRgb)) expect(channel).toSatisfy((v: number) => v >= 0 && v <= 255);
  });

  test('differ between any two classes, and clearly between the first', () => {
    const distance = (a: number, b: number) => Math.hypot(...classRgb(a).map((v, i) => v - (classRgb(b)[i] ?? 0)));
    const pairs = classes.flatMap((a) => classes.slice(a + 1).map((b): [number, number] => [a, b]));
    for (const [a, b] of pairs) expect(distance(a, b)).toBeGreaterThan(b < 21 ? 15 : 0);
  });

  test('are readable under their text', () => {
    const luminance = (classId: number) => {
      const [r, g, b] = classRgb(classId).map((v) => (v / 255) ** 2.2) as [number, number, number];
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    for (const classId of classes) {
      const text = textColor(classId) === 'white' ? 1 : 0;
      const [high, low] = [Math.max(text, luminance(classId)), Math.min(text, luminance(classId))];
      expect((high + 0.05) / (low + 0.05)).toBeGreaterThan(4.4);
    }
  });
});

describe('a mask', () => {
  test('has a legend, most pixels first', () => {
    expect(classesPresent(result)).toEqual([
      { classId: 2, label: 'car', color: classColor(2), share: 3 / 6 },
      { classId: 0, label: '__background__', color: classColor(0), share: 2 / 6 },
      { classId: 1, label: 'road', color: classColor(1), share: 1 / 6 },
    ]);
  });

  test('has the colours of its classes, and none for background', () => {
    const pixels = maskColors(result);
    expect([...pixels.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
    expect([...pixels.subarray(4, 8)]).toEqual([...classRgb(2), 255]);
    expect([...pixels.subarray(12, 16)]).toEqual([...classRgb(1), 255]);
  });
});

test('boxes are drawn where they are, the best last', () => {
  const drawn = { save: vi.fn(), restore: vi.fn(), strokeRect: vi.fn(), fillRect: vi.fn(), fillText: vi.fn() };
  const measureText = () => ({ width: 40, actualBoundingBoxAscent: 0, actualBoundingBoxDescent: 10 });
  const at = (x: number, score: number) => ({
    box: { x, y: 50, width: 9, height: 8 },
    label: 'cat',
    classId: 2,
    score,
  });
  const surface = { canvas: { width: 200 }, getTransform: () => ({ a: 2 }) };
  drawDetections({ ...drawn, ...surface, measureText } as unknown as DrawContext, [
    at(3, 0.9),
    at(5, 0.8),
    at(90, 0.7),
  ]);
  expect(drawn.strokeRect.mock.calls).toEqual([
    [90, 50, 9, 8],
    [5, 50, 9, 8],
    [3, 50, 9, 8],
  ]);
  expect(drawn.fillText.mock.calls.map(([text]) => text)).toEqual(['cat 0.70', 'cat 0.80', 'cat 0.90']);
  // 100 wide where it is drawn: the label of the box at 90 ends there.
  const [x, , width] = drawn.fillRect.mock.calls[0] as number[];
  expect((x ?? 0) + (width ?? 0)).toBe(100);
  expect(drawn.restore).toHaveBeenCalledOnce();
});
