/**
 * The weights: given bytes, or a file that is fetched and kept in the Cache API. It is kept once the engine has accepted it, and
 * dropped when the engine refuses it, so that a bad answer of a server is never kept.
 */
import { abortError, MobilesightError } from './errors.ts';
import { distrust, download, joined, lengthOf, readBody, type OnBytes, type Parts } from './download.ts';
import { resolveUrl } from './fetch.ts';
import type { CreateOptions } from './types.ts';

const CACHE_NAME = 'mobilesight-weights';

/** A weights file on its way to the engine. */
export interface WeightsFile {
  /** Of the receiver's own: they may be transferred. */
  parts: Parts;
  /** The engine has accepted the file, and gives its parts back. */
  accept(parts: Parts): Promise<void>;
  /** The engine has refused the file. */
  refuse(): Promise<void>;
}

type WeightsOptions = Pick<CreateOptions, 'weights' | 'integrity' | 'cache'>;

/** Gets the weights. Rejects with E_FETCH, E_CHECKSUM, E_OPTION or the signal's error. */
export async function openWeights(
  { weights, integrity, cache = true }: WeightsOptions,
  onBytes: OnBytes,
  signal?: AbortSignal,
): Promise<WeightsFile> {
  if (typeof weights !== 'string' && !(weights instanceof URL)) return givenFile(weights, integrity, onBytes);

  const url = resolveUrl(weights, 'weights');
  const store = cache ? await openCache(url) : undefined;
  const kept = await store?.match(url).catch(() => undefined);
  if (kept) {
    const parts = await readBody(kept, onBytes).catch(() => undefined);
    if (signal?.aborted) throw abortError(signal);
    if (parts && (!integrity || (await sha256(parts)) === integrity)) return file(parts, url, store, true);
    // Else the file has changed at its address since it was kept, or the cache is broken; accepting the new one replaces it.
    distrust(url);
  }
  const parts = await download(url, onBytes, signal);
  try {
    if (integrity) await checkHash(parts, integrity, url);
  } catch (error) {
    distrust(url);
    throw error;
  }
  return file(parts, url, store, false);
}

function file(parts: Parts, url: string, store: Cache | undefined, kept: boolean): WeightsFile {
  return {
    parts,
    async accept(parts) {
      // A full disk is no reason to fail: the next visit fetches again.
      if (!kept) await store?.put(url, response(parts)).catch(() => undefined);
    },
    async refuse() {
      distrust(url);
      await store?.delete(url).catch(() => undefined);
    },
  };
}

function response(parts: Parts): Response {
  return new Response(new Blob(parts), { headers: { 'content-length': String(lengthOf(parts)) } });
}

// The caller's bytes are copied: what is transferred is lost to its owner.
async function givenFile(
  weights: ArrayBuffer | Uint8Array,
  integrity: string | undefined,
  onBytes: OnBytes,
): Promise<WeightsFile> {
  const view = ArrayBuffer.isView(weights) ? weights : new Uint8Array(weights);
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
  if (bytes.length === 0) {
    throw new MobilesightError('E_OPTION', 'weights holds no bytes: it is empty, or was transferred. Give it whole.');
  }
  if (integrity) await checkHash([bytes], integrity, 'the given bytes');
  onBytes(bytes.length, bytes.length, undefined);
  return { parts: [bytes], accept: async () => {}, refuse: async () => {} };
}

// Insecure contexts have no Cache API, sandboxed frames may not open it, and it keeps http(s) only.
async function openCache(url: string): Promise<Cache | undefined> {
  if (typeof caches === 'undefined' || !/^https?:/.test(url)) return undefined;
  return caches.open(CACHE_NAME).catch(() => undefined);
}

async function sha256(parts: Parts): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) {
    const message = 'integrity can be checked on https or localhost only. Serve the page so, or leave integrity out.';
    throw new MobilesightError('E_UNSUPPORTED_ENV', message);
  }
  // It takes one piece only.
  const digest = new Uint8Array(
    await subtle.digest('SHA-256', parts.length === 1 && parts[0] ? parts[0] : joined(parts)),
  );
  return `sha256-${btoa(String.fromCharCode(...digest))}`;
}

async function checkHash(parts: Parts, integrity: string, from: string): Promise<void> {
  const actual = await sha256(parts);
  if (actual === integrity) return;
  const message = `The weights from ${from} are not those of integrity. Use the right file, or its integrity: ${actual}.`;
  throw new MobilesightError('E_CHECKSUM', message, {
    url: from,
    expected: integrity,
    actual,
    bytes: lengthOf(parts),
  });
}
