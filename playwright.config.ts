/** The page and the package in Chromium, as they are published: dist/page, with cross-origin isolation and without. */
import { defineConfig } from '@playwright/test';
import { chromiumArgs, debianChromium } from './pkg-config/webdriver.mjs';
import type { Serving } from './tests/web/support.ts';

// A camera that needs neither a device nor a click.
const fakeCamera = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

export default defineConfig<object, Serving>({
  testDir: 'tests/web',
  outputDir: 'target/web',
  globalSetup: './tests/web/setup.ts',
  fullyParallel: true,
  forbidOnly: true,
  workers: 2,
  // Models are loaded and run on machines that may do other work, too.
  timeout: 180_000,
  expect: { timeout: 60_000 },
  reporter: 'list',
  use: {
    launchOptions: {
      executablePath: process.env['CHROMIUM'] ?? debianChromium,
      args: [...chromiumArgs, ...fakeCamera],
    },
  },
  projects: [
    { name: 'isolated', use: { isolated: true }, grepInvert: /@plain/ },
    { name: 'not isolated', use: { isolated: false }, grep: /@plain|@both/ },
  ],
});
