// The one way in which the project starts a browser.
import { chromium } from '@playwright/test';

/** What a browser on a machine without display, sandbox and network needs. */
export const chromiumArgs = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A headless browser. */
export function launchChromium(executablePath, args = []) {
  return chromium.launch({ executablePath, args: [...chromiumArgs, ...args] });
}
