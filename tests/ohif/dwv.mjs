// Opens instances in dwv in a real browser and says what it draws, as JSON on the last line.
//
//   node dwv.mjs NODE_MODULES SCREENSHOT URL...
//
// NODE_MODULES is where dwv and its dependencies are; the addresses are those of WADO-RS or WADO-URI instances. The
// environment: CHROMIUM (/usr/bin/chromium), PLAYWRIGHT (where playwright-core is).
import { createReadStream } from 'node:fs';
import http from 'node:http';
import path from 'node:path';

import { launch, tell } from './browser.mjs';

const [modules, screenshot, ...urls] = process.argv.slice(2);
// dwv imports these by name; as they are published, they are scripts that set a global.
const scripts = {
  konva: ['konva/konva.min.js', 'Konva'],
  jszip: ['jszip/dist/jszip.min.js', 'JSZip'],
  'magic-wand-tool': ['magic-wand-tool/dist/magic-wand.min.js', 'MagicWand'],
};
const imports = { dwv: '/dwv/dist/dwv.min.js' };
for (const name of Object.keys(scripts)) imports[name] = `/shim/${name}.js`;
const page = `<!doctype html><meta charset="utf-8">
${Object.values(scripts).map(([file]) => `<script src="/${file}"></script>`).join('\n')}
<script type="importmap">${JSON.stringify({ imports })}</script>
<div id="layerGroup0" style="width: 800px; height: 800px"></div>
<script type="module">
import { App } from 'dwv';
const app = new App();
app.init({ dataViewConfigs: { '*': [{ divId: 'layerGroup0' }] } });
window.events = [];
for (const name of ['error', 'loaderror', 'abort', 'load', 'loadend']) {
  app.addEventListener(name, event => window.events.push([name, String(event.error ?? '')]));
}
// dwv expects several parts because it has asked for them; WADO-URI gives the file itself.
const several = [{ name: 'Accept', value: 'multipart/related; type="application/dicom"; transfer-syntax=*' }];
window.open_ = urls => app.loadURLs(urls, { requestHeaders: urls[0].includes('requestType=') ? [] : several });
window.ready = true;
</script>`;
const server = http.createServer((request, response) => {
  const name = new URL(request.url, 'http://localhost').pathname;
  const shim = name.match(/^\/shim\/(.+)\.js$/)?.[1];
  response.setHeader('Content-Type', name === '/' ? 'text/html' : 'text/javascript');
  if (name === '/') return response.end(page);
  if (shim) return response.end(`export default window.${scripts[shim][1]};`);
  return createReadStream(path.join(modules, path.normalize(name))).on('error', () => response.destroy()).pipe(response);
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const browser = await launch();
const report = { events: [], errors: [], failed: [], levels: 0 };
await tell(report, { browser, server }, async () => {
  const tab = await browser.newPage({ viewport: { width: 820, height: 820 } });
  tab.on('pageerror', error => report.errors.push(String(error)));
  tab.on('response', response => {
    if (response.status() >= 400 && urls.includes(response.url())) report.failed.push(`${response.status()} ${response.url()}`);
  });
  await tab.goto(`http://127.0.0.1:${server.address().port}/`);
  await tab.waitForFunction(() => window.ready, null, { timeout: 20_000 });
  await tab.evaluate(all => window.open_(all), urls);
  await tab.waitForFunction(() => window.events.some(([name]) => name === 'loadend'), null, { timeout: 30_000 });
  await tab.waitForTimeout(700);
  report.events = await tab.evaluate(() => window.events);
  report.levels = await tab.evaluate(() => {
    const canvases = [...document.querySelectorAll('#layerGroup0 canvas')].filter(one => one.width);
    const of = canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size;
    return Math.max(0, ...canvases.map(of));
  });
  await tab.screenshot({ path: screenshot });
});
