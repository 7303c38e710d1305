// The peers' packages, pinned by package-lock.json, installed when first needed.
import { existsSync, readFileSync } from 'node:fs';
import { Buffer } from 'node:buffer';
import { fileURLToPath } from 'node:url';
import { step } from '../../pkg-config/run.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const liteRt = '@litertjs/core/dist/index.js';

/** Where the packages are, once installed. */
export const peersFolder = `${here}node_modules`;

const versionOf = (name) => JSON.parse(readFileSync(`${peersFolder}/${name}/package.json`, 'utf8')).version;

/** { engine: version } of the installed packages; `npm ci` where they are not what the lock file says. */
export function installPeers() {
  const wanted = JSON.parse(readFileSync(`${here}package.json`, 'utf8')).dependencies;
  const there = ([name, version]) => existsSync(`${peersFolder}/${name}/package.json`) && versionOf(name) === version;
  if (!Object.entries(wanted).every(there)) {
    step('Peers', 'npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: here });
  }
  return { onnxruntime: versionOf('onnxruntime-web'), litert: versionOf('@litertjs/core') };
}

/** Files to serve instead of the packages' own: LiteRT.js imports a package by name, which no browser resolves in a worker. */
export function servedPeers() {
  const source = readFileSync(`${peersFolder}/${liteRt}`, 'utf8');
  const resolved = source.replace('"@litertjs/wasm-utils"', '"/peers/@litertjs/wasm-utils/dist/index.js"');
  return [[`/peers/${liteRt}`, Buffer.from(resolved)]];
}
