/** What the page knows: the picture, what the models said of it, and the user's choices. */
import type { ClassificationResult, DetectionResult, ModelInfo, SegmentationResult, Task } from 'mobilesight';
import { TASKS, type ModelRow } from './models.ts';
import type { Sample } from './samples.ts';

/** A decoded picture. */
export interface Picture {
  image: ImageBitmap;
  name: string;
  /** Which sample it is, if it is one. */
  sample?: Sample;
  /** Milliseconds from bytes to `image`. */
  decode: number;
}

/** What a model gave. */
export type Output =
  | { task: 'detection'; result: DetectionResult }
  | { task: 'segmentation'; result: SegmentationResult }
  | { task: 'classification'; result: ClassificationResult };

/** What a model gave, and on what it ran. */
export interface Outcome {
  row: ModelRow;
  output: Output;
  info: ModelInfo;
}

/** A picture with what has been found on it so far, by model. */
export interface Shot {
  picture: Picture;
  outcomes: Map<ModelRow, Outcome>;
}

/** A task's place in the menu. */
export interface Choice {
  task: Task;
  title: string;
  shown: boolean;
  rows: readonly ModelRow[];
  /** The chosen one; none where no weights of the task are there. */
  row: ModelRow | undefined;
}

/** The tasks in the order in which they run, each with those of `models` that are its own. */
export function initialChoices(models: readonly ModelRow[]): Choice[] {
  return TASKS.map(({ task, title, shown }) => {
    const rows = models.filter((row) => row.task === task);
    return { task, title, shown, rows, row: rows[0] };
  });
}

/** All outcomes, shown or not, in the menu's order. */
export function allOutcomes({ outcomes }: Shot, choices: readonly Choice[]): Outcome[] {
  return choices.flatMap(({ rows }) => rows.flatMap((row) => outcomes.get(row) ?? []));
}

/** The models to run: the chosen one of each task that is shown. */
export function shownRows(choices: readonly Choice[]): ModelRow[] {
  return choices.flatMap(({ shown, row }) => (shown && row ? [row] : []));
}

/** The outcomes to draw: of the chosen model of each task that is shown. */
export function shownOutcomes(shot: Shot, choices: readonly Choice[]): Outcome[] {
  return shownRows(choices).flatMap((row) => shot.outcomes.get(row) ?? []);
}

/** Of a camera's many runs, those that count. */
const LATEST = 25;

/** How long the networks took in the runs since the page was opened, in milliseconds. */
export class RunTimes {
  private readonly times = new Map<ModelRow, number[]>();

  note({ row, output }: Outcome): void {
    const earlier = this.times.get(row) ?? [];
    this.times.set(row, [...earlier, output.result.timings.network].slice(-LATEST));
  }

  /** None of a model that has not run. */
  median(row: ModelRow): number | undefined {
    const sorted = [...(this.times.get(row) ?? [])].sort((a, b) => a - b);
    return sorted[sorted.length >> 1];
  }
}

/** Where the page has got to, for tests and screenshots: `data-state` of the document's element. */
type PageState = 'idle' | 'loading' | 'running' | 'done' | 'error';

export function setPageState(state: PageState): void {
  document.documentElement.dataset['state'] = state;
}
