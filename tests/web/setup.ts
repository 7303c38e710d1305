/** Serves the built page, with the headers of cross-origin isolation and without, for as long as the tests run. */
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serve } from '../../pkg-config/serve.mjs';
import { root } from './support.ts';

export default async function setup(): Promise<() => Promise<void>> {
  const page = join(root, 'dist/page');
  if (!existsSync(page)) throw new Error('There is no dist/page. Build it by: node pkg-config/build.mjs');
  // A copy, because the demo's test builds anew.
  const folder = await mkdtemp(join(tmpdir(), 'mobilesight-'));
  await cp(page, folder, { recursive: true });
  const isolated = await serve(folder);
  const plain = await serve(folder, { isolation: false });
  process.env['PAGE_ISOLATED'] = isolated.url;
  process.env['PAGE_PLAIN'] = plain.url;
  return async () => {
    isolated.close();
    plain.close();
    await rm(folder, { recursive: true });
  };
}
