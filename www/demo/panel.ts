/** What was found, in words and numbers, beside the picture: the lists, the legend, the times, the engine. */
import { classColor, classesPresent } from 'mobilesight';
import type { Classification, ClassPresence, Detection, SegmentationResult, Timings } from 'mobilesight';
import { byId, element } from './dom.ts';
import { count, megabytes, milliseconds, objects, percent } from './format.ts';
import { taskTitle } from './models.ts';
import type { Outcome } from './state.ts';
import { atLeast } from './view.ts';

const results = byId('results', HTMLElement);
const legend = byId('legend', HTMLElement);
const timings = byId('timings', HTMLElement);
const engine = byId('engine', HTMLElement);

/** Rows of a list that are seen without scrolling; style.css has the height. */
const ROWS_IN_VIEW = 10;

/** Shows the outcomes that are drawn; returns them as sentences. */
export function showFindings(outcomes: readonly Outcome[], threshold: number): string {
  const lists: HTMLElement[] = [];
  const sentences: string[] = [];
  const legends: HTMLElement[] = [];
  for (const { output } of outcomes) {
    if (output.task === 'detection') {
      const found = atLeast(output.result, threshold);
      lists.push(section(count(found.length, 'object'), detectionList(found)));
      sentences.push(objects(found, threshold));
    } else if (output.task === 'segmentation') {
      const present = colouredClasses(output.result);
      legends.push(section('Mask', legendList(present)));
      sentences.push(maskSentence(present));
    } else {
      const best = output.result.classes;
      lists.push(section('Classes', barList(best)));
      sentences.push(`Classes: ${best.map(({ label, score }) => `${label} ${score.toFixed(2)}`).join(', ')}`);
    }
  }
  replaceSections(results, lists);
  replaceSections(legend, legends);
  return sentences.join('. ');
}

/** Puts `sections` into `parent`. A list that was there stays and gets the new rows: it keeps its focus, and how far it is scrolled. */
function replaceSections(parent: HTMLElement, sections: readonly HTMLElement[]): void {
  sections.forEach((section, i) => {
    const shown = parent.children[i];
    const [before, now] = [shown?.lastElementChild, section.lastElementChild];
    if (before instanceof HTMLElement && now instanceof HTMLElement && before.className === now.className) {
      before.previousElementSibling?.replaceWith(section.firstElementChild ?? '');
      before.replaceChildren(...now.childNodes);
      before.tabIndex = now.tabIndex;
    } else if (shown) shown.replaceWith(section);
    else parent.append(section);
  });
  while (parent.children.length > sections.length) parent.lastElementChild?.remove();
}

function section(title: string, list: HTMLElement): HTMLElement {
  return element('section', {}, element('h3', { textContent: title }), list);
}

function detectionList(found: readonly Detection[]): HTMLElement {
  if (found.length === 0) {
    return element('p', {
      className: 'quiet',
      textContent: 'None at this score. Lower the threshold to see unsure ones.',
    });
  }
  return scoreList(found);
}

function scoreList(scored: readonly { label: string; classId: number; score: number }[]): HTMLElement {
  const rows = scored.map(({ label, classId, score }) => listRow(classId, label, score.toFixed(2)));
  return findingsList('ol', rows);
}

function findingsList(tag: 'ol' | 'ul', rows: readonly HTMLElement[]): HTMLElement {
  const list = element(tag, { className: 'findings' }, ...rows);
  // A list that scrolls must be reachable by keyboard.
  if (rows.length > ROWS_IN_VIEW) list.tabIndex = 0;
  return list;
}

/** Likeliest first, each with a bar as long as its score. */
function barList(scored: readonly Classification[]): HTMLElement {
  const rows = scored.map(({ label, score }) => {
    const bar = element('span', { className: 'bar' });
    bar.style.width = `${100 * score}%`;
    const track = element('span', { className: 'track' }, bar);
    return element(
      'li',
      {},
      element('span', { textContent: label }),
      element('b', { textContent: score.toFixed(2) }),
      track,
    );
  });
  return element('ol', { className: 'bars' }, ...rows);
}

/** Most pixels first; the background, which a mask leaves uncoloured, needs no legend. */
function colouredClasses(result: SegmentationResult): ClassPresence[] {
  return classesPresent(result).filter(({ label }) => label !== '__background__');
}

/** The traces are in the legend only. */
function maskSentence(present: readonly ClassPresence[]): string {
  const main = present.filter(({ share }) => share >= 0.01).map(({ label, share }) => `${label} ${percent(share)}`);
  return `Mask: ${main.join(', ') || 'background'}`;
}

function legendList(present: readonly ClassPresence[]): HTMLElement {
  const rows = present.map(({ classId, label, share }) => listRow(classId, label, percent(share)));
  return findingsList('ul', rows);
}

function listRow(classId: number, label: string, figure: string): HTMLElement {
  const swatch = element('span', { className: 'swatch' });
  swatch.style.backgroundColor = classColor(classId);
  return element('li', {}, swatch, element('span', { textContent: label }), element('b', { textContent: figure }));
}

const PHASES: readonly { title: string; of: (timings: Timings) => number }[] = [
  { title: 'Decode', of: ({ decode }) => decode },
  { title: 'Preprocess', of: ({ preprocess }) => preprocess },
  { title: 'Network', of: ({ network }) => network },
  { title: 'Postprocess', of: ({ postprocess }) => postprocess },
  { title: 'Total', of: (all) => all.decode + all.preprocess + all.network + all.postprocess },
];

/**
 * Times of every model that has run on this picture, shown or not, so that models can be compared. `decode` is the page's own
 * part, which the models share.
 */
export function showTimings(outcomes: readonly Outcome[], decode: number): void {
  const heads = outcomes.map(({ row }) =>
    element('th', { scope: 'col' }, taskTitle(row.task), element('small', { textContent: row.dtype })),
  );
  const phases = PHASES.map(({ title, of }) =>
    tableRow(title, outcomes, ({ output: { result } }) =>
      milliseconds(of({ ...result.timings, decode: result.timings.decode + decode })),
    ),
  );
  timings.replaceChildren(
    element('thead', {}, element('tr', {}, element('td'), ...heads)),
    element(
      'tbody',
      {},
      ...phases,
      tableRow('Weights', outcomes, ({ info }) => megabytes(info.weightsBytes)),
      tableRow('Memory', outcomes, ({ info }) => megabytes(info.memoryBytes)),
    ),
  );
  byId('times', HTMLElement).hidden = outcomes.length === 0;
}

function tableRow(title: string, outcomes: readonly Outcome[], figure: (outcome: Outcome) => string): HTMLElement {
  const cells = outcomes.map((outcome) => element('td', { textContent: figure(outcome) }));
  const row = element('tr', {}, element('th', { scope: 'row', textContent: title }), ...cells);
  row.classList.toggle('total', title === 'Total');
  return row;
}

/** Module and threads in use, and why not more. */
export function showEngine(outcomes: readonly Outcome[]): void {
  const lines = outcomes.map(({ info }) => {
    const gemm = info.int8Gemm ? `, int8 by ${info.int8Gemm}` : '';
    return `Module ${info.module}, ${count(info.threads, 'thread')}${gemm}.`;
  });
  const notes = outcomes.flatMap(({ info }) => info.fallback ?? []);
  if (!crossOriginIsolated) {
    notes.unshift(
      'One thread: more need cross-origin isolation (the COOP and COEP headers), which this address does not send.',
    );
  }
  if (lines.length === 0) lines.push('Not loaded yet: weights are fetched at first use.');
  const unique = [...new Set([...lines, ...notes])];
  engine.replaceChildren(...unique.map((textContent) => element('p', { textContent })));
}
