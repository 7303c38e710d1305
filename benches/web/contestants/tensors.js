// What the peers are fed and what is made of their outputs, so that all contestants answer in the same form.
const mean = [0.485, 0.456, 0.406];
const std = [0.229, 0.224, 0.225];

/** The picture in f32: 0..1 for detectors, which normalise by themselves, else normalised; `planar` is [3, h, w], else [h, w, 3]. */
export function pictureTensor({ rgba, width, height }, { task, planar }) {
  const pixels = width * height;
  const out = new Float32Array(pixels * 3);
  for (let p = 0; p < pixels; p++) {
    for (let c = 0; c < 3; c++) {
      const value = rgba[p * 4 + c] / 255;
      out[planar ? c * pixels + p : p * 3 + c] = task === 'detection' ? value : (value - mean[c]) / std[c];
    }
  }
  return out;
}

/** The class of the highest score of each pixel; `planar` is [classes, pixels], else [pixels, classes]. */
export function argmax(scores, pixels, planar) {
  const classes = scores.length / pixels;
  const at = (p, c) => scores[planar ? c * pixels + p : p * classes + c];
  return Array.from({ length: pixels }, (_, p) => {
    let best = 0;
    for (let c = 1; c < classes; c++) if (at(p, c) > at(p, best)) best = c;
    return best;
  });
}

/** Natural logarithms of the softmax. */
export function logSoftmax(logits) {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, value) => total + Math.exp(value - max), 0);
  return Array.from(logits, (value) => value - max - Math.log(sum));
}
