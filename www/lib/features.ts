/** Which module runs, and on how many threads: by what the engine supports, what the page allows and what is asked for. */
import { relaxedSimd, simd, threads as sharedMemory } from 'wasm-feature-detect';
import { MobilesightError } from './errors.ts';
import type { CreateOptions, ModuleName } from './types.ts';

/** What the browser and the page's headers allow. */
export interface Environment {
  simd: boolean;
  relaxedSimd: boolean;
  /** Atomics in WebAssembly, and cross-origin isolation for the memory. */
  threads: boolean;
  isolated: boolean;
  cores: number;
}

/** What is to be started. */
export interface Plan {
  module: ModuleName;
  threads: number;
  /** Why it is less than what was asked for. */
  fallback?: string;
  /** Whether the module of one thread may take its place. */
  replaceable: boolean;
}

/** 'auto' takes no more: the detectors' gain from further ones is small, and phones' further cores are slow. */
const MOST_AUTO_THREADS = 4;

const NOT_ISOLATED = 'threads need cross-origin isolation: send the headers COOP: same-origin and COEP: require-corp';

/** Looks; throws E_UNSUPPORTED_ENV where nothing can run. */
export async function detectEnvironment(): Promise<Environment> {
  if (typeof Worker === 'undefined' || typeof WebAssembly === 'undefined') {
    const message = 'mobilesight runs in browsers, with Worker and WebAssembly. Create the model in a page.';
    throw new MobilesightError('E_UNSUPPORTED_ENV', message);
  }
  const [hasSimd, hasRelaxed, hasThreads] = await Promise.all([simd(), relaxedSimd(), sharedMemory()]);
  return {
    simd: hasSimd,
    relaxedSimd: hasRelaxed,
    threads: hasThreads,
    isolated: globalThis.crossOriginIsolated === true,
    cores: navigator.hardwareConcurrency || 1,
  };
}

/** Whether a module has threads. */
function isThreaded(module: ModuleName): boolean {
  return module.endsWith('-threads');
}

/** Chooses. Throws E_NO_SIMD, E_UNSUPPORTED_ENV for a module that cannot run, and E_OPTION for options that contradict. */
export function plan({ threads = 'auto', module = 'auto' }: CreateOptions, environment: Environment): Plan {
  if (!environment.simd) {
    const message = 'This browser has no WebAssembly SIMD. Use Chrome 91, Firefox 114, Safari 16.4 or a later one.';
    throw new MobilesightError('E_NO_SIMD', message);
  }
  const most = Math.min(MOST_AUTO_THREADS, environment.cores);
  if (module !== 'auto')
    return planModule(module, threads === 'auto' ? most : threads, threads !== 'auto', environment);

  const set = environment.relaxedSimd ? 'relaxed' : 'simd128';
  const obstacle = threadObstacle(environment);
  const wanted = threads === 'auto' ? (obstacle ? 1 : most) : threads;
  if (wanted === 1) return { module: set, threads: 1, replaceable: false };
  if (obstacle) return { module: set, threads: 1, fallback: `1 thread of ${wanted}: ${obstacle}`, replaceable: false };
  return { module: `${set}-threads`, threads: wanted, replaceable: true };
}

/** The plan of one thread, after the one with threads has failed for `reason`. */
export function withoutThreads({ module, threads }: Plan, reason: string): Plan {
  const single = module.startsWith('relaxed') ? 'relaxed' : 'simd128';
  return { module: single, threads: 1, fallback: `1 thread of ${threads}: ${reason}`, replaceable: false };
}

function planModule(module: ModuleName, threads: number, asked: boolean, environment: Environment): Plan {
  const refuse = (reason: string): never => {
    throw new MobilesightError(
      'E_UNSUPPORTED_ENV',
      `Module ${module} cannot run: ${reason}. Or leave module at 'auto'.`,
    );
  };
  if (module.startsWith('relaxed') && !environment.relaxedSimd) refuse('this browser has no relaxed SIMD');
  if (isThreaded(module)) {
    const obstacle = threadObstacle(environment);
    if (obstacle) refuse(obstacle);
    return { module, threads, replaceable: false };
  }
  if (asked && threads > 1) {
    const message = `Module ${module} has one thread, but threads is ${threads}. Use module ${module}-threads.`;
    throw new MobilesightError('E_OPTION', message);
  }
  return { module, threads: 1, replaceable: false };
}

function threadObstacle({ threads, isolated }: Environment): string | undefined {
  if (!isolated) return NOT_ISOLATED;
  return threads ? undefined : 'this browser has no threads in WebAssembly';
}
