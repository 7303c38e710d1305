// What the build needs beside Node and Rust, each fetched only when it is missing.
import { spawnSync } from 'node:child_process';

const target = 'wasm32-unknown-unknown';

/** Makes rustup's WebAssembly target present, or says in words what to do. */
export function ensureWasmTarget() {
  const installed = spawnSync('rustup', ['target', 'list', '--installed'], { encoding: 'utf8' });
  if (installed.stdout?.includes(target)) return;
  console.log(`Adding rustup's ${target}, to compile Rust to WebAssembly`);
  const added = spawnSync('rustup', ['target', 'add', target], { stdio: 'inherit' });
  if (added.status !== 0) throw new Error(`rustup could not add ${target}: check the network and run 'rustup target add ${target}' by hand`);
}
