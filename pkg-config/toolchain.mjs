// What the build needs beside Node and Rust, each fetched only when it is missing.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cache } from './cache.mjs';
import { hashOf, root, step, whenChanged } from './run.mjs';
import { debianChromium } from './webdriver.mjs';

const target = 'wasm32-unknown-unknown';
const debianRust = ['rustc-web', 'cargo-web', 'rust-web-src', 'rust-web-llvm'];

function quiet(program, args) {
  return spawnSync(program, args, { encoding: 'utf8' });
}

function succeeds(program, args, env = {}) {
  return spawnSync(program, args, { stdio: 'inherit', env: { ...process.env, ...env } }).status === 0;
}

function lists(args, word) {
  const run = quiet('rustup', [...args, 'list', '--installed', '--toolchain', 'stable']);
  return run.status === 0 && run.stdout.split('\n').some((line) => line.trim() === word);
}

// rust-src is there for the published modules, whose standard library is built anew.
function rustupHas() {
  return lists(['target'], target) && lists(['component'], 'rust-src');
}

function rustupAdd() {
  if (quiet('rustup', ['--version']).status !== 0) return false;
  if (!lists(['target'], target)) {
    console.log(`Toolchain: adding rustup's ${target}, to compile Rust to WebAssembly`);
    if (!succeeds('rustup', ['target', 'add', target, '--toolchain', 'stable'])) return false;
  }
  if (!lists(['component'], 'rust-src')) {
    console.log("Toolchain: adding rustup's rust-src, to build the modules' standard library");
    if (!succeeds('rustup', ['component', 'add', 'rust-src', '--toolchain', 'stable'])) return false;
  }
  return rustupHas();
}

function debianHas(names) {
  return names.every((name) => quiet('dpkg-query', ['-W', '-f', '${Status}', name]).stdout?.endsWith(' installed'));
}

function canApt() {
  return process.getuid?.() === 0 && quiet('apt-get', ['--version']).status === 0;
}

function aptInstall(names, why) {
  if (!canApt()) return false;
  console.log(`Toolchain: installing Debian's ${names.join(' ')}, ${why}`);
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  return succeeds('apt-get', ['update'], env) && succeeds('apt-get', ['install', '-y', ...names], env);
}

// Debian's packages bring the standard library as source only, so that tests and lints build it, too.
function debianToolchain() {
  const env = {
    PATH: ['/usr/bin', process.env.PATH].join(delimiter),
    RUSTC: '/usr/bin/rustc',
    RUSTC_BOOTSTRAP: '1',
    CARGO_UNSTABLE_BUILD_STD: 'std,panic_abort',
  };
  return { cargo: '/usr/bin/cargo', env };
}

/** A cargo that compiles to WebAssembly and the environment to run it in; throws, saying what to do, where none can be had. */
export function ensureWasmToolchain() {
  if (rustupHas()) return { cargo: 'cargo', env: { RUSTUP_TOOLCHAIN: 'stable' } };
  if (debianHas(debianRust)) return debianToolchain();
  if (rustupAdd()) return { cargo: 'cargo', env: { RUSTUP_TOOLCHAIN: 'stable' } };
  if (aptInstall(debianRust, 'as rustup could not provide WebAssembly')) return debianToolchain();
  throw new Error(
    `No Rust for ${target}. Either run 'rustup target add ${target} --toolchain stable' and ` +
      `'rustup component add rust-src --toolchain stable', or as root on Debian 'apt-get install ${debianRust.join(' ')}'.`,
  );
}

/** node_modules as package-lock.json has it. */
export async function ensureNodeModules() {
  const modules = join(root, 'node_modules');
  await whenChanged(modules, join(modules, '.mobilesight'), hashOf(['package-lock.json']), () =>
    step('Node packages', 'npm', ['ci', '--no-audit', '--no-fund']),
  );
}

/** The program of the folder `name` beside this file, built once a version. */
function builtProgram(what, name) {
  const [manifest, target] = [join(root, 'pkg-config', name, 'Cargo.toml'), join(cache, name)];
  const args = ['build', '--locked', '--release', '--quiet', '--manifest-path', manifest];
  step(what, 'cargo', args, { env: { CARGO_TARGET_DIR: target } });
  return join(target, 'release', name);
}

/** The program that writes a module's JavaScript. */
export const ensureBindgen = () => builtProgram('JavaScript writer', 'bindgen');

/** wasm-bindgen's runner of tests. */
export const ensureTestRunner = () => builtProgram('Test runner for WebAssembly', 'test-runner');

/** The browser and its driver: CHROMIUM and CHROMEDRIVER where they are set, else Debian's packages. */
export function ensureChromium() {
  const browser = process.env.CHROMIUM ?? debianChromium;
  const driver = process.env.CHROMEDRIVER ?? '/usr/bin/chromedriver';
  if (existsSync(browser) && existsSync(driver)) return { browser, driver };
  const packages = ['chromium', 'chromium-driver'];
  if (aptInstall(packages, 'to show and test the page') && existsSync(browser) && existsSync(driver))
    return { browser, driver };
  throw new Error(
    'No Chromium. Set CHROMIUM and CHROMEDRIVER to the two programs, or as root on Debian ' +
      `'apt-get install ${packages.join(' ')}'.`,
  );
}
