/**
 * One load of a model: the module compiles in a new worker while the weights come, and runs a model of their names and shapes as soon as these
 * are known; then the engine reads them and warms up.
 */
import { linkedController } from './abort.ts';
import { openWeights, type WeightsFile } from './assets.ts';
import { buffersOf } from './buffers.ts';
import { Connection, type WorkerLike } from './connection.ts';
import { lengthOf, type OnBytes } from './download.ts';
import type { EngineInfo } from './engine.ts';
import { abortError, MobilesightError } from './errors.ts';
import { detectEnvironment, plan, withoutThreads, type Plan } from './features.ts';
import { resolveUrl } from './fetch.ts';
import type { Calls } from './protocol.ts';
import type { CreateOptions, LoadProgress, ModelInfo, Task } from './types.ts';

/** A model that is ready to run. */
export interface Loaded {
  connection: Connection;
  info: ModelInfo;
}

/** What a load needs beside the caller's options. */
export interface LoadContext {
  task: Task;
  spawn: () => WorkerLike;
  /** Ends the load, and has no say after it. */
  signal: AbortSignal | undefined;
  report: (progress: LoadProgress) => void;
}

const CREATE_FUNCTIONS: Record<Task, string> = {
  detection: 'createDetector',
  segmentation: 'createSegmenter',
  classification: 'createClassifier',
};

/** Loads. Rejects with a MobilesightError or the signal's error; then nothing of the load is left. */
export async function load(options: CreateOptions, context: LoadContext): Promise<Loaded> {
  const first = plan(options, await detectEnvironment());
  const { controller, unlink } = linkedController(context.signal);
  const { signal } = controller;
  try {
    const starting = phase(context, 'compile', () => start(first, options, context.spawn, signal));
    const rehearsal = new Rehearsal(starting, options);
    const onBytes: OnBytes = (loaded, total, head) => {
      context.report({ phase: 'download', loaded, total });
      if (head && total !== undefined) rehearsal.begin(head, total);
    };
    const opening = openWeights(options, onBytes, signal).finally(() => rehearsal.end());
    const [started, file] = await Promise.all([starting, opening]);
    const loaded = await finish(started, file, options, context);
    if (signal.aborted) throw abortError(signal);
    return loaded;
  } catch (error) {
    // Ends the half that goes on: the worker or the download.
    controller.abort(error);
    throw error;
  } finally {
    unlink();
  }
}

/** What a worker does while the weights come. */
class Rehearsal {
  private readonly starting: Promise<Started>;
  private readonly options: CreateOptions;
  private begun = false;
  private over = false;

  constructor(starting: Promise<Started>, options: CreateOptions) {
    this.starting = starting;
    this.options = options;
  }

  /** Has the worker begin when it can, unless the weights are there before; only the first call counts. */
  begin(head: Uint8Array<ArrayBuffer>, length: number): void {
    if (this.begun) return;
    this.begun = true;
    const { arch = null, labels = null } = this.options;
    const rehearse = async () => {
      const { connection } = await this.starting;
      if (!this.over) await connection.call('rehearse', { head, length, arch, labels });
    };
    // What is wrong with the file or the worker the load will say.
    rehearse().catch(() => undefined);
  }

  /** The weights are there, or will not come. */
  end(): void {
    this.over = true;
  }
}

/** A worker whose module is compiled. */
interface Started {
  connection: Connection;
  plan: Plan;
}

async function start(
  plan: Plan,
  options: CreateOptions,
  spawn: () => WorkerLike,
  signal: AbortSignal,
): Promise<Started> {
  if (signal.aborted) throw abortError(signal);
  const connection = new Connection(spawn());
  // Also after this function, as long as the load goes on.
  signal.addEventListener('abort', () => connection.end(abortError(signal)));
  // The worker is a thread, too.
  const workers = plan.threads - 1;
  try {
    const pool = workers > 0 ? { workers, channel: connection.openChannel() } : null;
    await connection.call('start', { folder: engineFolder(options, plan), pool });
    return { connection, plan };
  } catch (error) {
    const reason = error instanceof Error ? error : new Error(String(error));
    connection.end(reason);
    if (signal.aborted || !plan.replaceable) throw error;
    return start(withoutThreads(plan, reason.message), options, spawn, signal);
  }
}

/** The module's folder; by default beside the file that this code is in. */
function engineFolder({ assetPath }: CreateOptions, { module }: Plan): string {
  // No `new URL('.', import.meta.url)`, which bundlers take for a file to copy.
  const own = import.meta.url;
  const base = assetPath === undefined ? own.slice(0, own.lastIndexOf('/')) : resolveUrl(assetPath, 'assetPath');
  return `${base.replace(/\/$/, '')}/engine/${module}/`;
}

async function finish(
  { connection, plan }: Started,
  file: WeightsFile,
  options: CreateOptions,
  context: LoadContext,
): Promise<Loaded> {
  const weightsBytes = lengthOf(file.parts);
  const { info: engine, parts } = await phase(context, 'load', () => read(connection, file, options));
  checkTask(engine, context.task);
  const [memoryBytes] = await Promise.all([
    phase(context, 'warmup', () => connection.call('warmUp', null)),
    file.accept(parts),
  ]);
  const { module, threads, fallback } = plan;
  const info: ModelInfo = { ...engine, module, threads, weightsBytes, memoryBytes };
  if (fallback) info.fallback = fallback;
  return { connection, info };
}

async function read(
  connection: Connection,
  file: WeightsFile,
  options: CreateOptions,
): Promise<Calls['load']['answer']> {
  const argument = { parts: file.parts, arch: options.arch ?? null, labels: options.labels ?? null };
  try {
    return await connection.call('load', argument, buffersOf(file.parts));
  } catch (error) {
    const refused = error instanceof MobilesightError && error.code.startsWith('E_WEIGHTS');
    // Else it may be arch or labels that do not fit a good file.
    const fileIsToBlame = options.arch === undefined && options.labels === undefined;
    if (refused && fileIsToBlame) await file.refuse();
    throw error;
  }
}

function checkTask({ task, arch }: EngineInfo, wanted: Task): void {
  if (task === wanted) return;
  const message = `These are weights of ${arch}, for ${task}. Load them by ${CREATE_FUNCTIONS[task]}.`;
  throw new MobilesightError('E_WEIGHTS_MISMATCH', message, { arch, task, wanted });
}

async function phase<T>({ report }: LoadContext, name: LoadProgress['phase'], work: () => Promise<T>): Promise<T> {
  report({ phase: name, loaded: 0, total: 1 });
  const result = await work();
  report({ phase: name, loaded: 1, total: 1 });
  return result;
}
