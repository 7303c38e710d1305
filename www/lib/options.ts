/** Options checked before anything runs, and put into the engine's form. */
import type { EngineOptions } from './engine.ts';
import { MobilesightError } from './errors.ts';
import type { ClassifyOptions, CreateOptions, DetectOptions, ModuleName } from './types.ts';

/** Requests that may wait, where the caller does not say. */
export const DEFAULT_MAX_QUEUE = 16;
const DEFAULT_TOP_K = 5;
const LARGEST_COUNT = 2 ** 32 - 1;
/** Labels that a message lists. */
const LISTED_LABELS = 8;

const MODULES: readonly ModuleName[] = ['simd128', 'simd128-threads', 'relaxed', 'relaxed-threads'];

function refuse(option: string, value: unknown, rule: string): never {
  throw new MobilesightError('E_OPTION', `${option} must be ${rule}, not ${show(value)}.`, { option, value });
}

function show(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value);
}

/** Given options, which null and numbers are not. */
export function objectOf<T extends object>(option: string, value: T): T {
  return typeof value === 'object' && value !== null ? value : refuse(option, value, 'an object');
}

/** Given values of 0 to 1, under the engine's name. */
function share(option: string, value: number | undefined): number | undefined {
  if (value === undefined || (typeof value === 'number' && value >= 0 && value <= 1)) return value;
  return refuse(option, value, 'a number from 0 to 1');
}

/** Given counts; what is beyond the engine's integers is as good as the largest of them. */
function count(option: string, value: number | undefined): number | undefined {
  if (value === undefined) return value;
  if (Number.isInteger(value) && value >= 1) return Math.min(value, LARGEST_COUNT);
  return refuse(option, value, 'an integer of at least 1');
}

/** An object without its undefined entries. */
function defined<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

/** Throws E_OPTION for what a create function cannot use. */
export function checkCreateOptions(options: CreateOptions): void {
  const { weights, threads, module, integrity, maxQueue, labels, arch } = objectOf('options', options);
  const bytes = weights instanceof ArrayBuffer || ArrayBuffer.isView(weights);
  if (!bytes && typeof weights !== 'string' && !(weights instanceof URL)) {
    refuse('weights', weights, 'a URL, an ArrayBuffer or a Uint8Array');
  }
  if (threads !== 'auto') count('threads', threads);
  count('maxQueue', maxQueue);
  if (module !== undefined && module !== 'auto' && !MODULES.includes(module)) {
    refuse('module', module, `'auto' or one of ${MODULES.join(', ')}`);
  }
  if (integrity !== undefined && !/^sha256-[A-Za-z0-9+/]{43}=$/.test(integrity)) {
    refuse('integrity', integrity, "'sha256-' and the hash in base64");
  }
  if (labels !== undefined) names('labels', labels);
  if (arch !== undefined && typeof arch !== 'string') refuse('arch', arch, "the name of TorchVision's builder");
}

function names(option: string, value: readonly string[]): readonly string[] {
  const isArray = Array.isArray(value) && value.every((name) => typeof name === 'string');
  return isArray ? value : refuse(option, value, 'an array of names');
}

/** The engine's options of a detection. */
export function detectorOptions(options: DetectOptions, labels: readonly string[]): EngineOptions {
  const { scoreThreshold, maxResults, nmsThreshold, categoryAllowlist, rpn } = objectOf('options', options);
  return defined<EngineOptions>({
    scoreThreshold: share('scoreThreshold', scoreThreshold),
    maxResults: count('maxResults', maxResults),
    nmsThreshold: share('nmsThreshold', nmsThreshold),
    categoryAllowlist: categoryAllowlist && classesOf(names('categoryAllowlist', categoryAllowlist), labels),
    rpn: rpn === undefined ? undefined : rpnOptions(objectOf('rpn', rpn)),
  });
}

function rpnOptions(rpn: NonNullable<DetectOptions['rpn']>): NonNullable<EngineOptions['rpn']> {
  return defined<NonNullable<EngineOptions['rpn']>>({
    preNmsTopN: count('rpn.preNmsTopN', rpn.preNmsTopN),
    postNmsTopN: count('rpn.postNmsTopN', rpn.postNmsTopN),
    scoreThreshold: share('rpn.scoreThreshold', rpn.scoreThreshold),
    nmsThreshold: share('rpn.nmsThreshold', rpn.nmsThreshold),
  });
}

/** The engine's options of a classification. */
export function classifierOptions(options: ClassifyOptions): EngineOptions {
  const { topK } = objectOf('options', options);
  return { topK: count('topK', topK) ?? DEFAULT_TOP_K };
}

/** Class indices of labels; some models have a label more than once. */
function classesOf(wanted: readonly string[], labels: readonly string[]): number[] {
  return wanted.flatMap((label) => {
    const classes = labels.flatMap((other, index) => (other === label ? [index] : []));
    if (classes.length > 0) return classes;
    const some = labels.filter((other) => other !== '__background__').slice(0, LISTED_LABELS);
    const message = `The model has no label '${label}'. It has ${some.join(', ')}, …: info().labels lists all.`;
    throw new MobilesightError('E_OPTION', message, { option: 'categoryAllowlist', value: label });
  });
}
