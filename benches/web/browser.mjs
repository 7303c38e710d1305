// A Chromium that runs workers: each launch is a fresh one, each worker in a page and a profile of its own.
/* global Worker, setTimeout, clearTimeout */
import { ensureChromium } from '../../pkg-config/toolchain.mjs';

// A job that is silent for so long has hung; the slowest takes half a minute.
const patience = 180_000;

// A new page's own threads are busy for as long, and take turns with the engine's: on two cores, both of an engine's threads then share one for a while.
const settling = 1000;

/** In the page: gives `job` to its worker, which the first one starts. */
function inWorker({ script, job, patience }) {
  return new Promise((resolve) => {
    const worker = (globalThis.worker ??= new Worker(script));
    const impatience = setTimeout(resolve, patience, { error: `no answer in ${patience / 1000} s` });
    const end = (answer) => {
      clearTimeout(impatience);
      resolve(answer);
    };
    worker.onmessage = ({ data }) => end(data);
    worker.onerror = ({ message }) => end({ error: message ?? 'the worker failed' });
    worker.postMessage(job);
  });
}

/**
 * Launches a browser at `origin`, its engine with `jsFlags` where there are any. `open` starts a worker in a page of its own: `ask` gives it a job and
 * resolves to the result or rejects with its error.
 */
export async function launch(origin, jsFlags) {
  // Not from the start: a fresh clone has no Playwright until the bench has called `npm ci`.
  const { launchChromium } = await import('../../pkg-config/chromium.mjs');
  const browser = await launchChromium(ensureChromium().browser, jsFlags ? [`--js-flags=${jsFlags}`] : []);
  const open = async (script) => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.goto(`${origin}/bench/page.html`);
    await page.waitForTimeout(settling);
    const ask = async (job) => {
      const { result, error } = await page.evaluate(inWorker, { script, job, patience });
      if (error) throw new Error(error);
      return result;
    };
    return { ask, close: () => context.close() };
  };
  return { version: `Chromium ${browser.version()}`, open, close: () => browser.close() };
}
