// What the charts share: text, and colours that follow the reader's scheme.

/** The <style> of a chart. */
export const seriesColours = `<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .note { fill: #59636e; font-size: 12px }
  .mobilesight { fill: #1a7f64 }
  .onnxruntime { fill: #8250df }
  .litert { fill: #bf6a02 }
  .limit { stroke: #cf222e; stroke-width: 2 }
  .axis { stroke: #59636e }
  .line { stroke-width: 2; fill: none }
  .f32 { stroke: #1a7f64; fill: #1a7f64 }
  .int8 { stroke: #0969da; fill: #0969da }
  .line.f32, .line.int8 { fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #9198a1 }
    .mobilesight { fill: #3fb68f }
    .onnxruntime { fill: #a371f7 }
    .litert { fill: #e0912f }
    .limit { stroke: #ff7b72 }
    .axis { stroke: #9198a1 }
    .f32 { stroke: #3fb68f; fill: #3fb68f }
    .int8 { stroke: #58a6ff; fill: #58a6ff }
  }
</style>`;

const escape = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** Text that starts at (x, y), its baseline. */
export const textAt = (x, y, text, attributes = '') => `<text x="${x}" y="${y}" ${attributes}>${escape(text)}</text>`;

const labelHeight = 15;

/** Where labels go that want to be at `wanted`, apart from each other, none below `lowest`. */
function apart(wanted, lowest) {
  const order = wanted.map((y, i) => ({ y: Math.min(y, lowest), i })).sort((a, b) => b.y - a.y);
  order.forEach((label, at) => {
    if (at) label.y = Math.min(label.y, order[at - 1].y - labelHeight);
  });
  return wanted.map((_, i) => order.find((label) => label.i === i).y);
}

/** Lines ({ dtype, label, points: [[x, y]] }) over one axis, both axes from zero; each label is right of its line's end. */
export function plot({ left, top, width, height, lines }) {
  const all = lines.flatMap(({ points }) => points);
  const [mostX, mostY] = [0, 1].map((axis) => Math.max(...all.map((point) => point[axis])));
  const at = ([x, y]) => [left + (x / mostX) * width, top + height - (y / mostY) * height];
  const round = (point) => point.map((value) => value.toFixed(1));
  const labels = apart(
    lines.map(({ points }) => at(points.at(-1))[1] + 4),
    top + height,
  );
  const drawn = lines.map(({ dtype, label, points }, i) => {
    const places = points.map((point) => round(at(point)));
    const dots = places.map(([x, y]) => `<circle class="${dtype}" cx="${x}" cy="${y}" r="2.5"/>`);
    const line = `<polyline class="line ${dtype}" points="${places.map((place) => place.join(',')).join(' ')}"/>`;
    return [line, ...dots, textAt(left + width + 8, labels[i].toFixed(1), label, 'class="note"')].join('\n');
  });
  const axis = `<line class="axis" x1="${left}" y1="${top + height}" x2="${left + width}" y2="${top + height}"/>`;
  return [axis, ...drawn].join('\n');
}
