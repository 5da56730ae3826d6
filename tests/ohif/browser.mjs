// Starts Debian's Chromium without a window, and without anything that it does unasked.
//
// The environment: CHROMIUM (/usr/bin/chromium), PLAYWRIGHT (where playwright-core is).
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(process.env.PLAYWRIGHT ?? process.cwd(), 'package.json'));
const { chromium } = require('playwright-core');

// With these arguments more.
export function launch(...more) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--use-gl=swiftshader',
      '--enable-unsafe-swiftshader',
      ...more,
    ],
  });
}

// Does what a script is for; then prints its report, also of what went wrong, and ends.
export async function tell(report, { browser, server }, look) {
  try {
    await look();
  } catch (error) {
    report.errors.push(String(error));
  } finally {
    await browser.close();
    server.close();
  }
  console.log(JSON.stringify(report));
  process.exit(0);
}
