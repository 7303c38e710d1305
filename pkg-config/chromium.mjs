// The one way in which the project's programs start a browser.
import { chromium } from '@playwright/test';
import { chromiumArgs } from './webdriver.mjs';

/** A headless browser. */
export function launchChromium(executablePath, args = []) {
  return chromium.launch({ executablePath, args: [...chromiumArgs, ...args] });
}
