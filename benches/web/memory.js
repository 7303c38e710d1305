// Counts an engine's WebAssembly memory from outside, so that all engines are counted alike. Memory never shrinks: what it is in
// the end is its peak. Import before the engine.
/* global WebAssembly */
const memories = new Set();

const Memory = WebAssembly.Memory;
// A proxy, not a subclass: `instanceof` must hold for memories that a module makes, too.
WebAssembly.Memory = new Proxy(Memory, {
  construct(target, args) {
    const memory = new target(...args);
    memories.add(memory);
    return memory;
  },
});

for (const name of ['instantiate', 'instantiateStreaming']) {
  const original = WebAssembly[name];
  WebAssembly[name] = async (...args) => {
    const result = await original.apply(WebAssembly, args);
    const { exports } = result.instance ?? result;
    Object.values(exports).forEach((value) => value instanceof Memory && memories.add(value));
    return result;
  };
}

/** Bytes of all WebAssembly memories so far. */
export function memoryBytes() {
  return [...memories].reduce((sum, memory) => sum + memory.buffer.byteLength, 0);
}
