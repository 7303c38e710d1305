/** Downloads of whole files with progress. Two at a time of the same URL share one request. */
import { unlessAborted } from './abort.ts';
import { fetchOk, unreachable } from './fetch.ts';

/** Called with bytes so far, and bytes in all where they are known. */
export type OnBytes = (loaded: number, total: number | undefined) => void;

const WHAT = 'The weights';

/** The bytes of a body, counted as they come. */
export async function readBody(response: Response, onBytes: OnBytes): Promise<Uint8Array<ArrayBuffer>> {
  const total = totalBytes(response);
  const chunks: Uint8Array[] = [];
  let loaded = 0;
  onBytes(0, total);
  const reader = response.body?.getReader();
  for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
    chunks.push(part.value);
    loaded += part.value.length;
    // A length that is too small counted compressed bytes.
    onBytes(loaded, total !== undefined && loaded <= total ? total : undefined);
  }
  return joined(chunks, loaded);
}

function totalBytes({ headers }: Response): number | undefined {
  const length = Number(headers.get('content-length'));
  return length > 0 && !headers.has('content-encoding') ? length : undefined;
}

// Memory is taken for what has come, not for what a header promises.
function joined(chunks: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** One request and those who wait for it; it ends when all of them have gone. */
class SharedDownload {
  private readonly url: string;
  private readonly controller = new AbortController();
  private readonly listeners = new Set<OnBytes>();
  private readonly bytes: Promise<Uint8Array<ArrayBuffer>>;
  private progress: Parameters<OnBytes> | undefined;

  constructor(url: string) {
    this.url = url;
    downloads.set(url, this);
    this.bytes = this.read().finally(() => this.leave());
    // Nobody may be left to hear of the failure.
    this.bytes.catch(() => undefined);
  }

  /** Bytes of the caller's own; an abort ends its wait only. */
  async join(onBytes: OnBytes, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    // A function of this call: one caller may wait twice with the same callback.
    const listener: OnBytes = (loaded, total) => onBytes(loaded, total);
    this.listeners.add(listener);
    if (this.progress) listener(...this.progress);
    try {
      const bytes = await unlessAborted(this.bytes, signal);
      // The last one takes the original.
      return this.listeners.size > 1 ? bytes.slice() : bytes;
    } finally {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) {
        this.leave();
        this.controller.abort();
      }
    }
  }

  /** Lets the next download of the URL begin anew. */
  private leave(): void {
    if (downloads.get(this.url) === this) downloads.delete(this.url);
  }

  private async read(): Promise<Uint8Array<ArrayBuffer>> {
    const { signal } = this.controller;
    const response = await fetchOk(this.url, WHAT, signal);
    const notify: OnBytes = (...progress) => {
      this.progress = progress;
      for (const listener of this.listeners) listener(...progress);
    };
    return readBody(response, notify).catch((cause: unknown) => {
      throw signal.aborted ? cause : unreachable(this.url, WHAT, cause);
    });
  }
}

const downloads = new Map<string, SharedDownload>();

/** The bytes at `url`, which the caller may transfer. Rejects with E_FETCH or the signal's error. */
export function download(url: string, onBytes: OnBytes, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const shared = downloads.get(url) ?? new SharedDownload(url);
  return shared.join(onBytes, signal);
}
