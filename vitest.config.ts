/** The tests that need no browser; those that do are in tests/web. */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { environment: 'node', include: ['www/**/*.test.ts', 'tests/module/**/*.test.ts', 'benches/**/*.test.mjs'] },
  resolve: { alias: { mobilesight: fileURLToPath(new URL('./www/lib/index.ts', import.meta.url)) } },
});
