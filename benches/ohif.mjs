// Opens a series in OHIF and says, as JSON on the last line, when its first picture was drawn and
// when all of its frames had come, in milliseconds from the moment that the page was opened.
//
//   node ohif.mjs OHIF_DIST ROOT STUDY SLICES
//
// The environment: CHROMIUM (/usr/bin/chromium), PLAYWRIGHT (where playwright-core is).
import { launch } from '../tests/ohif/browser.mjs';
import { serve } from '../tests/ohif/serve.mjs';

const [dist, root, study, slices] = process.argv.slice(2);
const server = await serve(dist, root);
// The source sends no CORS fields; it is measured all the same.
const browser = await launch('--disable-web-security');
const report = { first: null, all: null, frames: 0, requests: 0 };
try {
  const page = await browser.newPage({ viewport: { width: 1000, height: 800 } });
  // The application itself is loaded before anything is measured.
  const origin = `http://127.0.0.1:${server.address().port}`;
  const seen = new Set();
  await page.goto(`${origin}/viewer?StudyInstanceUIDs=1.2.3`, { waitUntil: 'networkidle' });
  const began = Date.now();
  page.on('requestfinished', request => {
    if (!request.url().startsWith(root)) return;
    report.requests += 1;
    if (/\/frames\/\d+/.test(request.url())) seen.add(request.url());
    if (seen.size >= Number(slices)) report.all ??= Date.now() - began;
  });
  await page.goto(`${origin}/viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'commit' });
  while (Date.now() - began < 180_000 && !(report.first && report.all)) {
    if (!report.first && (await levels(page)) > 16) report.first = Date.now() - began;
    await page.waitForTimeout(50);
  }
  report.frames = seen.size;
} finally {
  await browser.close();
  server.close();
}
console.log(JSON.stringify(report));
process.exit(0);

// How many grey levels the largest canvas has.
async function levels(page) {
  return page
    .evaluate(() => {
      const all = [...document.querySelectorAll('canvas.cornerstone-canvas')];
      const canvas = all.sort((a, b) => b.width * b.height - a.width * a.height)[0];
      if (!canvas || !canvas.width) return 0;
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      const found = new Set();
      for (let i = 0; i < data.length; i += 16) found.add(data[i]);
      return found.size;
    })
    .catch(() => 0);
}
