/**
 * Builds the page, www/demo, to dist/page. The wrapper is not bundled: what the page loads is the published package, which
 * the build copies to dist/page/lib, next to ./models and ./samples.
 */
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

export default defineConfig({
  root: path('../www/demo'),
  // Relative addresses, so that the folder can be hosted anywhere.
  base: './',
  publicDir: false,
  build: {
    outDir: path('../dist/page'),
    emptyOutDir: true,
    target: ['chrome91', 'firefox114', 'safari16.4'],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    rolldownOptions: {
      external: ['mobilesight'],
      // Seen from assets/, where the page's own chunk is.
      output: { paths: { mobilesight: '../lib/index.js' } },
    },
  },
});
