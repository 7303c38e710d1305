/** Options checked before anything runs, and put into the engine's form. */
import type { EngineOptions } from './engine.ts';
import { MobilesightError } from './errors.ts';
import type { ClassifyOptions, CreateOptions, DetectOptions, ModuleName, RunOptions } from './types.ts';

/** Requests that may wait, where the caller does not say. */
export const DEFAULT_MAX_QUEUE = 16;
const DEFAULT_TOP_K = 5;
const LARGEST_COUNT = 2 ** 32 - 1;
/** Labels that a message lists. */
const LISTED_LABELS = 8;

const INTEGRITY = /^sha256-[A-Za-z0-9+/]{43}=$/;
const MODULES: readonly ModuleName[] = ['simd128', 'simd128-threads', 'relaxed', 'relaxed-threads'];

function refuse(option: string, value: unknown, rule: string): never {
  throw new MobilesightError('E_OPTION', `${option} must be ${rule}, not ${show(value)}.`, { option, value });
}

function show(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value);
}

/** What an option must be, by name: each gives what is used, or throws E_OPTION. */
type Rules<T> = { readonly [K in keyof T]-?: (option: string, value: T[K]) => T[K] };

/** Given options of `rules`, those that are there; `within` names the option that they are in, if any. A misspelt name is refused. */
function checked<T extends object>(options: T, rules: Rules<T>, within = ''): T {
  if (typeof options !== 'object' || options === null) refuse(within || 'options', options, 'an object');
  const path = (name: string) => (within ? `${within}.${name}` : name);
  const unknown = Object.keys(options).find((name) => !(name in rules));
  if (unknown !== undefined) {
    const message = `${path(unknown)} is no option. There are ${Object.keys(rules).map(path).join(', ')}.`;
    throw new MobilesightError('E_OPTION', message, { option: path(unknown) });
  }
  const names = Object.keys(rules) as (keyof T & string)[];
  return defined<T>(Object.fromEntries(names.map((name) => [name, rules[name](path(name), options[name])])) as T);
}

/** An object without its undefined entries. */
function defined<T extends object>(values: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

/** A rule for values of `kind`, which are optional. */
function rule<T>(holds: (value: T) => boolean, kind: string): (option: string, value: T | undefined) => T | undefined {
  return (option, value) => (value === undefined || holds(value) ? value : refuse(option, value, kind));
}

const isAddress = (value: unknown) => typeof value === 'string' || value instanceof URL;
const isNames = (value: unknown) => Array.isArray(value) && value.every((name) => typeof name === 'string');

const address = rule<string | URL>(isAddress, 'a URL');
const flag = rule<boolean>((value) => typeof value === 'boolean', 'true or false');
const builder = rule<string>((value) => typeof value === 'string', "the name of TorchVision's builder");
const share = rule<number>((value) => typeof value === 'number' && value >= 0 && value <= 1, 'a number from 0 to 1');
const callback = rule<NonNullable<CreateOptions['onProgress']>>((value) => typeof value === 'function', 'a function');

/** Of any window: each has an AbortSignal of its own. */
const signal = rule<AbortSignal>(
  (value) => typeof value === 'object' && typeof value?.addEventListener === 'function' && 'aborted' in value,
  'an AbortSignal',
);

const atLeastOne = rule<number>((value) => Number.isInteger(value) && value >= 1, 'an integer of at least 1');

/** What is beyond the engine's integers is as good as the largest of them. */
function count(option: string, value: number | undefined): number | undefined {
  const given = atLeastOne(option, value);
  return given === undefined ? given : Math.min(given, LARGEST_COUNT);
}

function names<T extends readonly string[]>(option: string, value: T | undefined): T | undefined {
  return rule<T>(isNames, 'an array of names')(option, value);
}

function weights(option: string, value: CreateOptions['weights']): CreateOptions['weights'] {
  const isBytes = value instanceof ArrayBuffer || ArrayBuffer.isView(value);
  return isBytes || isAddress(value) ? value : refuse(option, value, 'a URL, an ArrayBuffer or a Uint8Array');
}

const CREATE: Rules<CreateOptions> = {
  weights,
  threads: (option, value) => (value === 'auto' ? value : count(option, value)),
  module: rule<ModuleName | 'auto'>(
    (value) => value === 'auto' || MODULES.includes(value),
    `'auto' or one of ${MODULES.join(', ')}`,
  ),
  assetPath: address,
  integrity: rule<string>((value) => INTEGRITY.test(value), "'sha256-' and the hash in base64"),
  cache: flag,
  maxQueue: count,
  arch: builder,
  labels: names,
  onProgress: callback,
  signal,
};
const RUN: Rules<RunOptions> = { signal };
const RPN: Rules<NonNullable<DetectOptions['rpn']>> = {
  preNmsTopN: count,
  postNmsTopN: count,
  scoreThreshold: share,
  nmsThreshold: share,
};
const DETECT: Rules<DetectOptions> = {
  scoreThreshold: share,
  maxResults: count,
  nmsThreshold: share,
  categoryAllowlist: names,
  rpn: (option, value) => (value === undefined ? value : checked(value, RPN, option)),
  ...RUN,
};
const CLASSIFY: Rules<ClassifyOptions> = { topK: count, ...RUN };

/** Throws E_OPTION for what a create function cannot use. */
export function checkCreateOptions(options: CreateOptions): void {
  checked(options, CREATE);
}

/** The signal of a run without other options. */
export function signalOf(options: RunOptions): AbortSignal | undefined {
  return checked(options, RUN).signal;
}

/** The engine's options of a detection. */
export function detectorOptions(options: DetectOptions, labels: readonly string[]): EngineOptions {
  const { scoreThreshold, maxResults, nmsThreshold, categoryAllowlist, rpn } = checked(options, DETECT);
  const classes = categoryAllowlist && classesOf(categoryAllowlist, labels);
  return defined<EngineOptions>({ scoreThreshold, maxResults, nmsThreshold, categoryAllowlist: classes, rpn });
}

/** The engine's options of a classification. */
export function classifierOptions(options: ClassifyOptions): EngineOptions {
  return { topK: checked(options, CLASSIFY).topK ?? DEFAULT_TOP_K };
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
