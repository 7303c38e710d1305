// webdriver.json, which `wasm-pack test` reads: where the browser is, and what it needs to start.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './run.mjs';

const capabilities = JSON.parse(readFileSync(join(root, 'webdriver.json'), 'utf8'));
const { binary, args } = capabilities['goog:chromeOptions'];

/** Where Debian has the browser. */
export const debianChromium = binary;

/** What a browser on a machine without display, sandbox and network needs. */
export const chromiumArgs = args.filter((arg) => arg !== '--headless');

/** The text of the file for another browser. */
export function webdriverJson(binary) {
  return JSON.stringify({ ...capabilities, 'goog:chromeOptions': { binary, args } });
}
