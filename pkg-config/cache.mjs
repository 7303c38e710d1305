// Where cargo keeps what it has built, shared by all clones of the project on a machine.
import { existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { filesUnder, hashOf, root } from './run.mjs';

const programs = ['pkg-config/bindgen', 'pkg-config/test-runner', 'benches/web/limit'];
const sources = ['Cargo.toml', 'Cargo.lock', 'src', 'tests', 'examples', ...programs];

/** Cargo's target folder. */
export const cache = process.env.CARGO_TARGET_DIR || join(homedir(), '.cache/mobilesight/target');

// Cargo compares times, not contents: what another clone has built since these sources were written would pass for theirs. So they are
// marked as new where the last clone to build had others.
function claim() {
  const stamp = join(cache, '.sources');
  const [owner, content] = existsSync(stamp) ? readFileSync(stamp, 'utf8').split('\n') : [];
  const hash = hashOf(sources);
  if (owner !== undefined && owner !== root && content !== hash) {
    const now = new Date();
    const files = sources.flatMap((path) => filesUnder(join(root, path)));
    for (const file of files.filter((name) => name.endsWith('.rs'))) utimesSync(file, now, now);
  }
  mkdirSync(cache, { recursive: true });
  writeFileSync(stamp, `${root}\n${hash}`);
}

claim();
