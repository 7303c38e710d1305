// The chart of RESULTS.md: one thread, each model and dtype a group of bars, as SVG with text; its colours follow the reader's scheme.
import { total } from './macs.mjs';
import { models, titleOf } from './models.mjs';
import { seriesColours, textAt } from './svg.mjs';

const left = 240;
const barsWidth = 420;
const bar = 16;
const width = left + barsWidth + 90;

/** The bars of one model and dtype, scaled to the slowest, with a mark where the limit lies. */
function group(model, dtype, { runs, peak }, top) {
  const rows = runs.filter((run) => run.model === model.name && run.dtype === dtype && run.threads === 1);
  if (rows.length === 0) return { svg: '', height: 0 };
  const slowest = Math.max(...rows.map(({ median_ms }) => median_ms));
  const scale = (milliseconds) => (milliseconds / slowest) * barsWidth;
  const bars = rows.map(({ engine, median_ms }, i) => {
    const y = top + i * (bar + 4);
    const rectangle = `<rect class="${engine}" x="${left}" y="${y}" width="${scale(median_ms).toFixed(1)}" height="${bar}" rx="2"/>`;
    const value = textAt(left + scale(median_ms) + 6, y + 13, `${median_ms.toFixed(1)} ms`);
    return rectangle + value + textAt(left - 8, y + 13, titleOf(engine), 'text-anchor="end"');
  });
  const height = rows.length * (bar + 4);
  const limit = left + scale(total(model.layers()) / (dtype === 'int8' ? peak.i8 : peak.f32) / 1e6);
  const mark = `<line class="limit" x1="${limit.toFixed(1)}" x2="${limit.toFixed(1)}" y1="${top - 3}" y2="${top + height - 1}"/>`;
  return {
    svg: textAt(0, top + 13, `${model.name} ${dtype}`, 'class="title"') + bars.join('') + mark,
    height: height + 12,
  };
}

/** The panel of one CPU below `top`. */
function panel(results, top) {
  const { cpu, browser, date } = results;
  let y = top + 20;
  const parts = [textAt(0, y, cpu, 'class="title"'), textAt(0, y + 18, `${browser}, ${date}`, 'class="note"')];
  y += 36;
  for (const model of models.filter(({ layers }) => layers)) {
    for (const dtype of ['f32', 'int8']) {
      const { svg, height } = group(model, dtype, results, y);
      parts.push(svg);
      y += height;
    }
  }
  return { svg: parts.join('\n'), bottom: y };
}

/** The SVG of all CPUs' results. */
export function chart(all) {
  const note =
    'Milliseconds of a run on one thread, median; shorter is better. The red line is the limit of the CPU in WebAssembly.';
  let y = 22;
  const panels = all.map((results) => {
    const { svg, bottom } = panel(results, y);
    y = bottom;
    return svg;
  });
  const size = `width="${width}" height="${y}" viewBox="-8 0 ${width} ${y}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${note}">
${seriesColours}
${textAt(0, 16, note, 'class="note"')}
${panels.join('\n')}
</svg>
`;
}
