/** Requests in order, one at a time, because a model has one worker. */
import { unlessAborted } from './abort.ts';
import { abortError, MobilesightError } from './errors.ts';

interface Entry {
  /** Runs the request; settles when the worker is free again, and never rejects. */
  run: () => Promise<void>;
  reject: (error: Error) => void;
}

/** Runs what is added in the order of adding. */
export class Queue {
  private readonly maxWaiting: number;
  private running: Entry | undefined;
  private waiting: Entry[] = [];
  private closedBy: Error | undefined;

  /** `maxWaiting` requests may wait beside the running one. */
  constructor(maxWaiting: number) {
    this.maxWaiting = maxWaiting;
  }

  /** Throws E_CLOSED or E_QUEUE_FULL where `add` would reject. */
  check(): void {
    if (this.closedBy) throw this.closedBy;
    if (this.running && this.waiting.length >= this.maxWaiting) {
      const message = `${this.maxWaiting} requests wait already. Await earlier ones first, or raise maxQueue.`;
      throw new MobilesightError('E_QUEUE_FULL', message, { maxQueue: this.maxWaiting });
    }
  }

  /**
   * Calls `work` at its turn. An abort drops a request that waits; of one that runs it ends the wait, and the next begins when
   * `work` has settled.
   */
  add<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.check();
      if (signal?.aborted) throw abortError(signal);
      const drop = () => {
        this.waiting = this.waiting.filter((other) => other !== entry);
        if (signal) reject(abortError(signal));
      };
      const run = async () => {
        signal?.removeEventListener('abort', drop);
        const done = work();
        unlessAborted(done, signal).then(resolve, reject);
        await done.catch(() => undefined);
      };
      const entry = {
        run,
        reject: (error: Error) => {
          signal?.removeEventListener('abort', drop);
          reject(error);
        },
      };
      signal?.addEventListener('abort', drop);
      this.waiting.push(entry);
      void this.next();
    });
  }

  /** Rejects what waits; the running request and later ones go on. */
  rejectWaiting(error: Error): void {
    const rejected = this.waiting;
    this.waiting = [];
    for (const { reject } of rejected) reject(error);
  }

  /** Rejects everything, now and later. */
  close(error: Error): void {
    this.closedBy ??= error;
    this.running?.reject(error);
    this.rejectWaiting(error);
  }

  private async next(): Promise<void> {
    if (this.running) return;
    this.running = this.waiting.shift();
    if (!this.running) return;
    await this.running.run();
    this.running = undefined;
    void this.next();
  }
}
