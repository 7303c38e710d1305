// The part of RESULTS.md on scale, and its chart.
import { plot, seriesColours, textAt } from './svg.mjs';
import { rateOf } from './goals.mjs';
import { circumstances, megabytes, ms, percent, table, times } from './markdown.mjs';
import { dtypes } from './models.mjs';
import { scaleNotes } from './notes.mjs';

// Time for the same work that grows by so much from one point to the next is a cliff.
const cliff = 1.15;

function bySeries(points) {
  const names = [...new Set(points.map(({ series }) => series))];
  return names.map((name) => ({ name, points: points.filter(({ series }) => series === name) }));
}

const sizeOf = ({ width, height }) => `${width} x ${height}`;
const shown = ({ value, source }) => (source ? sizeOf(source) : String(value));

/** The fastest run, which other work on the machine disturbs least; older results have none. */
const best = ({ min_ms, median_ms }) => min_ms ?? median_ms;

/** A series over what the network computes: picoseconds a MAC tell a cliff from growth. */
function workTable(dtype, points, peak) {
  const cost = (point) => (best(point) / point.macs) * 1e9;
  const steps = points.map((point, i) => (i ? cost(point) / cost(points[i - 1]) : undefined));
  const rows = points.map((point, i) => [
    shown(point),
    (point.macs / 1e9).toFixed(3),
    ms(point.median_ms),
    ms(point.min_ms),
    cost(point).toFixed(1),
    steps[i] >= cliff ? `**${times(steps[i])}**` : times(steps[i]),
    percent(point.macs / rateOf(dtype, peak) / best(point)),
    megabytes(point.peak_bytes),
  ]);
  const head = [
    'value',
    'GMAC',
    'median ms',
    'minimum ms',
    'ps a MAC',
    'over the row above',
    'of the limit',
    'memory MB',
  ];
  const cliffs = points.filter((_, i) => steps[i] >= cliff).map(shown);
  return { body: table(head, rows), cliffs };
}

/** A series over the source picture: the network is the same in all, and what else there is counts by the source's pixel. */
function sourceTable(points) {
  const cost = (point) => (point.preprocess_ms + point.postprocess_ms + point.copies_ms) / point.value;
  const rows = points.map((point) => [
    shown(point),
    ...['median_ms', 'min_ms', 'preprocess_ms', 'network_ms', 'postprocess_ms', 'copies_ms'].map((key) =>
      ms(point[key]),
    ),
    cost(point).toFixed(2),
    megabytes(point.peak_bytes),
  ]);
  const head = [
    'source',
    'median ms',
    'minimum ms',
    'preprocessing',
    'network',
    'postprocessing',
    'copies',
    'all but the network, ns a source pixel',
    'memory MB',
  ];
  return { body: table(head, rows), cliffs: [] };
}

/** What is known of a series' cliffs, in a paragraph. */
function noteOf(name, cliffs) {
  const note = scaleNotes[name];
  if (note) return `\n${note}\n`;
  return cliffs.length ? `\nCliffs at ${cliffs.join(', ')}: no reason is noted yet.\n` : '';
}

function seriesSection({ name, points }, peak) {
  const sections = dtypes.map((dtype) => {
    const of = points.filter((point) => point.dtype === dtype);
    if (of.length === 0) return '';
    const { body, cliffs } = of[0].source ? sourceTable(of) : workTable(dtype, of, peak);
    const title = `${name}, ${dtype}`;
    return `${title}:\n\n${body}${noteOf(title, cliffs)}`;
  });
  return sections.filter(Boolean).join('\n');
}

/** The tables: each series' time, memory and share of the limit. */
export function scaleSection(scale) {
  const tables = bySeries(scale.points).map((series) => seriesSection(series, scale.peak));
  return `### Scale

mobilesight, one thread; ${circumstances(scale)}. The chart is [scale.svg](scale.svg). Picoseconds a MAC and shares of the limit are
those of the fastest run; a bold step is a cliff, ${times(cliff)} or more for the same work.

${tables.join('\n')}`;
}

const [columns, cellWidth, cellHeight] = [4, 300, 300];
const headHeight = 42;
const inner = { width: 190, time: 130, memory: 60 };

/** One series: times over values, memory below, all axes from zero. */
function panel({ name, points }, left, top) {
  const lines = (valueOf, unit) =>
    dtypes.flatMap((dtype) => {
      const of = points.filter((point) => point.dtype === dtype);
      if (of.length === 0) return [];
      const last = valueOf(of.at(-1));
      const label = `${dtype} ${last.toFixed(0)} ${unit}`;
      return [{ dtype, label, points: of.map((point) => [point.value, valueOf(point)]) }];
    });
  const [first, last] = [points[0], points.at(-1)];
  const firstAt = (left + (first.value / last.value) * inner.width).toFixed(1);
  const box = { left, width: inner.width };
  const bottom = top + headHeight + inner.time + 20 + inner.memory;
  return [
    textAt(left, top + 14, name, 'class="title"'),
    plot({ ...box, top: top + headHeight, height: inner.time, lines: lines(({ median_ms }) => median_ms, 'ms') }),
    plot({ ...box, top: bottom - inner.memory, height: inner.memory, lines: lines((p) => p.peak_bytes / 1e6, 'MB') }),
    textAt(firstAt, bottom + 16, shown(first), 'class="note"'),
    textAt(left + inner.width, bottom + 16, shown(last), 'class="note" text-anchor="end"'),
  ].join('\n');
}

/** The SVG of all CPUs' series, as many in a row as fit. */
export function scaleChart(all) {
  let top = 24;
  const parts = all.map(({ cpu, scale }) => {
    const series = bySeries(scale.points);
    const start = top;
    top += 24 + Math.ceil(series.length / columns) * cellHeight;
    const at = (i) => [(i % columns) * cellWidth, start + 20 + Math.floor(i / columns) * cellHeight];
    const panels = series.map((one, i) => panel(one, ...at(i)));
    return [textAt(0, start + 4, `${cpu}, ${scale.browser}, ${scale.date}`, 'class="note"'), ...panels].join('\n');
  });
  const label = 'Milliseconds of a run, median, and below it memory, over what varies; one thread';
  const [width, height] = [columns * cellWidth + 16, top];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="-8 0 ${width} ${height}" role="img" aria-label="${label}">
${seriesColours}
${textAt(0, 12, `${label}.`, 'class="note"')}
${parts.join('\n')}
</svg>
`;
}
