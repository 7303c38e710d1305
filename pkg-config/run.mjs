// Running programs, and running them only when what they read has changed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/** The project's folder. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** The program's arguments as parseArgs gives them; --help, and what none of `options` is, end it with its usage. */
export function readArguments(usage, options, more = {}) {
  try {
    const read = parseArgs({ options: { ...options, help: { type: 'boolean' } }, ...more });
    if (!read.values.help) return read;
    console.log(`Usage: ${usage}`);
  } catch (error) {
    console.error(`${error.message}\nUsage: ${usage}`);
    process.exit(1);
  }
  return process.exit();
}

/** Says what is done, runs it with its output shown, and throws when it fails. */
export function step(what, program, args, { env = {}, cwd = root } = {}) {
  console.log(`${what}: ${program} ${args.join(' ')}`);
  const run = spawnSync(program, args, { stdio: 'inherit', cwd, env: { ...process.env, ...env } });
  if (run.error) throw new Error(`${what}: ${program} did not start: ${run.error.message}`);
  if (run.status !== 0) throw new Error(`${what} failed with ${run.signal ?? `exit code ${run.status}`}.`);
}

/** The files of a folder and of those in it, sorted, without what is installed or built there. */
export function filesUnder(path) {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => name !== 'node_modules' && name !== 'target');
  return names.sort().flatMap((name) => filesUnder(join(path, name)));
}

/** The SHA-256 of the names and bytes of files and folders, relative to the project. */
export function hashOf(paths) {
  const hash = createHash('sha256');
  for (const file of paths.flatMap((path) => filesUnder(join(root, path))))
    hash.update(relative(root, file)).update(readFileSync(file));
  return hash.digest('hex');
}

/** Calls `make` unless `output` is there and the last call that ended well, whose `stamp` file says of what, was for the same `hash`. */
export async function whenChanged(output, stamp, hash, make) {
  if (existsSync(output) && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  // What a call that is broken off leaves is nobody's.
  rmSync(stamp, { force: true });
  await make();
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, hash);
}
