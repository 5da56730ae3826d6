// Records two seconds of a moving square as MPEG-4 AVC/H.264, by the browser itself.
//
//   node record.mjs FILE.mp4
//
// Ends with status 3 if this browser has no encoder.
import { writeFileSync } from 'node:fs';

import { launch } from './browser.mjs';

const browser = await launch();
const page = await browser.newPage();
const video = await page.evaluate(async () => {
  const mimeType = 'video/mp4;codecs=avc1.42E01E';
  if (!MediaRecorder.isTypeSupported(mimeType)) return null;
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: 320, height: 240 });
  document.body.append(canvas);
  const pen = canvas.getContext('2d');
  const recorder = new MediaRecorder(canvas.captureStream(25), { mimeType });
  const parts = [];
  recorder.ondataavailable = event => parts.push(event.data);
  const stopped = new Promise(resolve => (recorder.onstop = resolve));
  recorder.start();
  for (let step = 0; step < 50; step += 1) {
    pen.fillStyle = '#224';
    pen.fillRect(0, 0, 320, 240);
    pen.fillStyle = '#f80';
    pen.fillRect(step * 5, 90, 60, 60);
    await new Promise(resolve => setTimeout(resolve, 40));
  }
  recorder.stop();
  await stopped;
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''));
});
await browser.close();
if (!video) process.exit(3);
writeFileSync(process.argv[2], Buffer.from(video, 'base64'));
