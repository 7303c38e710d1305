// `npm test`: sets up what is missing and runs every test of the project; stops at the first step that fails.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cache } from './cache.mjs';
import { root, step } from './run.mjs';
import { ensureChromium, ensureNodeModules, ensureTestRunner, ensureWasmToolchain } from './toolchain.mjs';
import { variants } from './variants.mjs';
import { webdriverJson } from './webdriver.mjs';

const cargo = (what, args) => step(what, 'cargo', args, { env: { CARGO_TARGET_DIR: cache } });
const node = (what, script, args) => step(what, 'node', [join(root, 'node_modules', script), ...args]);

/** Cargo for the browser, in the module of `variant`; `more` joins its environment. */
function cargoForBrowser(what, toolchain, { rustflags, targetDir }, args, more = {}) {
  const env = { ...toolchain.env, RUSTFLAGS: rustflags, CARGO_TARGET_DIR: targetDir, ...more };
  const [command, ...rest] = args;
  step(what, toolchain.cargo, [command, '--locked', '--target', 'wasm32-unknown-unknown', ...rest], { env });
}

/** The kernels and the goldens in a browser, in the module of `variant`. */
function testInChromium(toolchain, { runner, driver, webdriver }, variant) {
  const env = {
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: runner,
    CHROMEDRIVER: driver,
    WASM_BINDGEN_TEST_WEBDRIVER_JSON: webdriver,
    WASM_BINDGEN_TEST_TIMEOUT: '600',
  };
  cargoForBrowser(`Tests in Chromium, ${variant.name}`, toolchain, variant, ['test', '--release', '--test', '*'], env);
}

// rustc itself warns of the atomics of the others.
const singleThreaded = variants.filter(({ threads }) => !threads);

await ensureNodeModules();
const toolchain = ensureWasmToolchain();
const { browser, driver } = ensureChromium();
const { buildPage } = await import('./build.mjs');

cargo('Format', ['fmt', '--check']);
cargo('Lint', ['clippy', '--locked', '--all-targets', '--features', 'cli,threads', '--', '-D', 'warnings']);
for (const variant of singleThreaded) {
  const args = ['clippy', '--all-targets', '--', '-D', 'warnings'];
  cargoForBrowser(`Lint for ${variant.name}`, toolchain, variant, args);
}
node('Lint of the page', 'eslint/bin/eslint.js', ['.']);
node('Format of the page', 'prettier/bin/prettier.cjs', ['--check', '--log-level', 'warn', '.']);
node('Types of the page', 'typescript/bin/tsc', ['--noEmit']);
cargo('Native tests', ['test', '--locked', '--release', '--features', 'cli']);
cargo('Native tests with threads', ['test', '--locked', '--release', '--features', 'cli,threads']);
const inChromium = { runner: ensureTestRunner(), driver, webdriver: join(cache, 'webdriver.json') };
writeFileSync(inChromium.webdriver, webdriverJson(browser));
for (const variant of singleThreaded) testInChromium(toolchain, inChromium, variant);
await buildPage();
node('Tests of the wrapper and the modules', 'vitest/vitest.mjs', ['run']);
step('Tests of the page', 'node', [join(root, 'node_modules/@playwright/test/cli.js'), 'test'], {
  env: { CHROMIUM: browser },
});
