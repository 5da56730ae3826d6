// Serves OHIF, unmodified, with a configuration that points at a DICOMweb root.
//
//   node tests/ohif/serve.mjs OHIF_DIST ROOT [PORT]
//
// OHIF_DIST is the folder `dist` of the npm package @ohif/app.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html',
  '.ico': 'image/x-icon',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.mjs': 'text/javascript',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

// What an operator would write into OHIF's app-config.js; `oidc` is its OpenID providers. With none, OHIF
// wants no table of them: it fails with an empty one.
export function configuration(root, oidc) {
  const source = {
    friendlyName: 'xcwado',
    name: 'xcwado',
    qidoRoot: root,
    wadoRoot: root,
    wadoUriRoot: `${root}/wado`,
    qidoSupportsIncludeField: true,
    supportsFuzzyMatching: false,
    supportsWildcard: true,
    imageRendering: 'wadors',
    thumbnailRendering: 'wadors',
    enableStudyLazyLoad: true,
    omitQuotationForMultipartRequest: true,
    bulkDataURI: { enabled: true },
    // What the browser opens by its address has no token.
    ...(oidc ? {} : { singlepart: 'video,pdf' }),
  };
  return {
    routerBasename: '/',
    extensions: [],
    modes: [],
    customizationService: {},
    showStudyList: true,
    maxNumberOfWebWorkers: 2,
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: false,
    showLoadingIndicator: true,
    investigationalUseDialog: { option: 'never' },
    oidc,
    defaultDataSourceName: 'dicomweb',
    dataSources: [
      {
        namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
        sourceName: 'dicomweb',
        configuration: source,
      },
      {
        namespace: '@ohif/extension-default.dataSourcesModule.dicomwebproxy',
        sourceName: 'dicomwebproxy',
        configuration: { friendlyName: 'dicomwebproxy', name: 'dicomwebproxy' },
      },
      {
        namespace: '@ohif/extension-default.dataSourcesModule.dicomjson',
        sourceName: 'dicomjson',
        configuration: { friendlyName: 'dicomjson', name: 'json' },
      },
    ],
  };
}

// OHIF as a public client of an OpenID provider, which gets access tokens for a resource (RFC 8707) and renews them.
export function login({ issuer, resource, scope }) {
  return {
    authority: issuer,
    client_id: 'ohif',
    redirect_uri: '/callback',
    post_logout_redirect_uri: '/',
    response_type: 'code',
    scope,
    prompt: 'consent',
    resource,
    extraTokenParams: { resource },
    revokeAccessTokenOnSignout: false,
  };
}

// Resolves to the server once it listens on a port, or on a socket that is open already ({ fd }).
export function serve(dist, root, port = 0, oidc = undefined) {
  const config = `window.config = ${JSON.stringify(configuration(root, oidc))};`;
  const server = http.createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    if (url.pathname === '/app-config.js') {
      response.setHeader('Content-Type', 'text/javascript');
      response.end(config);
      return;
    }
    const file = path.join(dist, path.normalize(decodeURIComponent(url.pathname)));
    const isFile = await stat(file).then(found => found.isFile(), () => false);
    // Every other path is one of the application's own.
    const chosen = isFile ? file : path.join(dist, 'index.html');
    response.setHeader('Content-Type', TYPES[path.extname(chosen)] ?? 'application/octet-stream');
    createReadStream(chosen).on('error', () => response.destroy()).pipe(response);
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(typeof port === 'object' ? port : { port, host: '127.0.0.1' }, () => resolve(server));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [dist, root, port] = process.argv.slice(2);
  if (!dist || !root) {
    console.error('usage: node serve.mjs OHIF_DIST ROOT [PORT]');
    process.exit(2);
  }
  const server = await serve(dist, root.replace(/\/$/, ''), Number(port ?? 3000));
  const response = await fetch(`${root}/studies`, { headers: { Accept: 'application/dicom+json' } });
  const studies = (await response.json()).map(study => study['0020000D'].Value[0]);
  const { address, port: at } = server.address();
  console.log(`http://${address}:${at}/viewer?StudyInstanceUIDs=${studies.join(',')}`);
}
