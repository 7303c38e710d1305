/** The tasks and their models: a switch for each task, and beneath it its models, of which one is chosen. */
import { element } from './dom.ts';
import { megabytes, milliseconds } from './format.ts';
import type { ModelRow } from './models.ts';
import type { Choice, RunTimes } from './state.ts';
import { BUILDERS } from './torchvision.ts';

/** Where the time of a model is shown. */
type TimeCells = Map<ModelRow, HTMLElement>;

/**
 * Fills `menu` from `choices`, changes them as the user does, and then calls `onChange`. Returns what shows the models' times
 * anew.
 */
export function buildMenu(
  menu: HTMLElement,
  choices: readonly Choice[],
  onChange: () => void,
): (times: RunTimes) => void {
  const cells: TimeCells = new Map();
  const note = element('p', { className: 'quiet', hidden: true });
  note.textContent = 'Times: the network alone, median of the runs since the page was opened.';
  const tasks = choices.map((choice) =>
    element('div', { className: 'task' }, taskSwitch(choice, onChange), ...models(choice, cells, onChange)),
  );
  menu.replaceChildren(...tasks, note);
  return (times) => {
    for (const [row, cell] of cells) {
      const median = times.median(row);
      if (median !== undefined) cell.textContent = milliseconds(median);
    }
    note.hidden = ![...cells.keys()].some((row) => times.median(row) !== undefined);
  };
}

function taskSwitch(choice: Choice, onChange: () => void): HTMLElement {
  const box = element('input', { type: 'checkbox', id: `show-${choice.task}`, checked: choice.shown });
  box.disabled = choice.row === undefined;
  box.addEventListener('change', () => {
    choice.shown = box.checked;
    onChange();
  });
  return element('label', { className: 'switch' }, box, element('span', { textContent: choice.title }));
}

/** The models whose weights are there, then TorchVision's others. */
function models(choice: Choice, cells: TimeCells, onChange: () => void): HTMLElement[] {
  const titles = [...new Set(choice.rows.map(({ title }) => title))];
  const absent = BUILDERS.filter(({ task, title }) => task === choice.task && !titles.includes(title));
  const lists = titles.map((title) => modelList(title, choice, cells, onChange));
  return absent.length > 0 ? [...lists, absentModels(absent.map(({ title }) => title))] : lists;
}

/** Models of one title differ in dtype. */
function modelList(title: string, choice: Choice, cells: TimeCells, onChange: () => void): HTMLElement {
  const rows = choice.rows.filter((row) => row.title === title);
  const list = element('fieldset', {}, element('legend', { className: 'quiet', textContent: title }));
  list.append(...rows.map((row) => modelButton(choice, row, cells, onChange)));
  return list;
}

/** What could be chosen, were its weights there. */
function absentModels(titles: readonly string[]): HTMLElement {
  const buttons = titles.map((title) => {
    const button = element('input', { type: 'radio', disabled: true });
    return element('label', { className: 'model absent' }, button, element('span', { textContent: title }));
  });
  const legend = element('legend', { className: 'quiet' }, 'Weights by ');
  legend.append(element('code', { textContent: 'npm run weights' }));
  return element('fieldset', {}, legend, ...buttons);
}

function modelButton(choice: Choice, row: ModelRow, cells: TimeCells, onChange: () => void): HTMLElement {
  const id = `model-${choice.task}-${choice.rows.indexOf(row)}`;
  const button = element('input', { type: 'radio', id, name: `model-${choice.task}`, checked: row === choice.row });
  button.addEventListener('change', () => {
    choice.row = row;
    onChange();
  });
  const time = element('span');
  cells.set(row, time);
  const size = element('span', { textContent: megabytes(row.bytes) });
  return element('label', { className: 'model' }, button, element('span', { textContent: row.dtype }), size, time);
}
