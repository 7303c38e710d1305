/** The errors that the wrapper throws: one class with a stable code, and the platform's AbortError. */

/** What can go wrong. */
export type ErrorCode =
  /** The weights, a module or a picture could not be fetched: network, 404, CORS. */
  | 'E_FETCH'
  /** The weights end before their own header says. */
  | 'E_WEIGHTS_TRUNCATED'
  /** The weights are whole but of another kind, task or architecture. */
  | 'E_WEIGHTS_MISMATCH'
  /** The weights are not those of `integrity`. */
  | 'E_CHECKSUM'
  /** The picture is empty, closed, broken or cannot be read. */
  | 'E_IMAGE'
  /** The browser has no WebAssembly SIMD. */
  | 'E_NO_SIMD'
  /** The memory did not suffice. */
  | 'E_OOM'
  /** The worker died; it is replaced at the next call. */
  | 'E_WORKER_CRASHED'
  /** More requests wait than `maxQueue`. */
  | 'E_QUEUE_FULL'
  /** The model was closed. */
  | 'E_CLOSED'
  /** The environment lacks what is needed: no Worker, no WebAssembly. */
  | 'E_UNSUPPORTED_ENV'
  /** An option is unknown or out of its range. */
  | 'E_OPTION'
  /** A defect of mobilesight. */
  | 'E_INTERNAL';

/** An error a caller can act on: `code` is stable, `message` says what to do. */
export class MobilesightError extends Error {
  /** The stable code. */
  readonly code: ErrorCode;
  /** What is known beside the message: url, status, sizes. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, details: Record<string, unknown> = {}) {
    super(message);
    this.name = 'MobilesightError';
    this.code = code;
    this.details = details;
  }
}

/** The error of an aborted call: the signal's own reason where that is an error, else an AbortError. */
export function abortError(signal?: AbortSignal): Error {
  return signal?.reason instanceof Error ? signal.reason : new DOMException('The call was aborted.', 'AbortError');
}
