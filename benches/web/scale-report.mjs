// The part of RESULTS.md on scale, and its chart.
import { seriesColours, textAt } from './svg.mjs';
import { table } from './markdown.mjs';

const panelWidth = 300;
const panelHeight = 200;

function bySeries(points) {
  const names = [...new Set(points.map(({ series }) => series))];
  return names.map((name) => ({ name, points: points.filter(({ series }) => series === name) }));
}

/** The tables: each series' time, memory and share of the limit. */
export function scaleSection({ points, peak, commit, date }) {
  const head = ['value', 'GMAC', 'median ms', 'of the limit', 'memory MB'];
  const tables = bySeries(points).map(({ name, points: of }) => {
    const rows = of.map(({ value, macs, median_ms, peak_bytes }) => [
      value,
      (macs / 1e9).toFixed(3),
      median_ms.toFixed(1),
      `${((macs / peak.f32 / 1e6 / median_ms) * 100).toFixed(0)} %`,
      (peak_bytes / 1e6).toFixed(1),
    ]);
    return `${name}:\n\n${table(head, rows)}`;
  });
  return `### Scale\n\nmobilesight, f32, one thread; commit ${commit}; ${date}. The chart is [scale.svg](scale.svg).\n\n${tables.join('\n')}`;
}

/** One series: times over values, both from zero. */
function panel({ name, points }, left, top) {
  const [mostX, mostY] = [Math.max(...points.map(({ value }) => value)), Math.max(...points.map((p) => p.median_ms))];
  const x = (value) => (left + (value / mostX) * (panelWidth - 60)).toFixed(1);
  const y = (ms) => (top + panelHeight - 24 - (ms / mostY) * (panelHeight - 60)).toFixed(1);
  const path = points.map(({ value, median_ms }) => `${x(value)},${y(median_ms)}`).join(' ');
  const dots = points.map(
    ({ value, median_ms }) => `<circle class="mobilesight" cx="${x(value)}" cy="${y(median_ms)}" r="3"/>`,
  );
  const last = points.at(-1);
  return [
    textAt(left, top + 14, name, 'class="title"'),
    `<line class="axis" x1="${left}" y1="${y(0)}" x2="${x(mostX)}" y2="${y(0)}"/>`,
    `<polyline class="line" points="${path}"/>`,
    ...dots,
    textAt(x(last.value), top + panelHeight - 8, String(last.value), 'class="note" text-anchor="middle"'),
    textAt(
      x(last.value),
      Number(y(last.median_ms)) - 8,
      `${last.median_ms.toFixed(0)} ms`,
      'class="note" text-anchor="middle"',
    ),
  ].join('\n');
}

/** The SVG of all CPUs' series, a row each. */
export function scaleChart(all) {
  const rows = all.map(({ cpu, scale }, row) => {
    const top = row * (panelHeight + 24);
    const panels = bySeries(scale.points).map((series, i) => panel(series, i * panelWidth, top + 24));
    return [textAt(0, top + 16, cpu, 'class="note"'), ...panels].join('\n');
  });
  const most = Math.max(...all.map(({ scale }) => bySeries(scale.points).length));
  const [width, height] = [most * panelWidth + 16, all.length * (panelHeight + 24) + 8];
  const label = 'Milliseconds of a run over picture side, proposals and width';
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="-8 0 ${width} ${height}" role="img" aria-label="${label}">
${seriesColours}
${rows.join('\n')}
</svg>
`;
}
