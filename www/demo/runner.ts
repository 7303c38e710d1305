/**
 * Loads models on first use and runs them. A task holds one model at a time: choosing another one frees the former, so that
 * comparing models does not add up their memory.
 */
import { createClassifier, createDetector, createSegmenter } from 'mobilesight';
import type { CreateOptions, LoadProgress, Model, Task } from 'mobilesight';
import type { ModelRow } from './models.ts';
import type { Outcome, Output } from './state.ts';

/** The slider's least value: the network runs once with it, and the slider then filters. */
const LEAST_SCORE = 0.05;

interface Loaded {
  model: Model;
  run(image: ImageBitmap, signal: AbortSignal): Promise<Output>;
}

const loaders: Record<Task, (options: CreateOptions) => Promise<Loaded>> = {
  async detection(options) {
    const model = await createDetector(options);
    return {
      model,
      run: async (image, signal) => ({
        task: 'detection',
        result: await model.detect(image, { scoreThreshold: LEAST_SCORE, signal }),
      }),
    };
  },
  async segmentation(options) {
    const model = await createSegmenter(options);
    return {
      model,
      run: async (image, signal) => ({ task: 'segmentation', result: await model.segment(image, { signal }) }),
    };
  },
  async classification(options) {
    const model = await createClassifier(options);
    return {
      model,
      run: async (image, signal) => ({ task: 'classification', result: await model.classify(image, { signal }) }),
    };
  },
};

type OnProgress = (progress: LoadProgress) => void;

interface Slot {
  row: ModelRow;
  controller: AbortController;
  loaded: Promise<Loaded>;
  /** The latest caller's `onProgress`: one that gave up no longer listens. */
  listener: { onProgress: OnProgress };
}

const slots = new Map<Task, Slot>();

/** Ends a load that goes on, or the model that it gave. */
function free(slot: Slot): void {
  slot.controller.abort();
  // Neither an aborted load nor a failing end concerns anybody any more.
  slot.loaded.then(({ model }) => model.close()).catch(() => undefined);
}

/** The model of `row`, loaded once; a load that failed is tried anew at the next call. */
function load(row: ModelRow, onProgress: OnProgress): Promise<Loaded> {
  const former = slots.get(row.task);
  if (former?.row === row) {
    former.listener.onProgress = onProgress;
    return former.loaded;
  }
  if (former) free(former);

  const controller = new AbortController();
  const listener = { onProgress };
  const loaded = loaders[row.task]({
    weights: row.file,
    signal: controller.signal,
    onProgress: (progress) => listener.onProgress(progress),
  });
  const slot: Slot = { row, controller, loaded, listener };
  slots.set(row.task, slot);
  loaded.catch(() => {
    if (slots.get(row.task) === slot) slots.delete(row.task);
  });
  return loaded;
}

/** What the caller hears of a run. */
interface RunEvents {
  onProgress: OnProgress;
  /** The model is loaded; the network starts. */
  onStart: () => void;
}

/** Runs the model of `row` on `image`. After an abort nothing runs, but the load goes on: the next run needs it. */
export async function run(
  row: ModelRow,
  image: ImageBitmap,
  signal: AbortSignal,
  { onProgress, onStart }: RunEvents,
): Promise<Outcome> {
  const loaded = await load(row, onProgress);
  if (signal.aborted) throw new DOMException('The run was aborted.', 'AbortError');
  onStart();
  const output = await loaded.run(image, signal);
  return { row, output, info: loaded.model.info() };
}
