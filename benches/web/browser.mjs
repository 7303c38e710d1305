// A Chromium that runs workers: each launch is a fresh one, each job a fresh page in a profile of its own.
/* global Worker, setTimeout */
import { ensureChromium } from '../../pkg-config/toolchain.mjs';

// A job that is silent for so long has hung; the slowest takes half a minute.
const patience = 180_000;

// A new page's own threads are busy for as long, and take turns with the engine's: on two cores, both of an engine's threads then share one for a while.
const settling = 1000;

function inWorker({ script, job, patience }) {
  return new Promise((resolve) => {
    const worker = new Worker(script);
    const end = (answer) => {
      worker.terminate();
      resolve(answer);
    };
    setTimeout(end, patience, { error: `no answer in ${patience / 1000} s` });
    worker.onmessage = ({ data }) => end(data);
    worker.onerror = ({ message }) => end({ error: message ?? 'the worker failed' });
    worker.postMessage(job);
  });
}

/**
 * Launches a browser at `origin`, its engine with `jsFlags` where there are any; `run` gives a job to a worker and resolves to { result } or
 * { error }.
 */
export async function launch(origin, jsFlags) {
  // Not from the start: a fresh clone has no Playwright until the bench has called `npm ci`.
  const { launchChromium } = await import('../../pkg-config/chromium.mjs');
  const browser = await launchChromium(ensureChromium().browser, jsFlags ? [`--js-flags=${jsFlags}`] : []);
  const run = async (script, job) => {
    const context = await browser.newContext();
    try {
      const page = await context.newPage();
      await page.goto(`${origin}/bench/page.html`);
      await page.waitForTimeout(settling);
      return await page.evaluate(inWorker, { script, job, patience });
    } catch (error) {
      return { error: error.message };
    } finally {
      await context.close();
    }
  };
  return { version: `Chromium ${browser.version()}`, run, close: () => browser.close() };
}
