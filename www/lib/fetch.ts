/** Addresses and requests, with errors that say what to do. */
import { MobilesightError, type ErrorCode } from './errors.ts';

/** `address` as a whole URL, relative to the document, or to the worker where the package is used in one. `what` names it. */
export function resolveUrl(address: string | URL, what: string, code: ErrorCode = 'E_OPTION'): string {
  const base = typeof document === 'undefined' ? globalThis.location?.href : document.baseURI;
  try {
    return new URL(address, base).href;
  } catch {
    throw new MobilesightError(code, `${what} is no address: ${String(address)}. Give a URL.`);
  }
}

/** The response of `url`; E_FETCH for the network's and HTTP's errors. `what` names the file in words; `init` is fetch's own. */
export async function fetchOk(url: string, what: string, init: RequestInit): Promise<Response> {
  const { signal } = init;
  const response = await fetch(url, init).catch((cause: unknown) => {
    if (signal?.aborted) throw cause;
    throw unreachable(url, what, cause);
  });
  if (response.ok) return response;
  const { status } = response;
  const advice = status >= 500 ? 'It is the server that fails: try again later.' : 'Check the address.';
  const message = `${what} cannot be fetched: the server answers ${status} for ${url}. ${advice}`;
  throw new MobilesightError('E_FETCH', message, { url, status });
}

/** E_FETCH for a request without an answer, or one that broke off. */
export function unreachable(url: string, what: string, cause: unknown): MobilesightError {
  const advice = 'Check the connection and the address; another origin must allow this page by CORS. Then try again.';
  return new MobilesightError('E_FETCH', `${what} cannot be fetched from ${url}. ${advice}`, { url, cause });
}
