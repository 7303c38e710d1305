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

/** The kernels and the goldens in a browser, in the module of `variant`. */
function testInChromium(toolchain, { runner, driver, webdriver }, { name, rustflags, targetDir }) {
  const env = {
    ...toolchain.env,
    RUSTFLAGS: rustflags,
    CARGO_TARGET_DIR: targetDir,
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: runner,
    CHROMEDRIVER: driver,
    WASM_BINDGEN_TEST_WEBDRIVER_JSON: webdriver,
    WASM_BINDGEN_TEST_TIMEOUT: '600',
  };
  const args = ['test', '--locked', '--release', '--target', 'wasm32-unknown-unknown', '--test', '*'];
  step(`Tests in Chromium, ${name}`, toolchain.cargo, args, { env });
}

await ensureNodeModules();
const toolchain = ensureWasmToolchain();
const { browser, driver } = ensureChromium();
const { buildPage } = await import('./build.mjs');

cargo('Format', ['fmt', '--check']);
cargo('Lint', ['clippy', '--locked', '--all-targets', '--features', 'cli', '--', '-D', 'warnings']);
node('Lint of the page', 'eslint/bin/eslint.js', ['.']);
node('Format of the page', 'prettier/bin/prettier.cjs', ['--check', '--log-level', 'warn', '.']);
node('Types of the page', 'typescript/bin/tsc', ['--noEmit']);
cargo('Native tests', ['test', '--locked', '--release', '--features', 'cli']);
cargo('Native tests with threads', ['test', '--locked', '--release', '--features', 'cli,threads']);
const inChromium = { runner: ensureTestRunner(), driver, webdriver: join(cache, 'webdriver.json') };
writeFileSync(inChromium.webdriver, webdriverJson(browser));
for (const variant of variants.filter(({ threads }) => !threads)) testInChromium(toolchain, inChromium, variant);
await buildPage();
node('Tests of the wrapper and the modules', 'vitest/vitest.mjs', ['run']);
step('Tests of the page', 'node', [join(root, 'node_modules/@playwright/test/cli.js'), 'test'], {
  env: { CHROMIUM: browser },
});
