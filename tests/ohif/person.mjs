// A person in a real browser: opens a page of the gateway, logs in at the OpenID Provider, uses the session from the
// page of a viewer, and logs out. Pages of strangers try to use it too. The report is JSON on the last line.
//
//   node person.mjs GATEWAY ID SCREENSHOTS INSTANCE
//
// Standard input is the socket on which the viewer's page is served, at http://localhost; INSTANCE is the path of an
// instance below a DICOMweb root. The environment: CHROMIUM (/usr/bin/chromium), PLAYWRIGHT (where playwright-core is).
import { mkdir } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';

import { launch, tell } from './browser.mjs';
import { logIn } from './log_in.mjs';

const [gateway, id, screenshots, instance] = process.argv.slice(2);
await mkdir(screenshots, { recursive: true });
const manifest = `${gateway}/manifests/${id}`;
const studies = `${manifest}/dicomweb/studies`;
const picture = `${manifest}/dicomweb/${instance}/rendered`;

// An empty page, for whoever serves it.
function pages(where) {
  const server = http.createServer((_request, response) => {
    response.setHeader('Content-Type', 'text/html');
    response.end('<!doctype html><meta charset="utf-8"><title>A page</title>');
  });
  return new Promise(resolve => server.listen(where, () => resolve(server)));
}

const viewer = await pages({ fd: 0 });
const stranger = await pages({ port: 0, host: '127.0.0.1' });
const [viewerAt, strangerAt] = [viewer, stranger].map(server => server.address().port);
const browser = await launch();
const report = { errors: [] };
await tell(report, { browser, server: { close: () => [viewer, stranger].map(server => server.close()) } }, async () => {
  const context = await browser.newContext({ viewport: { width: 900, height: 700 } });
  const page = await context.newPage();
  const shot = name => page.screenshot({ path: path.join(screenshots, `${name}.png`) });

  // The login.
  await page.goto(`${manifest}/viewers`);
  report.asked = { at: new URL(page.url()).origin, cookies: await cookies(context) };
  await shot('1-login');
  await logIn(page, 'dr-a');
  report.back = page.url();
  report.page = await page.evaluate(() => document.body.innerText);
  report.cookies = await cookies(context);
  report.session = (await context.cookies(gateway)).find(cookie => cookie.name === '__Host-xcwado')?.value;
  await shot('2-viewers');
  const shown = await page.goto(picture);
  report.picture = { status: shown.status(), width: await page.evaluate(() => document.images[0]?.naturalWidth) };
  await shot('3-picture');

  // The page of a viewer in the settings, and those of strangers: of the same site, and of another one.
  for (const [name, origin] of [
    ['viewer', `http://localhost:${viewerAt}`],
    ['neighbour', `http://localhost:${strangerAt}`],
    ['stranger', `http://127.0.0.1:${strangerAt}`],
  ]) {
    report[name] = await attempts(context, origin);
  }

  // The way out, from the viewer's page.
  await page.goto(`http://localhost:${viewerAt}/`);
  await post(page, `${gateway}/logout`);
  await shot('4-logout');
  await page.getByRole('button', { name: 'Yes, sign me out' }).click();
  report.after = { first: await first(page), cookies: await cookies(context) };
  await page.goto(`${manifest}/viewers`);
  report.after.at = new URL(page.url()).origin;
  report.after.asksForPassword = (await page.locator('input[name="password"]').count()) === 1;

  // In and out again, from the gateway's own page.
  await page.goto(`${gateway}/`);
  await page.getByRole('link', { name: 'Log in' }).click();
  await logIn(page, 'dr-a');
  report.own = [await first(page)];
  await shot('5-inside');
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByRole('button', { name: 'Yes, sign me out' }).click();
  report.own.push(await first(page), (await cookies(context)).length);
  await shot('6-outside');
});

// What the first page of the gateway says.
async function first(page) {
  await page.waitForURL(`${gateway}/`, { timeout: 30_000 });
  return page.locator('p').first().innerText();
}

async function cookies(context) {
  const all = await context.cookies(gateway);
  const ours = all.filter(cookie => cookie.name.startsWith('__Host-'));
  return ours.map(({ value: _value, expires: _expires, ...rest }) => rest);
}

// What a page of an origin gets from the gateway, in the browser of somebody who has logged in; and for each request to
// it, whether the browser sent the session with it.
async function attempts(context, origin) {
  const page = await context.newPage();
  const told = await eavesdrop(context, page);
  const fetched = await within(page, origin, read, studies);
  const shown = await within(page, origin, embed, [picture, null]);
  const shown_with_origin = await within(page, origin, embed, [picture, 'use-credentials']);
  await within(page, origin, send, `${manifest}/links`);
  for (const url of [`${gateway}/manifests`, ...(origin.endsWith(`:${viewerAt}`) ? [] : [`${gateway}/logout`])]) {
    await page.goto(`${origin}/`);
    await post(page, url);
  }
  await page.close();
  return { fetched, shown, shown_with_origin, told };
}

async function within(page, origin, what, argument) {
  await page.goto(`${origin}/`);
  return page.evaluate(what, argument);
}

// What goes over the wire to the gateway, also what the browser keeps from the page.
async function eavesdrop(context, page) {
  const wire = await context.newCDPSession(page);
  const [asked, told] = [new Map(), []];
  const entry = id => asked.get(id) ?? asked.set(id, {}).get(id);
  wire.on('Network.requestWillBeSent', ({ requestId, request, type }) => {
    if (!request.url.startsWith(gateway)) return;
    Object.assign(entry(requestId), { request: `${request.method} ${type} ${new URL(request.url).pathname.split('/').pop()}` });
    told.push(entry(requestId));
  });
  wire.on('Network.requestWillBeSentExtraInfo', ({ requestId, associatedCookies }) => {
    const sent = associatedCookies.filter(({ blockedReasons }) => blockedReasons.length === 0);
    entry(requestId).session = sent.some(({ cookie }) => cookie.name === '__Host-xcwado');
  });
  wire.on('Network.responseReceivedExtraInfo', ({ requestId, statusCode }) => (entry(requestId).status = statusCode));
  await wire.send('Network.enable');
  return told;
}

async function read(url) {
  const options = { credentials: 'include', headers: { Accept: 'application/dicom+json' } };
  try {
    return (await (await fetch(url, options)).json()).length;
  } catch {
    return 'not readable';
  }
}

function embed([url, crossOrigin]) {
  const image = Object.assign(new Image(), { crossOrigin });
  document.body.append(image);
  return new Promise(resolve => {
    image.onload = () => resolve(image.naturalWidth);
    image.onerror = () => resolve('not shown');
    image.src = url;
  });
}

async function send(url) {
  const body = new Blob(['{}'], { type: 'text/plain' });
  await fetch(url, { method: 'POST', mode: 'no-cors', credentials: 'include', body }).catch(() => {});
}

// Sends a form, as any page can, and waits for the page that comes back.
async function post(page, action) {
  const arrives = page.waitForEvent('framenavigated');
  await page.evaluate(to => {
    const form = Object.assign(document.createElement('form'), { method: 'post', action: to, enctype: 'text/plain' });
    document.body.append(form);
    form.submit();
  }, action);
  await arrives;
  await page.waitForLoadState('load');
}
