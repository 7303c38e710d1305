/** The page's end of a worker: calls with answers, and its death, after which it must be replaced. */
import { MobilesightError } from './errors.ts';
import type { Answer, CallName, Calls, Failure } from './protocol.ts';

/** What is used of a Worker; tests give their own. */
export type WorkerLike = Pick<Worker, 'postMessage' | 'terminate' | 'onmessage' | 'onerror' | 'onmessageerror'>;

/** Starts the worker. */
export function spawnWorker(): WorkerLike {
  try {
    // Bundlers know this form, and only this form, as a worker to build.
    return new Worker(new URL(/* @vite-ignore */ './worker.js', import.meta.url), { type: 'module' });
  } catch (cause) {
    const message =
      'The worker cannot be started. Serve the package from the origin of the page, and allow it in worker-src of the CSP.';
    throw new MobilesightError('E_UNSUPPORTED_ENV', message, { cause });
  }
}

interface Pending {
  resolve: (value: never) => void;
  reject: (error: Error) => void;
}

/** Calls to one worker. When it dies its calls are rejected and `ended` is set. */
export class Connection {
  private readonly worker: WorkerLike;
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;
  private heard = false;
  private reason: Error | undefined;
  private channel: BroadcastChannel | undefined;

  constructor(worker: WorkerLike) {
    this.worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Answer>) => this.receive(data);
    worker.onmessageerror = () => this.end(crash('An answer of the worker could not be read.'));
    worker.onerror = (event) => {
      event.preventDefault();
      this.end(this.heard || event.message ? crash(event.message) : scriptMissing());
    };
  }

  /** Whether the worker is gone. */
  get ended(): boolean {
    return this.reason !== undefined;
  }

  /**
   * Opens the channel on which the worker's threads tell that they died, and gives its name. Their events go to the worker, which waits for
   * them and hears none.
   */
  openChannel(): string {
    const name = `mobilesight ${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = ({ data }: MessageEvent<string>) => this.end(crash(data));
    return name;
  }

  /** Posts a call. Throws DataCloneError when the argument cannot be posted. */
  call<K extends CallName>(
    name: K,
    argument: Calls[K]['argument'],
    transfer: Transferable[] = [],
  ): Promise<Calls[K]['answer']> {
    if (this.reason) return Promise.reject(this.reason);
    return new Promise((resolve, reject) => {
      const id = ++this.lastId;
      this.worker.postMessage({ id, name, argument }, transfer);
      this.pending.set(id, { resolve, reject });
    });
  }

  /** Ends the worker and rejects its calls; only the first reason counts. */
  end(reason: Error): void {
    if (this.reason) return;
    this.reason = reason;
    this.worker.terminate();
    this.channel?.close();
    for (const { reject } of this.pending.values()) reject(reason);
    this.pending.clear();
  }

  private receive(answer: Answer): void {
    this.heard = true;
    const pending = this.pending.get(answer.id);
    this.pending.delete(answer.id);
    if ('value' in answer) {
      pending?.resolve(answer.value as never);
    } else {
      const error = toError(answer.failure);
      pending?.reject(error);
      if (answer.failure.fatal) this.end(error);
    }
  }
}

function toError({ code, message, details }: Failure): MobilesightError {
  return new MobilesightError(code, message, details);
}

function crash(cause: string): MobilesightError {
  return new MobilesightError('E_WORKER_CRASHED', `The worker crashed. Call again: it is replaced. (${cause})`, {
    cause,
  });
}

function scriptMissing(): MobilesightError {
  const message =
    "The worker's script could not be loaded. Serve worker.js beside the package's index.js; with a bundler, leave the package out of its pre-bundling.";
  return new MobilesightError('E_FETCH', message);
}
