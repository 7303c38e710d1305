/** The package as a user gets it: packed, installed in a site of its own, type-checked, bundled. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SITE = mkdtempSync(join(tmpdir(), 'mobilesight-site-'));
const PATIENCE = 120_000;
const installed = join(SITE, 'node_modules/mobilesight');

const inSite = (program: string, ...args: string[]) => execFileSync(program, args, { cwd: SITE, encoding: 'utf8' });
const tool = (path: string, ...args: string[]) => inSite('node', join(ROOT, 'node_modules', path), ...args);

/** The first TypeScript of a README. */
function example(readme: string): string {
  const found = /```ts\n(.*?)```/s.exec(readFileSync(join(ROOT, readme), 'utf8'));
  expect(found, readme).not.toBeNull();
  return found?.[1] ?? '';
}

beforeAll(() => {
  writeFileSync(join(SITE, 'package.json'), '{ "name": "site", "private": true, "type": "module" }');
  inSite('npm', 'pack', join(ROOT, 'dist/package'), '--silent');
  inSite('npm', 'install', '--offline', '--no-audit', '--no-fund', '--silent', './mobilesight-0.1.0.tgz');
  mkdirSync(join(SITE, 'src'));
  for (const [name, readme] of [
    ['page', 'README.md'],
    ['package', 'www/lib/README.md'],
  ] as const) {
    writeFileSync(join(SITE, 'src', `${name}.ts`), example(readme));
  }
}, PATIENCE);

afterAll(() => rmSync(SITE, { recursive: true, force: true }));

it('holds the wrapper, the worker, the four modules, and words', () => {
  const names = readdirSync(installed);
  const expected = ['LICENSE', 'README.md', 'engine', 'index.d.ts', 'index.js', 'package.json', 'worker.js'];
  expect(names).toEqual(expect.arrayContaining(expected));
  expect(names.filter((name) => !/\.(js|d\.ts)$/.test(name)).sort()).toEqual([
    'LICENSE',
    'README.md',
    'engine',
    'package.json',
  ]);
  expect(readdirSync(join(installed, 'engine')).sort()).toEqual([
    'relaxed',
    'relaxed-threads',
    'simd128',
    'simd128-threads',
  ]);
});

it.each(['bundler', 'nodenext'])(
  "has types by which the READMEs' examples compile, with module resolution %s",
  (moduleResolution) => {
    const compilerOptions = {
      target: 'es2022',
      module: moduleResolution === 'bundler' ? 'esnext' : 'nodenext',
      moduleResolution,
      lib: ['es2022', 'dom', 'dom.iterable'],
      types: [],
      strict: true,
      noEmit: true,
    };
    writeFileSync(join(SITE, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }));
    expect(tool('typescript/bin/tsc', '-p', 'tsconfig.json')).toBe('');
  },
  PATIENCE,
);

it(
  'is bundled with its worker',
  () => {
    writeFileSync(join(SITE, 'index.html'), '<!doctype html><script type="module" src="/src/page.ts"></script>');
    tool('vite/bin/vite.js', 'build', '--logLevel', 'error', '--target', 'es2022');
    const assets = readdirSync(join(SITE, 'dist/assets'));
    const worker = assets.find((name) => /^worker.*\.js$/.test(name));
    expect(worker, assets.join(', ')).toBeDefined();
    const pages = assets.filter((name) => name !== worker && name.endsWith('.js'));
    const text = pages.map((name) => readFileSync(join(SITE, 'dist/assets', name), 'utf8')).join('');
    expect(text).toContain(worker);
  },
  PATIENCE,
);
