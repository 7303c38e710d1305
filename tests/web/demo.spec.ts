/** `npm run demo -- --shot`: the command that draws a picture without a window. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, root, test } from './support.ts';

const demo = (...args: string[]) =>
  promisify(execFile)('node', [join(root, 'pkg-config/demo.mjs'), ...args], { cwd: root });

test('takes a screenshot with boxes and mask', async ({ blank }) => {
  test.slow();
  const shot = test.info().outputPath('folder', 'shot.png');
  const { stdout } = await demo('--shot', shot);
  expect(stdout).toContain(`Screenshot: ${shot}`);
  expect(stdout).toMatch(/objects: car 0.9.*Mask: road /);
  const seen = await blank.evaluate(async (png) => {
    const { data, width, height } = await inside.stored(await inside.file(`data:image/png;base64,${png}`));
    return { width, height, colours: new Set(new Uint32Array(data.buffer)).size };
  }, readFileSync(shot).toString('base64'));
  expect(seen.width).toBe(1280);
  expect(seen.height).toBeGreaterThanOrEqual(900);
  // A photograph has many thousands, an empty page some hundred.
  expect(seen.colours).toBeGreaterThan(5000);
});

test('says what is wrong with its arguments', async () => {
  const shot = test.info().outputPath('shot.png');
  const failure = demo('--shot', shot, 'no-such-picture.jpg');
  await expect(failure).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/no picture .*no-such-picture.jpg/),
  });
  await expect(demo('--shot', 'shot.jpg')).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining('PNG') });
  expect(existsSync(shot)).toBe(false);
});
