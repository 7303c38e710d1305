// On what, and of what, a run is.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

/** AMD's architectures by family and model, where the name of a cloud's CPU does not tell. */
function architecture(vendor, family, model) {
  if (vendor !== 'AuthenticAMD') return undefined;
  if (family === 23) return model >= 0x30 ? 'Zen 2' : 'Zen';
  if (family === 25) return (model >= 0x10 && model < 0x20) || model >= 0x60 ? 'Zen 4' : 'Zen 3';
  return family === 26 ? 'Zen 5' : undefined;
}

function processor() {
  const [{ model: name }] = cpus();
  try {
    const text = readFileSync('/proc/cpuinfo', 'utf8');
    const field = (key) => text.match(new RegExp(`^${key}\\s*: (.*)$`, 'm'))[1];
    const [family, model] = [Number(field('cpu family')), Number(field('model'))];
    return [name, architecture(field('vendor_id'), family, model), `family ${family} model ${model}`];
  } catch {
    return [name];
  }
}

/** The CPU in words; it also tells the results of one CPU from another's. */
export const cpu = processor().filter(Boolean).join(', ');

/** The cores, memory and system beside `cpu`, in words. */
export const machineOf = (cpu) =>
  `${cpu}; ${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GB, ${process.platform}`;

// What the benches write: no part of what they measure.
const outputs = [
  'README.md',
  'benches/RESULTS.md',
  'benches/FAMILY.md',
  'benches/RPN.md',
  'benches/results',
  'benches/*.svg',
];

/** The commit of `root`, marked where there are changes on top. */
export function commitOf(root) {
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim();
  const others = outputs.map((path) => `:(top,exclude)${path}`);
  try {
    const changes = git('status', '--porcelain', '--', ':(top)', ...others);
    return git('rev-parse', '--short', 'HEAD') + (changes ? ' with changes' : '');
  } catch {
    return 'unknown';
  }
}
