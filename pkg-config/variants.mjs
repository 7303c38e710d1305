// The one list of the WebAssembly modules. A module is validated whole, so each instruction set is a module of its own.
import { join } from 'node:path';
import { cache } from './cache.mjs';

// LLVM must keep the kernels' own order of instructions: its scheduler hoists loads that V8 then spills.
const order = '-C llvm-args=-pre-RA-sched=source';

const instructionSets = [
  { simd: 'simd128', features: ['simd128'] },
  { simd: 'relaxed', features: ['simd128', 'relaxed-simd'] },
];

// What every engine of the floor has, by LLVM's names.
const floor = ['bulk-memory', 'multivalue', 'mutable-globals', 'nontrapping-fptoint', 'sign-ext'];

// Rust's default, which Chrome has from 96 on only.
const beyondFloor = 'reference-types';

// wasm-opt's names where they are its own.
const wasmOptNames = { 'nontrapping-fptoint': 'nontrapping-float-to-int', simd128: 'simd', atomics: 'threads' };

// Workers share one memory, so it comes from outside with a fixed maximum, and each sets up its own thread-locals.
const shared = [
  '--shared-memory',
  '--max-memory=1073741824',
  '--import-memory',
  '--export=__wasm_init_tls',
  '--export=__tls_size',
  '--export=__tls_align',
  '--export=__tls_base',
];

// The standard library may come compiled with all defaults. It names them in the module, and wasm-bindgen uses what it finds there, so
// that the linker is told the features instead of asking the objects.
function variant(name, simd, threads, features, linkArgs) {
  const all = [...floor, ...features];
  const links = ['--no-check-features', `--features=${all.join(',')}`, ...linkArgs];
  const target = [...features.map((feature) => `+${feature}`), `-${beyondFloor}`];
  const flags = [`-C target-feature=${target.join(',')}`, order, ...links.map((arg) => `-C link-arg=${arg}`)];
  const wasmOptArgs = all.map((feature) => `--enable-${wasmOptNames[feature] ?? feature}`);
  return { name, simd, threads, rustflags: flags.join(' '), wasmOptArgs, targetDir: join(cache, name) };
}

export const variants = instructionSets.flatMap(({ simd, features }) => [
  variant(simd, simd, false, features, []),
  variant(`${simd}-threads`, simd, true, [...features, 'atomics'], shared),
]);
