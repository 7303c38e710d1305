/** The messages between connection.ts on the page's side and worker.ts: calls, and answers by the call's id. */
import type { Parts } from './download.ts';
import type { EngineInfo, EngineOptions, EngineResult } from './engine.ts';
import type { ErrorCode } from './errors.ts';

/** RGBA bytes of a picture, row by row, width * height * 4. */
export interface Rgba {
  rgba: Uint8Array<ArrayBuffer>;
  width: number;
  height: number;
}

/** A picture on its way to the worker, which does what is left of the decoding. */
export type Picture =
  { kind: 'rgba'; pixels: Rgba } | { kind: 'bitmap'; bitmap: ImageBitmap } | { kind: 'blob'; blob: Blob };

/** What a run gives, with what only the worker knows. */
export interface RunAnswer extends EngineResult {
  /** Of the source picture. */
  width: number;
  height: number;
  /** Milliseconds from the picture to RGBA. */
  decode: number;
  /** Bytes of WebAssembly memory. */
  memoryBytes: number;
}

/** The threads beside the worker's own. */
export interface Pool {
  workers: number;
  /** Of the BroadcastChannel on which one of them tells that it died; build.mjs has it do so. */
  channel: string;
}

/** The calls, in the order of a model's life. */
export interface Calls {
  /** Compiles the module in `folder`, a URL with a last slash, and starts its pool. */
  start: { argument: { folder: string; pool: Pool | null }; answer: null };
  /** Runs a model of the file that begins with `head` and has `length` bytes, without its values, until the load comes; gives how often. */
  rehearse: {
    argument: { head: Uint8Array<ArrayBuffer>; length: number; arch: string | null; labels: string[] | null };
    answer: number;
  };
  /** Reads the weights; `parts` come back, so that neither side needs a copy. */
  load: {
    argument: { parts: Parts; arch: string | null; labels: string[] | null };
    answer: { info: EngineInfo; parts: Parts };
  };
  /** Runs on grey pictures until runs are steady; gives the bytes of WebAssembly memory. */
  warmUp: { argument: null; answer: number };
  run: { argument: { picture: Picture; options: EngineOptions }; answer: RunAnswer };
  profile: { argument: { picture: Picture }; answer: { name: string; ms: number }[] };
}

/** The name of a call. */
export type CallName = keyof Calls;

/** A call as it is posted; worker.ts needs the pairing of name and argument. */
export type Call<K extends CallName = CallName> = {
  [P in K]: { id: number; name: P; argument: Calls[P]['argument'] };
}[K];

/** An error as it is posted: a class would arrive as a plain Error. */
export interface Failure {
  code: ErrorCode;
  message: string;
  details: Record<string, unknown>;
  /** The module must not be used again. */
  fatal: boolean;
}

/** An answer as it is posted. */
export type Answer = { id: number; value: unknown } | { id: number; failure: Failure };
