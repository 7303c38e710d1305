// The one list of the WebAssembly modules. A module is validated whole, so each instruction set is a module of its own.
// LLVM must keep the kernels' own order of instructions: its scheduler hoists loads that V8 then spills.
const order = '-C llvm-args=-pre-RA-sched=source';
export const variants = [
  { name: 'simd128', rustflags: `-C target-feature=+simd128 ${order}` },
  { name: 'relaxed', rustflags: `-C target-feature=+simd128,+relaxed-simd ${order}` },
];
