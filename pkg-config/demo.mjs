// `npm run demo`: sets up what is missing, builds, serves the page and says where.
// `npm run demo -- --shot out.png [photo.jpg]`: draws one picture's boxes and mask in headless Chromium, then ends.
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { readArguments, root } from './run.mjs';
import { ensureChromium, ensureNodeModules } from './toolchain.mjs';

const usage = 'npm run demo [-- --port N] [-- --shot out.png [photo.jpg]]';
const sample = join(root, 'www/samples/street.png');

function readDemoArguments() {
  const options = { port: { type: 'string', default: '8080' }, shot: { type: 'string' } };
  const { values, positionals } = readArguments(usage, options, { allowPositionals: true });
  const picture = resolve(positionals[0] ?? sample);
  if (values.shot && !existsSync(picture)) throw new Error(`There is no picture ${picture}.`);
  if (values.shot && extname(values.shot) !== '.png')
    throw new Error(`The screenshot is a PNG: name it so, not ${values.shot}.`);
  return { port: Number(values.port), shot: values.shot && resolve(values.shot), picture };
}

/** The page in a browser window with `picture` chosen; ends when its boxes and mask are drawn. */
async function takeShot(url, shot, picture) {
  const { browser: executablePath } = ensureChromium();
  const { launchChromium } = await import('./chromium.mjs');
  const browser = await launchChromium(executablePath);
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.goto(url);
    await page.setInputFiles('#file', picture);
    await page.waitForSelector('html[data-state="done"], html[data-state="error"]', { timeout: 120_000 });
    const failed = (await page.getAttribute('html', 'data-state')) === 'error';
    if (failed) throw new Error(await page.locator('#error').innerText());
    console.log(await page.locator('#status').innerText());
    mkdirSync(dirname(shot), { recursive: true });
    await page.screenshot({ path: shot, fullPage: true });
  } finally {
    await browser.close();
  }
  console.log(`Screenshot: ${shot}`);
}

async function main() {
  const { port, shot, picture } = readDemoArguments();
  await ensureNodeModules();
  const { buildPage } = await import('./build.mjs');
  await buildPage();
  const { serve } = await import('./serve.mjs');
  const { url, close } = await serve(join(root, 'dist/page'), { port: shot ? 0 : port });
  if (!shot) {
    console.log(`Page: ${url} (Ctrl+C ends it)`);
    return;
  }
  await takeShot(url, shot, picture).finally(close);
}

await main().catch((error) => {
  console.error(`${error.message}\nUsage: ${usage}`);
  process.exit(1);
});
