// The native command line, built when its sources have changed.
import { spawnSync } from 'node:child_process';
import { cache } from './cache.mjs';
import { root, step } from './run.mjs';

const cargoRun = ['run', '--locked', '--release', '--quiet', '--features', 'cli'];
const program = [...cargoRun, '--bin', 'mobilesight', '--'];
const env = { CARGO_TARGET_DIR: cache };

/** Runs it with its output shown; throws when it fails. */
export function mobilesight(what, args) {
  step(what, 'cargo', [...program, ...args], { env });
}

/** Runs an example of the crate; throws when it fails. */
export function cargoExample(name, args) {
  step(name, 'cargo', [...cargoRun, '--example', name, '--', ...args], { env });
}

/** What the command line prints as JSON; throws its words when it fails. */
export function mobilesightJson(args) {
  const options = { cwd: root, env: { ...process.env, ...env }, encoding: 'utf8', maxBuffer: 1 << 26 };
  const run = spawnSync('cargo', [...program, ...args, '--json'], options);
  if (run.status !== 0) throw new Error(run.error?.message ?? run.stderr);
  return JSON.parse(run.stdout);
}
