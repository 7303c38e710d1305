/** The worker of one model: decodes pictures, loads the module, runs. It answers calls; client.ts decides all else. */
import { buffersOf } from './buffers.ts';
import type { Engine, EngineModule, EngineRehearsal, EngineResult } from './engine.ts';
import { MobilesightError, type ErrorCode } from './errors.ts';
import { toRgba } from './decode.ts';
import type { Answer, Call, CallName, Calls, Failure, Pool, RunAnswer } from './protocol.ts';

/** What a handler gives: the answer, and what of it is moved. */
interface Answered<T> {
  value: T;
  transfer?: Transferable[];
}

/** Threads start in well under a second; an engine that cannot start them says nothing at all. */
const POOL_TIMEOUT = 10_000;

let module: EngineModule | undefined;
let memory: WebAssembly.Memory | undefined;
let engine: Engine | undefined;
/** Whether the weights have come, and the end of what runs until then. */
let loading = false;
let rehearsed: Promise<number> = Promise.resolve(0);

function loaded(): Engine {
  if (!engine) throw new MobilesightError('E_INTERNAL', 'A call came before the load.');
  return engine;
}

const handlers: { [K in CallName]: (argument: Calls[K]['argument']) => Promise<Answered<Calls[K]['answer']>> } = {
  async start({ folder, pool }) {
    const url = `${folder}mobilesight_bg.wasm`;
    // Beside the script, which only then says what to do with it.
    const binary = fetch(url);
    binary.catch(() => undefined);
    module = await importModule(`${folder}mobilesight.js`);
    ({ memory } = await compile(module, url, binary));
    if (pool) await startPool(module, pool);
    return { value: null };
  },

  async rehearse({ head, length, arch, labels }) {
    if (module && !loading) rehearsed = rehearse(new module.Rehearsal(head, length, arch, labels));
    return { value: await rehearsed };
  },

  async load({ parts, arch, labels }) {
    loading = true;
    // It gives its memory back; what went wrong in it does not matter here.
    await rehearsed.catch(() => 0);
    if (!module) throw new MobilesightError('E_INTERNAL', 'A load came before the start.');
    engine = new module.Engine(parts, arch, labels);
    return { value: { info: engine.info(), parts }, transfer: buffersOf(parts) };
  },

  async warmUp() {
    loaded().warmUp();
    return { value: memoryBytes() };
  },

  async run({ picture, options }) {
    const start = performance.now();
    const { rgba, width, height } = await toRgba(picture);
    const decode = performance.now() - start;
    const result: EngineResult = loaded().run(rgba, width, height, options);
    const value: RunAnswer = { ...result, width, height, decode, memoryBytes: memoryBytes() };
    return { value, transfer: buffersOf(arraysOf(result)) };
  },

  async profile({ picture }) {
    const { rgba, width, height } = await toRgba(picture);
    return { value: loaded().profile(rgba, width, height) };
  },
};

async function rehearse(rehearsal: EngineRehearsal): Promise<number> {
  let runs = 0;
  try {
    for (let isOfUse = true; isOfUse && !loading; runs++) {
      isOfUse = rehearsal.run();
      await turn();
    }
  } finally {
    rehearsal.free();
  }
  return runs;
}

/** Lets messages in. No timer: one that follows another waits for 4 ms. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

async function importModule(url: string): Promise<EngineModule> {
  try {
    return await (import(/* @vite-ignore */ /* webpackIgnore: true */ url) as Promise<EngineModule>);
  } catch (cause) {
    throw notServed(url, cause);
  }
}

async function compile(
  module: EngineModule,
  url: string,
  binary: Promise<Response>,
): Promise<{ memory: WebAssembly.Memory }> {
  const response = await binary.catch((cause: unknown) => {
    throw notServed(url, cause);
  });
  if (!response.ok) throw notServed(url, `the server answers ${response.status}`);
  // Sites of one page give it for every address that they do not know.
  if (response.headers.get('content-type')?.includes('text/html')) {
    throw notServed(url, 'the server answers with a page');
  }
  try {
    return await module.default({ module_or_path: response });
  } catch (cause) {
    // A wrong type is a TypeError.
    if (cause instanceof TypeError) throw notServed(url, cause);
    if (!(cause instanceof WebAssembly.CompileError)) throw cause;
    const message = `The module ${url} does not compile: it is broken, or this browser lacks a feature. (${cause.message})`;
    throw new MobilesightError('E_UNSUPPORTED_ENV', message, { url });
  }
}

function notServed(url: string, cause: unknown): MobilesightError {
  const advice = "Serve the package's folder engine, and name its parent as assetPath.";
  const message = `The module ${url} could not be loaded: ${String(cause)}. ${advice}`;
  return new MobilesightError('E_FETCH', message, { url, cause: String(cause) });
}

async function startPool({ initThreadPool }: EngineModule, { workers, channel }: Pool): Promise<void> {
  if (!initThreadPool) throw new MobilesightError('E_INTERNAL', 'The module has no threads.');
  let timer: ReturnType<typeof setTimeout> | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    const message = `The threads did not start in ${POOL_TIMEOUT / 1000} s. Use threads: 1.`;
    timer = setTimeout(() => reject(new MobilesightError('E_UNSUPPORTED_ENV', message)), POOL_TIMEOUT);
  });
  // Where the module's helper of the pool finds it.
  Object.assign(globalThis, { mobilesightChannel: channel });
  await Promise.race([initThreadPool(workers), tooLate]).finally(() => clearTimeout(timer));
}

function memoryBytes(): number {
  return memory?.buffer.byteLength ?? 0;
}

function arraysOf({ boxes, scores, classIds, mask }: EngineResult): (ArrayBufferView | undefined)[] {
  return [boxes, scores, classIds, mask];
}

function toFailure(error: unknown): Failure {
  if (error instanceof MobilesightError) {
    return { code: error.code, message: error.message, details: { ...error.details }, fatal: false };
  }
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  // The engine's own errors, whose codes are those of errors.ts.
  if (typeof code === 'string' && code.startsWith('E_')) {
    return { code: code as ErrorCode, message: String(message), details: {}, fatal: false };
  }

  const details = { cause: String(error) };
  if (error instanceof RangeError || /out of memory/i.test(String(message))) {
    const advice =
      'The memory did not suffice. Close other models or tabs, or give a smaller picture; then call again.';
    return { code: 'E_OOM', message: advice, details, fatal: true };
  }
  if (error instanceof WebAssembly.RuntimeError) {
    const advice = `The worker crashed. Call again: it is replaced. (${error.message})`;
    return { code: 'E_WORKER_CRASHED', message: advice, details, fatal: true };
  }
  const report = `A defect of mobilesight: ${String(error)}. Please report it, with the picture and the weights.`;
  return { code: 'E_INTERNAL', message: report, details, fatal: false };
}

async function answer<K extends CallName>({ id, name, argument }: Call<K>): Promise<void> {
  const post = (message: Answer, transfer: Transferable[] = []) => postMessage(message, { transfer });
  try {
    const { value, transfer } = await handlers[name](argument);
    post({ id, value }, transfer);
  } catch (error) {
    post({ id, failure: toFailure(error) });
  }
}

onmessage = ({ data }: MessageEvent<Call>) => void answer(data);
