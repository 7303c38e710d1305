// Whether two engines computed the same: nothing is timed that did not. f32 is held to mobilesight's f32; int8 only, and loosely, to the same
// engine's f32, since the peers' int8 files were calibrated otherwise than mobilesight's.

const rules = {
  f32: { mask: 0.999, boxes: { share: 0.95, iou: 0.95 }, classes: 0.01 },
  int8: { mask: 0.8, boxes: { share: 0.5, iou: 0.5 }, classes: 1 },
};

const percent = (share) => `${(share * 100).toFixed(2)} %`;

/** Intersection over union of boxes `i` of `a` and `j` of `b`, x1 y1 x2 y2. */
function iou(a, i, b, j) {
  const [ax1, ay1, ax2, ay2] = a.slice(i * 4, i * 4 + 4);
  const [bx1, by1, bx2, by2] = b.slice(j * 4, j * 4 + 4);
  const width = Math.max(0, Math.min(ax2, bx2) - Math.max(ax1, bx1));
  const height = Math.max(0, Math.min(ay2, by2) - Math.max(ay1, by1));
  const both = width * height;
  return both / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - both);
}

/** How many boxes of `a` find one of `b` with the same label and at least `least` IoU, each of `b` taken once, best first. */
function matched(a, b, least) {
  const free = new Set(b.labels.keys());
  let count = 0;
  a.labels.forEach((label, i) => {
    const candidates = [...free]
      .filter((j) => b.labels[j] === label)
      .map((j) => ({ j, iou: iou(a.boxes, i, b.boxes, j) }));
    const best = candidates.reduce((x, y) => (y.iou > x.iou ? y : x), { iou: -1 });
    if (best.iou < least) return;
    free.delete(best.j);
    count++;
  });
  return count;
}

function compareMasks(a, b, least) {
  const equal = a.filter((value, i) => value === b[i]).length / Math.max(a.length, b.length);
  return { agrees: equal >= least, how: `${percent(equal)} of the pixels have the same class` };
}

function compareBoxes(a, b, { share, iou: least }) {
  const most = Math.max(a.labels.length, b.labels.length);
  const count = matched(a, b, least);
  return {
    agrees: most > 0 && count >= share * most,
    how: `${count} of ${most} boxes match (same label, IoU >= ${least})`,
  };
}

/** By the largest difference over the standard deviation of `b`: the classes' spread is what tells them apart. */
function compareClasses(a, b, most) {
  const mean = b.reduce((sum, value) => sum + value, 0) / b.length;
  const deviation = Math.sqrt(b.reduce((sum, value) => sum + (value - mean) ** 2, 0) / b.length);
  const difference = a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0) / deviation;
  const how = `log-probabilities differ by ${difference.toFixed(4)} standard deviations at most`;
  return { agrees: a.length === b.length && difference <= most, how };
}

/** { agrees, how } for `output` of `dtype` beside `reference`, both as the contestants give them. */
export function compare(output, reference, dtype) {
  const rule = rules[dtype];
  if (output.mask) return compareMasks(output.mask, reference.mask, rule.mask);
  if (output.boxes) return compareBoxes(output, reference, rule.boxes);
  return compareClasses(output.logProbabilities, reference.logProbabilities, rule.classes);
}
