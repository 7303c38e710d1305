/** What goes on and what went wrong: the status line, the progress bar, the alert. */
import { MobilesightError } from 'mobilesight';
import type { LoadProgress } from 'mobilesight';
import { byId, element } from './dom.ts';
import { megabytes } from './format.ts';
import { taskTitle, type ModelRow } from './models.ts';

const status = byId('status', HTMLElement);
const progress = byId('progress', HTMLElement);
const progressText = byId('progress-text', HTMLElement);
const progressBar = byId('progress-bar', HTMLProgressElement);
const alert = byId('error', HTMLElement);
const messages = byId('error-messages', HTMLElement);

const PHASES: Record<LoadProgress['phase'], string> = {
  download: 'fetching the weights',
  compile: 'compiling the engine',
  load: 'loading the weights',
  warmup: 'first runs, on grey pictures',
};

/** Says `text` to eyes and screen readers; the same text twice is not said twice. */
export function say(text: string): void {
  if (status.textContent !== text) status.textContent = text;
}

/** How far the load of a model has got. */
export function showProgress(row: ModelRow, { phase, loaded, total }: LoadProgress): void {
  const all = total ?? row.bytes;
  const counted = phase === 'download';
  const bytes = counted ? `, ${(Math.min(loaded, all) / 1e6).toFixed(1)} of ${megabytes(all)}` : '';
  progressText.textContent = `${taskTitle(row.task)}: ${PHASES[phase]}${bytes}`;
  // Without a value the bar shows that something goes on, not how far.
  if (counted) Object.assign(progressBar, { max: all, value: Math.min(loaded, all) });
  else progressBar.removeAttribute('value');
  progress.hidden = false;
}

export function hideProgress(): void {
  progress.hidden = true;
}

/** Adds an error to the alert; `task` says whose it is. */
export function showError(error: unknown, row?: ModelRow): void {
  const message = error instanceof Error ? error.message : String(error);
  const line = element('p', {}, row ? `${taskTitle(row.task)}: ${message} ` : `${message} `);
  if (error instanceof MobilesightError) line.append(element('code', { textContent: error.code }));
  messages.append(line);
  alert.hidden = false;
}

export function clearErrors(): void {
  alert.hidden = true;
  messages.replaceChildren();
}
