/** A model as the page has it: its queue, its worker, and the worker's replacement after a crash. */
import type { Connection, WorkerLike } from './connection.ts';
import type { EngineOptions } from './engine.ts';
import { abortError, MobilesightError } from './errors.ts';
import { capture, discard, taintedError, transfers } from './image.ts';
import { load } from './loader.ts';
import { checkCreateOptions, DEFAULT_MAX_QUEUE } from './options.ts';
import type { Picture, RunAnswer } from './protocol.ts';
import { Queue } from './queue.ts';
import type { CreateOptions, ImageSource, LoadProgress, ModelInfo, Task } from './types.ts';

/** What a call does with the worker and the picture, when its turn comes. */
type Work<T> = (connection: Connection, picture: Picture) => Promise<T>;

/** A loaded model. */
export class Client {
  private readonly task: Task;
  private readonly options: CreateOptions;
  private readonly spawn: () => WorkerLike;
  private readonly queue: Queue;
  private readonly closing = new AbortController();
  private connection: Connection | undefined;
  private loadedInfo: ModelInfo | undefined;

  private constructor(task: Task, options: CreateOptions, spawn: () => WorkerLike) {
    // What a crash's replacement is loaded with must not change with the caller's object.
    this.options = { ...options };
    this.task = task;
    this.spawn = spawn;
    this.queue = new Queue(options.maxQueue ?? DEFAULT_MAX_QUEUE);
  }

  /** Loads a model. */
  static async create(task: Task, options: CreateOptions, spawn: () => WorkerLike): Promise<Client> {
    checkCreateOptions(options);
    if (options.signal?.aborted) throw abortError(options.signal);
    const client = new Client(task, options, spawn);
    await client.load(options.signal, reporter(options.onProgress));
    return client;
  }

  /** What is loaded. */
  info(): ModelInfo {
    if (!this.loadedInfo) throw new MobilesightError('E_INTERNAL', 'info() came before the load.');
    return { ...this.loadedInfo, labels: [...this.loadedInfo.labels] };
  }

  /** One run on a picture. */
  run(image: ImageSource, options: EngineOptions, signal: AbortSignal | undefined): Promise<RunAnswer> {
    return this.withPicture(image, signal, async (connection, picture) => {
      const answer = await connection.call('run', { picture, options }, transfers(picture));
      if (this.loadedInfo) this.loadedInfo.memoryBytes = answer.memoryBytes;
      return answer;
    });
  }

  /** Milliseconds of each layer. */
  profile(image: ImageSource, signal: AbortSignal | undefined): Promise<{ name: string; ms: number }[]> {
    return this.withPicture(image, signal, (connection, picture) =>
      connection.call('profile', { picture }, transfers(picture)),
    );
  }

  /** Ends the worker; calls that run or wait are rejected. */
  async close(): Promise<void> {
    const error = new MobilesightError('E_CLOSED', 'The model is closed. Create a new one.');
    this.queue.close(error);
    this.closing.abort(error);
    this.connection?.end(error);
  }

  private async withPicture<T>(image: ImageSource, signal: AbortSignal | undefined, work: Work<T>): Promise<T> {
    this.queue.check();
    if (signal?.aborted) throw abortError(signal);
    // Now, not at the call's turn: the caller may draw the next frame in between.
    const captured = capture(image, signal);
    captured.catch(() => undefined);
    const result = this.queue.add(async () => {
      const picture = await captured;
      if (signal?.aborted) throw abortError(signal);
      return this.withConnection(picture, work);
    }, signal);
    return result.finally(() => {
      captured.then(discard, () => undefined);
    });
  }

  private async withConnection<T>(picture: Picture, work: Work<T>): Promise<T> {
    let connection = this.connection;
    try {
      if (!connection || connection.ended) connection = await this.load(this.closing.signal);
      return await work(connection, picture);
    } catch (error) {
      if (error instanceof DOMException && error.name === 'DataCloneError') throw taintedError(error);
      // Those that wait were sent to the worker that died.
      if (connection?.ended && error instanceof Error) this.queue.rejectWaiting(error);
      throw error;
    }
  }

  private async load(signal?: AbortSignal, report: (progress: LoadProgress) => void = () => {}): Promise<Connection> {
    const { connection, info } = await load(this.options, { task: this.task, spawn: this.spawn, signal, report });
    this.connection = connection;
    this.loadedInfo = info;
    return connection;
  }
}

/** The caller's callback; what it throws is the page's error, not the load's. */
function reporter(onProgress: CreateOptions['onProgress']): (progress: LoadProgress) => void {
  return (progress) => {
    try {
      onProgress?.(progress);
    } catch (error) {
      setTimeout(() => {
        throw error;
      });
    }
  };
}
