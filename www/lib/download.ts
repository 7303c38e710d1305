/** Downloads of whole files with progress, in the parts in which they come. Two at a time of the same URL share one request. */
import { unlessAborted } from './abort.ts';
import { fetchOk, unreachable } from './fetch.ts';

/** A file's bytes, one part after the other. */
export type Parts = Uint8Array<ArrayBuffer>[];

/** Called with bytes so far, bytes in all where they are known, and the file's header once it is there. */
export type OnBytes = (loaded: number, total: number | undefined, head: Uint8Array<ArrayBuffer> | undefined) => void;

const WHAT = 'The weights';

/** The parts of a body, counted as they come. */
export async function readBody(response: Response, onBytes: OnBytes): Promise<Parts> {
  const total = totalBytes(response);
  const parts: Parts = [];
  let loaded = 0;
  let head: Uint8Array<ArrayBuffer> | undefined;
  onBytes(0, total, head);
  const reader = (response.body as ReadableStream<Parts[number]> | null)?.getReader();
  for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
    parts.push(part.value);
    loaded += part.value.length;
    head ??= header(parts);
    // A length that is too small counted compressed bytes.
    onBytes(loaded, total !== undefined && loaded <= total ? total : undefined, head);
  }
  return parts;
}

/** A longer header than this is not waited for. */
const LONGEST_HEADER = 1 << 20;

/** The header of a .safetensors file that begins with `parts`, its own copy, once all of it is there. */
function header(parts: Parts): Uint8Array<ArrayBuffer> | undefined {
  const first = parts[0];
  if (!first || first.length < 8) return undefined;
  const end = 8 + Number(new DataView(first.buffer, first.byteOffset).getBigUint64(0, true));
  if (end > LONGEST_HEADER || lengthOf(parts) < end) return undefined;
  return joined(parts).slice(0, end);
}

/** Bytes in all. */
export function lengthOf(parts: Parts): number {
  return parts.reduce((length, part) => length + part.length, 0);
}

function totalBytes({ headers }: Response): number | undefined {
  const length = Number(headers.get('content-length'));
  return length > 0 && !headers.has('content-encoding') ? length : undefined;
}

/** A copy in one piece. */
export function joined(parts: Parts): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthOf(parts));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** One request and those who wait for it; it ends when all of them have gone. */
class SharedDownload {
  private readonly url: string;
  private readonly controller = new AbortController();
  private readonly listeners = new Set<OnBytes>();
  private readonly parts: Promise<Parts>;
  private progress: Parameters<OnBytes> | undefined;

  constructor(url: string) {
    this.url = url;
    downloads.set(url, this);
    this.parts = this.read().finally(() => this.leave());
    // Nobody may be left to hear of the failure.
    this.parts.catch(() => undefined);
  }

  /** Parts of the caller's own; an abort ends its wait only. */
  async join(onBytes: OnBytes, signal?: AbortSignal): Promise<Parts> {
    // A function of this call: one caller may wait twice with the same callback.
    const listener: OnBytes = (...progress) => onBytes(...progress);
    this.listeners.add(listener);
    if (this.progress) listener(...this.progress);
    try {
      const parts = await unlessAborted(this.parts, signal);
      // The last one takes the originals.
      return this.listeners.size > 1 ? parts.map((part) => part.slice()) : parts;
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

  private async read(): Promise<Parts> {
    const { signal } = this.controller;
    const cache = distrusted.has(this.url) ? 'reload' : 'default';
    const response = await fetchOk(this.url, WHAT, { signal, cache });
    const notify: OnBytes = (...progress) => {
      this.progress = progress;
      for (const listener of this.listeners) listener(...progress);
    };
    const parts = await readBody(response, notify).catch((cause: unknown) => {
      throw signal.aborted ? cause : unreachable(this.url, WHAT, cause);
    });
    distrusted.delete(this.url);
    return parts;
  }
}

const downloads = new Map<string, SharedDownload>();
const distrusted = new Set<string>();

/** Has the next download of `url` ask its server: what came last, perhaps from the browser's HTTP cache, is of no use. */
export function distrust(url: string): void {
  distrusted.add(url);
}

/** The file at `url`, which the caller may transfer. Rejects with E_FETCH or the signal's error. */
export function download(url: string, onBytes: OnBytes, signal?: AbortSignal): Promise<Parts> {
  const shared = downloads.get(url) ?? new SharedDownload(url);
  return shared.join(onBytes, signal);
}
