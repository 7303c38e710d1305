/** What the generated `engine/<module>/mobilesight.js` exports, as src/wasm/mod.rs writes it. */

/** What a run gives; the fields of the model's task are set. The arrays are the caller's own, not views of WebAssembly memory. */
export interface EngineResult {
  /** Detection: x1, y1, x2, y2 of each, source pixels. */
  boxes?: Float32Array;
  /** Detection and classification: best first. */
  scores?: Float32Array;
  /** Detection and classification: class index of each. */
  classIds?: Uint32Array;
  /** Segmentation: class of each source pixel, row by row. */
  mask?: Uint8Array;
  /** Milliseconds. */
  preprocess: number;
  network: number;
  postprocess: number;
}

/** Per-call options; indices, not names. */
export interface EngineOptions {
  scoreThreshold?: number;
  maxResults?: number;
  categoryAllowlist?: number[];
  nmsThreshold?: number;
  rpn?: { preNmsTopN?: number; postNmsTopN?: number; scoreThreshold?: number; nmsThreshold?: number };
  topK?: number;
}

/** What the engine knows of its model. */
export interface EngineInfo {
  task: 'detection' | 'segmentation' | 'classification';
  arch: string;
  labels: string[];
  dtype: 'f32' | 'int8';
  int8Gemm?: 'dot-i16' | 'dot-i8';
  source?: string;
  license?: string;
}

/**
 * A loaded model. Methods throw { code, message } objects, plain, with the codes of errors.ts; a WebAssembly.RuntimeError is
 * a trap, after which the instance must not be used again.
 */
export interface Engine {
  info(): EngineInfo;
  /** Runs on grey pictures, so that the next run is steady. */
  warmUp(): void;
  /** `rgba` is width * height * 4 bytes. */
  run(rgba: Uint8Array, width: number, height: number, options: EngineOptions): EngineResult;
  profile(rgba: Uint8Array, width: number, height: number): { name: string; ms: number }[];
  free(): void;
}

/** A model without its values; methods throw as the engine's do. */
export interface EngineRehearsal {
  /** One run on a grey picture; gives whether another one is of use. */
  run(): boolean;
  free(): void;
}

/** The module's exports. */
export interface EngineModule {
  /** wasm-bindgen's initialiser: a URL, Response or compiled module, as { module_or_path }. */
  default(options: {
    module_or_path: string | URL | Request | Response | BufferSource | WebAssembly.Module;
    memory?: WebAssembly.Memory;
  }): Promise<{ memory: WebAssembly.Memory }>;
  /** `parts`, the file, stay in JavaScript's memory: tensors are read from them one by one. `null`: the file says it itself. */
  Engine: new (parts: Uint8Array[], arch: string | null, labels: string[] | null) => Engine;
  /** `head`: the beginning of a file of `length` bytes. */
  Rehearsal: new (head: Uint8Array, length: number, arch: string | null, labels: string[] | null) => EngineRehearsal;
  /** Threaded modules only: starts rayon's pool of so many workers, which help the thread that runs the engine. */
  initThreadPool?(workers: number): Promise<unknown>;
}
