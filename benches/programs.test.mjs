/** The benches' programs start: what is wrong or missing is said, and nothing is written. */
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const run = (file, args, env = {}) =>
  spawnSync('node', [fileURLToPath(new URL(file, import.meta.url)), ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });

test.each(['rpn.mjs', 'web/run.mjs'])('%s tells a wrong option with its usage', (file) => {
  const { status, stderr } = run(file, ['--wrong']);
  expect(status).toBe(1);
  expect(stderr).toContain("Unknown option '--wrong'");
  expect(stderr).toMatch(/^Usage: /m);
  expect(stderr).not.toContain('    at ');
});

test.each(['rpn.mjs', 'web/run.mjs', '../pkg-config/demo.mjs', '../pkg-config/weights.mjs'])(
  '%s --help tells its usage',
  (file) => {
    const { status, stdout } = run(file, ['--help']);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Usage: /);
  },
);

test('rpn.mjs says where it looks for pictures', () => {
  const { status, stdout } = run('rpn.mjs', [], { MOBILESIGHT_SHARED: join(tmpdir(), 'absent') });
  expect([status, stdout]).toEqual([0, expect.stringContaining('There are no labelled pictures')]);
});
