// Opens a study in OHIF in a real browser and says what happened, as JSON on the last line.
//
//   node view.mjs OHIF_DIST ROOT SCREENSHOTS --study UID --series COUNT [--proxy URL | --json URL | --oidc JSON]
//
// With --oidc (issuer, resource, scope, person), OHIF has a login of its own, and its socket is standard input.
//
// The environment: CHROMIUM (/usr/bin/chromium), PLAYWRIGHT (where playwright-core is).
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { launch, tell } from './browser.mjs';
import { logIn } from './log_in.mjs';
import { configuration, login, serve } from './serve.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    proxy: { type: 'string' },
    json: { type: 'string' },
    oidc: { type: 'string' },
    study: { type: 'string' },
    series: { type: 'string' },
  },
});
const [dist, root, screenshots] = positionals;
await mkdir(screenshots, { recursive: true });

const oidc = options.oidc && JSON.parse(options.oidc);
const server = await serve(dist, root, oidc ? { fd: 0 } : 0, oidc ? [login(oidc)] : undefined);
const origin = `http://${oidc ? 'localhost' : '127.0.0.1'}:${server.address().port}`;
const browser = await launch();

const tokens = new Set();
const report = { requests: 0, failed: [], errors: [], series: [], authorized: {} };
await tell(report, { browser, server }, async () => {
  if (oidc) report.anonymous = await anonymous();
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const gateway = new URL(root).origin;
  page.on('request', request => {
    if (!request.url().startsWith(gateway)) return;
    const sent = request.headers().authorization;
    if (sent) tokens.add(sent);
    const kind = sent?.split(' ')[0] ?? 'none';
    report.authorized[kind] = (report.authorized[kind] ?? 0) + 1;
  });
  page.on('response', response => {
    if (!response.url().startsWith(gateway)) return;
    report.requests += 1;
    if (response.status() >= 400) report.failed.push(`${response.status()} ${response.url()}`);
  });
  page.on('requestfailed', request => {
    const why = request.failure()?.errorText;
    // What the page itself gives up because it has left is no failure.
    if (request.url().startsWith(gateway) && why !== 'net::ERR_ABORTED') {
      report.failed.push(`${why} ${request.url()}`);
    }
  });
  page.on('pageerror', error => report.errors.push(String(error)));
  if (process.env.VERBOSE) page.on('console', message => console.error(message.text()));

  const began = Date.now();
  const study = options.study;
  const url = options.proxy
    ? `${origin}/viewer/dicomwebproxy?studyInstanceUIDs=${study}&url=${encodeURIComponent(options.proxy)}`
    : options.json
      ? `${origin}/viewer/dicomjson?StudyInstanceUIDs=${study}&url=${encodeURIComponent(options.json)}`
      : `${origin}/viewer?StudyInstanceUIDs=${study}`;
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  if (oidc) await enter(page);

  // Thumbnails are pictures once they are drawn, one for each series.
  const thumbnails = page.locator('[data-cy="study-browser-thumbnail"], [data-cy="study-browser-thumbnail-no-image"]');
  await thumbnails.nth(Number(options.series) - 1).waitFor({ timeout: 90_000 });
  // More than were expected would come now.
  await page.waitForTimeout(1000);
  // The tour that greets newcomers lies over everything.
  await page.getByText('Skip all').click({ timeout: 10_000 }).catch(() => {});
  report.series = await thumbnails.evaluateAll(nodes => nodes.map(node => node.innerText.trim()));

  report.shown = [];
  const count = await thumbnails.count();
  for (let at = 0; at < count; at += 1) {
    await thumbnails.nth(at).dblclick();
    await page.waitForTimeout(1000);
    await page.locator('.cornerstone-viewport-element').first().hover();
    const slices = Number((await position(page))?.split('/')[1] ?? 1);
    for (let step = 0; step < Math.floor(slices / 2); step += 1) {
      await page.keyboard.press('ArrowDown');
    }
    const middle = await drawn(page, 16);
    if (at === 0) report.first_picture = Date.now() - began;
    await page.screenshot({ path: path.join(screenshots, `series-${at + 1}-middle.png`) });
    const there = await position(page);
    await page.keyboard.press('End');
    const last = await drawn(page, 0);
    report.shown.push({ slices, middle, at: there, last, end: await position(page) });
    await page.screenshot({ path: path.join(screenshots, `series-${at + 1}-last.png`) });
  }
  await page.waitForTimeout(500);
  report.thumbnails = await page
    .locator('[data-cy="study-browser-thumbnail"] img')
    .evaluateAll(images => images.map(image => image.naturalWidth));
  if (oidc) {
    report.renewed = await renewed(page);
    report.out = await leave(page);
  }
});

// A person who is asked to log in, before OHIF has asked the gateway for anything.
async function enter(page) {
  await page.waitForURL(url => url.href.startsWith(oidc.issuer), { timeout: 30_000 });
  report.before = { ...report.authorized };
  await logIn(page, oidc.person);
}

// What the gateway answers to the token that OHIF has got in place of its first one.
async function renewed(page) {
  const stored = `oidc.user:${oidc.issuer}:ohif`;
  const token = () => page.evaluate(key => JSON.parse(sessionStorage.getItem(key)).access_token, stored);
  for (let tries = 0; tries < 80 && tokens.has(`Bearer ${await token()}`); tries += 1) await page.waitForTimeout(250);
  const Authorization = `Bearer ${await token()}`;
  const isNew = !tokens.has(Authorization);
  const status = await page.evaluate(
    async ([url, headers]) => (await fetch(url, { headers })).status,
    [`${root}/studies`, { Authorization }],
  );
  return { isNew, status };
}

// The person logs out in OHIF and at the provider; OHIF asks for a login again.
async function leave(page) {
  await page.goto(`${origin}/logout`, { waitUntil: 'domcontentloaded' });
  await page.getByRole('button', { name: 'Yes, sign me out' }).click({ timeout: 30_000 });
  await page.locator('input[name="password"]').waitFor({ timeout: 30_000 });
  return new URL(page.url()).origin;
}

// What OHIF shows without a login of its own, and what the gateway answers.
async function anonymous() {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  const page = await context.newPage();
  const [statuses, challenges] = [new Set(), new Set()];
  page.on('response', async response => {
    if (!response.url().startsWith(root)) return;
    statuses.add(response.status());
    challenges.add((await response.allHeaders())['www-authenticate']);
  });
  const contentType = 'text/javascript';
  const body = `window.config = ${JSON.stringify(configuration(root))};`;
  await page.route('**/app-config.js', route => route.fulfill({ contentType, body }));
  await page.goto(`${origin}/viewer?StudyInstanceUIDs=${options.study}`, { waitUntil: 'domcontentloaded' });
  await page.waitForResponse(response => response.url().startsWith(root), { timeout: 60_000 });
  await page.waitForTimeout(5000);
  await page.screenshot({ path: path.join(screenshots, 'anonymous.png') });
  const seen = { statuses: [...statuses], challenges: [...challenges], ...(await picture(page)) };
  await context.close();
  return seen;
}

// The picture once it stays as it is, with more than so many grey levels if that ever happens.
async function drawn(page, levels) {
  let last = null;
  for (let tries = 0; tries < 160; tries += 1) {
    const now = await picture(page);
    if (last && now.sum === last.sum && now.levels > levels) return now;
    last = now;
    await page.waitForTimeout(250);
  }
  return last;
}

// How many grey levels the largest canvas has, and a sum that tells pictures apart.
async function picture(page) {
  return page.evaluate(() => {
    const all = [...document.querySelectorAll('canvas.cornerstone-canvas')];
    const canvas = all.sort((a, b) => b.width * b.height - a.width * a.height)[0];
    if (!canvas || !canvas.width) return { levels: 0, sum: 0 };
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const levels = new Set();
    let sum = 0;
    for (let i = 0; i < data.length; i += 4) {
      levels.add(data[i]);
      sum = (sum * 31 + data[i] + 3 * data[i + 1] + 7 * data[i + 2]) % 1_000_000_007;
    }
    return { levels: levels.size, sum, width: canvas.width, height: canvas.height };
  });
}

// What the viewport says of the slice that is shown: "12/20"; null of an image that is alone.
async function position(page) {
  const text = await page.evaluate(() => document.body.innerText);
  return text.match(/\((\d+\/\d+)\)/)?.[1] ?? null;
}
