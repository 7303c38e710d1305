/**
 * Builds the wrapper, www/lib, to dist/package: index.js and worker.js side by side, with what they share. The modules are put
 * beside them, in engine, by build.mjs.
 */
import { fileURLToPath } from 'node:url';
import { defineConfig, type Plugin } from 'vite';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

// The worker is an entry of its own here; a user's bundler, though, must see the plain form and build it.
const plainWorker: Plugin = {
  name: 'plain-worker',
  renderChunk: (code) => code.replace(/\/\*\s*@vite-ignore\s*\*\/\s*(?=["']\.\/worker\.js)/, ''),
};

export default defineConfig({
  publicDir: false,
  plugins: [plainWorker],
  build: {
    outDir: path('../dist/package'),
    emptyOutDir: false,
    target: ['chrome91', 'firefox114', 'safari16.4'],
    lib: {
      entry: { index: path('../www/lib/index.ts'), worker: path('../www/lib/worker.ts') },
      formats: ['es'],
      fileName: (_, name) => `${name}.js`,
    },
    rolldownOptions: { output: { chunkFileNames: 'shared.js' } },
  },
});
