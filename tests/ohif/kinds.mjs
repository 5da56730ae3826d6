// Opens each series of a study in OHIF and says what stands in the viewport: grey levels of a picture and of the
// frames after it, a document, a video that plays, a slide. The report is JSON on the last line.
//
//   node kinds.mjs OHIF_DIST ROOT SCREENSHOTS --study UID --series COUNT [--proxy URL | --json URL] [--mode PATH]
//
// The environment: CHROMIUM (/usr/bin/chromium), PLAYWRIGHT (where playwright-core is).
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { launch, tell } from './browser.mjs';
import { serve } from './serve.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    proxy: { type: 'string' },
    json: { type: 'string' },
    mode: { type: 'string', default: 'viewer' },
    study: { type: 'string' },
    series: { type: 'string' },
    video: { type: 'string', default: 'XC' },
  },
});
const [dist, root, screenshots] = positionals;
await mkdir(screenshots, { recursive: true });
const server = await serve(dist, root);
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await launch('--autoplay-policy=no-user-gesture-required');
const report = { failed: [], errors: [], shown: {} };
await tell(report, { browser, server }, async () => {
  const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
  const gateway = new URL(root).origin;
  page.on('response', response => {
    if (response.url().startsWith(gateway) && response.status() >= 400) {
      report.failed.push(`${response.status()} ${response.url()}`);
    }
  });
  page.on('pageerror', error => report.errors.push(String(error)));
  if (process.env.VERBOSE) page.on('console', message => console.error(message.text()));
  const [source, url] = options.proxy ? ['/dicomwebproxy', options.proxy] : options.json ? ['/dicomjson', options.json] : ['', ''];
  const study = source === '/dicomwebproxy' ? 'studyInstanceUIDs' : 'StudyInstanceUIDs';
  const query = `${study}=${options.study}` + (url && `&url=${encodeURIComponent(url)}`);
  await page.goto(`${origin}/${options.mode}${source}?${query}`, { waitUntil: 'domcontentloaded' });

  const any = '[data-cy="study-browser-thumbnail"], [data-cy="study-browser-thumbnail-no-image"]';
  const thumbnails = page.locator(any);
  await thumbnails.nth(Number(options.series) - 1).waitFor({ timeout: 60_000 });
  await page.waitForTimeout(1000);
  await page.getByText('Skip all').click({ timeout: 5000 }).catch(() => {});
  for (let at = 0; at < (await thumbnails.count()); at += 1) {
    const name = (await thumbnails.nth(at).innerText()).split('\n')[0].trim();
    await thumbnails.nth(at).dblclick();
    await page.waitForTimeout(2500);
    const seen = await page.evaluate(look);
    if (seen.levels > 1) {
      // A video goes on by itself once it plays; the frames of a cine are paged through.
      const isVideo = name === options.video;
      seen.sums = [seen.sum];
      await page.locator('.cornerstone-viewport-element').first().hover().catch(() => {});
      if (isVideo) await page.locator('[data-cy="cine-player-play-pause"]').first().click({ timeout: 2000 }).catch(() => {});
      for (let step = 0; step < 3; step += 1) {
        if (!isVideo) await page.keyboard.press('ArrowDown');
        await page.waitForTimeout(400);
        seen.sums.push((await page.evaluate(look)).sum);
      }
    }
    report.shown[name] = seen;
    await page.screenshot({ path: path.join(screenshots, `${at + 1}.png`) });
  }
});

// What the page shows, biggest things first.
async function look() {
  const object = document.querySelector('object[type="application/pdf"], object[data], embed, iframe[src]');
  if (object) return { document: object.data ?? object.src };
  const canvases = [...document.querySelectorAll('canvas')].filter(one => one.width > 200);
  const canvas = canvases.sort((a, b) => b.width * b.height - a.width * a.height)[0];
  if (!canvas) return { levels: 0 };
  const copy = document.createElement('canvas');
  Object.assign(copy, { width: canvas.width, height: canvas.height });
  copy.getContext('2d').drawImage(canvas, 0, 0);
  const { data } = copy.getContext('2d').getImageData(0, 0, copy.width, copy.height);
  const levels = new Set();
  let sum = 0;
  for (let i = 0; i < data.length; i += 4) {
    levels.add(data[i] * 65536 + data[i + 1] * 256 + data[i + 2]);
    sum = (sum * 31 + data[i] + 3 * data[i + 1] + 7 * data[i + 2]) % 1_000_000_007;
  }
  return { levels: levels.size, sum, slide: Boolean(document.querySelector('.DicomMicroscopyViewer, .ol-viewport')) };
}
