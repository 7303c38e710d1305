// `npm test`: sets up what is missing and runs every test of the project; stops at the first step that fails.
import { spawnSync } from 'node:child_process';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ensureWasmTarget } from './toolchain.mjs';
import { variants } from './variants.mjs';

// Kept between clones: cargo tells by content what is still good.
const cache = process.env.CARGO_TARGET_DIR ?? join(homedir(), '.cache/mobilesight/target');

function step(what, args, env = {}) {
  console.log(`${what}: cargo ${args.join(' ')}`);
  const run = spawnSync('cargo', args, { stdio: 'inherit', env: { ...process.env, CARGO_TARGET_DIR: cache, ...env } });
  if (run.status !== 0) process.exit(run.status ?? 1);
}

ensureWasmTarget();
step('Format', ['fmt', '--check']);
step('Lint', ['clippy', '--locked', '--all-targets', '--', '-D', 'warnings']);
step('Native tests', ['test', '--locked', '--release']);
step('Native tests with threads', ['test', '--locked', '--release', '--features', 'threads']);
for (const { name, rustflags } of variants) {
  const env = { RUSTFLAGS: rustflags, CARGO_TARGET_DIR: join(cache, name) };
  step(`Module ${name}`, ['build', '--locked', '--release', '--lib', '--target', 'wasm32-unknown-unknown'], env);
}
