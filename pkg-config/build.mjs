// Builds what is published: dist/package (the npm package: wrapper and the four modules) and dist/page (the static page).
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { hashOf, root, step, whenChanged } from './run.mjs';
import { ensureBindgen, ensureWasmToolchain } from './toolchain.mjs';
import { variants } from './variants.mjs';

const dist = join(root, 'dist');
const node = (name) => join(root, 'node_modules', name);

/** Removes what is in `folder`, which is made where it is missing, but for the names to `keep`. */
function empty(folder, keep = []) {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) {
    if (!keep.includes(name)) rmSync(join(folder, name), { recursive: true });
  }
}

/** Puts a copy of the folder `from` in the place of `to`. */
function replace(to, from) {
  empty(to);
  cpSync(from, to, { recursive: true });
}

// What is published ends at a panic, whose words nobody would see: without them a module is 7 % smaller. The standard library is built anew for
// that, for size, as nothing of it is hot, and for threads, since the stock one lacks atomics. RUSTC_BOOTSTRAP lets stable's cargo do so.
const anew = ['-Zbuild-std=std,panic_abort', '-Zbuild-std-features=optimize_for_size'];
const noWords = '-Z unstable-options -C panic=immediate-abort';

// RUSTFLAGS goes by environment: one set there already would override every other place.
function compile({ cargo, env }, { name, threads, rustflags, targetDir }) {
  const features = threads ? ['--features', 'threads'] : [];
  const args = ['build', '--locked', '--release', '--lib', '--target', 'wasm32-unknown-unknown', ...anew, ...features];
  const flags = { RUSTC_BOOTSTRAP: '1', RUSTFLAGS: `${rustflags} ${noWords}`, CARGO_TARGET_DIR: targetDir };
  step(`Module ${name}`, cargo, args, { env: { ...env, ...flags } });
  return join(targetDir, 'wasm32-unknown-unknown/release/mobilesight.wasm');
}

// wasm-bindgen-rayon imports its own package by folder, which only bundlers resolve. And a thread that dies tells only the worker that started
// it, which waits for that very thread: the channel of www/lib/protocol.ts reaches the page.
const helperFixes = [
  ["import('../../..')", "import('../../../mobilesight.js')"],
  ['receiver: builder.receiver()', 'receiver: builder.receiver(),\n    channel: globalThis.mobilesightChannel'],
  ['async ({ init, receiver })', 'async ({ init, receiver, channel })'],
  [
    'pkg.wbg_rayon_start_worker(receiver);',
    `try {
    pkg.wbg_rayon_start_worker(receiver);
  } catch (error) {
    new BroadcastChannel(channel).postMessage(String(error));
  }`,
  ],
];

function fixHelpers(folder) {
  const snippets = readFileSync(join(folder, 'mobilesight.js'), 'utf8').match(/snippets\/[^'"]+workerHelpers\.js/);
  if (!snippets) throw new Error('The threaded module has no workerHelpers.js: wasm-bindgen-rayon has changed.');
  const file = join(folder, snippets[0]);
  const fixed = helperFixes.reduce(
    (text, [from, to]) => {
      if (!text.includes(from)) throw new Error(`${file} has no ${from}: wasm-bindgen-rayon has changed.`);
      return text.replace(from, to);
    },
    readFileSync(file, 'utf8'),
  );
  writeFileSync(file, fixed);
}

async function buildModule(toolchain, writer, variant) {
  const module = compile(toolchain, variant);
  const folder = join(dist, 'package/engine', variant.name);
  const hash = createHash('sha256')
    .update(readFileSync(module))
    .update(hashOf(['pkg-config/build.mjs', 'pkg-config/variants.mjs', 'pkg-config/bindgen', 'package-lock.json']))
    .digest('hex');
  const file = join(folder, 'mobilesight_bg.wasm');
  await whenChanged(file, join(dist, '.stamps', variant.name), hash, () => {
    empty(folder);
    step(`JavaScript of ${variant.name}`, writer, [module, folder]);
    if (variant.threads) fixHelpers(folder);
    step(`Smaller ${variant.name}`, 'node', [
      node('binaryen/bin/wasm-opt'),
      '-O3',
      // The stack comes first and ends there, so no address plus a small constant wraps: offsets go into the loads.
      '--low-memory-unused',
      // Without a bound, a model's whole run becomes one function, for which the browser's optimiser takes 15 to 20 ms of the first pictures' time.
      '--one-caller-inline-max-function-size=200',
      ...variant.wasmOptArgs,
      file,
      '-o',
      file,
    ]);
  });
}

/** dist/package/engine: the modules of the list, each in a folder of its name. */
export async function buildEngine(list = variants) {
  const toolchain = ensureWasmToolchain();
  const writer = ensureBindgen();
  for (const variant of list) await buildModule(toolchain, writer, variant);
}

const vite = (what, config) =>
  step(what, 'node', [node('vite/bin/vite.js'), 'build', '--logLevel', 'warn', '--config', config]);

/** dist/package: the wrapper beside the modules. */
async function buildPackage() {
  await buildEngine();
  const [folder, index] = [join(dist, 'package'), join(dist, 'package/index.js')];
  const inputs = ['www/lib', 'pkg-config', 'tsconfig.json', 'package-lock.json', 'LICENSE'];
  await whenChanged(index, join(dist, '.stamps/lib'), hashOf(inputs), () => {
    empty(folder, ['engine']);
    vite('Wrapper', 'pkg-config/vite.package.config.ts');
    step('Types', 'node', [node('typescript/bin/tsc'), '-p', 'pkg-config/tsconfig.package.json']);
    cpSync(join(root, 'pkg-config/package.json'), join(folder, 'package.json'));
    for (const file of ['www/lib/README.md', 'LICENSE']) cpSync(join(root, file), join(folder, basename(file)));
  });
}

/** dist/page: the page, with the package as `lib`, the default weights and the samples. */
export async function buildPage() {
  await buildPackage();
  const page = join(dist, 'page');
  const inputs = ['www/demo', 'pkg-config', 'package-lock.json'];
  await whenChanged(join(page, 'index.html'), join(dist, '.stamps/page'), hashOf(inputs), () => {
    vite('Page', 'pkg-config/vite.page.config.ts');
  });
  for (const folder of ['models', 'samples']) replace(join(page, folder), join(root, 'www', folder));
  // Always there: a page that asks for what is missing has an error in its console.
  const index = join(root, 'www/models/torchvision/index.json');
  writeFileSync(join(page, 'models/index.json'), existsSync(index) ? readFileSync(index) : '[]');
  replace(join(page, 'lib'), join(dist, 'package'));
}

if (process.argv[1] === import.meta.filename) await buildPage();
