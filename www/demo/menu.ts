/** The tasks and their models: a switch for each task, and a list where a task has more than one model. */
import { element } from './dom.ts';
import { megabytes } from './format.ts';
import type { ModelRow } from './models.ts';
import type { Choice } from './state.ts';

/** What tells models of a task apart comes first: a phone cuts the rest. */
function describe({ title, dtype, bytes }: ModelRow): string {
  return `${dtype}, ${megabytes(bytes)}: ${title}`;
}

/** Fills `menu` from `choices`, changes them as the user does, and then calls `onChange`. */
export function buildMenu(menu: HTMLElement, choices: readonly Choice[], onChange: () => void): void {
  menu.replaceChildren(
    ...choices.map((choice) =>
      element('div', { className: 'task' }, taskSwitch(choice, onChange), modelList(choice, onChange)),
    ),
  );
}

function taskSwitch(choice: Choice, onChange: () => void): HTMLElement {
  const box = element('input', { type: 'checkbox', id: `show-${choice.task}`, checked: choice.shown });
  box.addEventListener('change', () => {
    choice.shown = box.checked;
    onChange();
  });
  return element('label', { className: 'switch' }, box, element('span', { textContent: choice.title }));
}

function modelList(choice: Choice, onChange: () => void): HTMLElement {
  if (choice.rows.length === 1) {
    const { title, dtype, bytes } = choice.row;
    const size = element('span', { className: 'nowrap', textContent: `${dtype}, ${megabytes(bytes)}` });
    return element('p', { className: 'quiet' }, `${title}, `, size);
  }
  const options = choice.rows.map((row, index) => element('option', { value: `${index}`, textContent: describe(row) }));
  const list = element('select', { id: `model-${choice.task}` }, ...options);
  list.setAttribute('aria-label', `${choice.title}: model`);
  list.addEventListener('change', () => {
    choice.row = choice.rows[list.selectedIndex] ?? choice.row;
    onChange();
  });
  return list;
}
