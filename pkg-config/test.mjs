// `npm test`: sets up what is missing and runs every test of the project; stops at the first step that fails.
import { spawnSync } from 'node:child_process';
import { ensureWasmToolchain } from './toolchain.mjs';
import { cache, variants } from './variants.mjs';

function step(what, args, { cargo = 'cargo', env = {} } = {}) {
  console.log(`${what}: cargo ${args.join(' ')}`);
  const run = spawnSync(cargo, args, { stdio: 'inherit', env: { ...process.env, CARGO_TARGET_DIR: cache, ...env } });
  if (run.error) console.error(`${what}: ${cargo} did not start: ${run.error.message}`);
  if (run.status !== 0) process.exit(run.status ?? 1);
}

// RUSTFLAGS goes by environment: one set there already would override every other place.
function buildModule({ cargo, env }, { name, rustflags, cargoArgs, env: own, targetDir }) {
  const args = ['build', '--locked', '--release', '--lib', '--target', 'wasm32-unknown-unknown', ...cargoArgs];
  step(`Module ${name}`, args, { cargo, env: { ...env, ...own, RUSTFLAGS: rustflags, CARGO_TARGET_DIR: targetDir } });
}

const toolchain = ensureWasmToolchain();
step('Format', ['fmt', '--check']);
step('Lint', ['clippy', '--locked', '--all-targets', '--', '-D', 'warnings']);
step('Native tests', ['test', '--locked', '--release']);
step('Native tests with threads', ['test', '--locked', '--release', '--features', 'threads']);
for (const variant of variants.filter(({ threads }) => !threads)) buildModule(toolchain, variant);
