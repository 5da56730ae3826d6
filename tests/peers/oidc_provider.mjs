// A certified OpenID Provider (npm's oidc-provider) as the authorization server of a test, on a free
// port. Its first line on standard output says where it is. It reads commands from standard input,
// one a line, answers each with a line, and ends with its input:
//
//   rotate   new keys, in place of the old ones
//
//   OIDC_PROVIDER   the folder with the package (tests/run installs it)
//   SETTINGS        JSON: client_key (a public JWK for private_key_jwt), redirect_uri (of the gateway),
//                   viewer (the origin of OHIF), seconds (the life of an access token)

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

// Its notices go where nobody takes them for answers.
console.info = console.error;
console.warn = console.error;
const entry = join(process.env.OIDC_PROVIDER, 'oidc-provider', 'lib', 'index.js');
const { Provider } = await import(pathToFileURL(entry));
const settings = JSON.parse(process.env.SETTINGS ?? '{}');

let generation = 0;
function keys() {
  generation += 1;
  const kinds = [
    ['rsa', { modulusLength: 2048 }, 'RS256'],
    ['ec', { namedCurve: 'P-256' }, 'ES256'],
    ['ed25519', {}, 'EdDSA'],
  ];
  return kinds.map(([kind, options, alg]) => ({
    ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }),
    kid: `${kind}-${generation}`, use: 'sig', ...(kind === 'rsa' ? {} : { alg }),
  }));
}

// A resource names its format, its algorithm and its audience: https://format.example/alg?audience
function resource(indicator) {
  const url = new URL(indicator);
  const [format, alg] = [url.hostname.split('.')[0], url.pathname.slice(1) || 'RS256'];
  return {
    scope: 'RAD-107 RAD-160',
    audience: decodeURIComponent(url.search.slice(1)),
    accessTokenFormat: format,
    accessTokenTTL: settings.seconds ?? 300,
    ...(format === 'jwt' ? { jwt: { sign: { alg } } } : {}),
  };
}

const iua = {
  subject_name: 'Dr. A',
  subject_organization_id: 'urn:oid:1.2.3',
  subject_role: [{ system: 'urn:oid:2.16.840.1.113883.6.96', code: '106289002' }],
  purpose_of_use: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ActReason', code: 'TREAT' }],
  home_community_id: 'urn:oid:1.2.4',
  person_id: '0815^^^&1.2.3&ISO',
};

const clients = [
  {
    client_id: 'viewer', client_secret: 'viewer-secret', grant_types: ['client_credentials'],
    redirect_uris: [], response_types: [],
  },
  {
    client_id: 'bound', client_secret: 'bound-secret', grant_types: ['client_credentials'],
    redirect_uris: [], response_types: [], tls_client_certificate_bound_access_tokens: true,
  },
  {
    client_id: 'gateway of A', client_secret: 's3cret/+: x', grant_types: [], redirect_uris: [], response_types: [],
  },
  ...(settings.client_key ? [{
    client_id: 'gateway', token_endpoint_auth_method: 'private_key_jwt', grant_types: [],
    redirect_uris: [], response_types: [], jwks: { keys: [settings.client_key] },
  }] : []),
  ...(settings.redirect_uri ? ['client_secret_basic', 'none'].map((method) => ({
    client_id: `pages-${method}`, token_endpoint_auth_method: method,
    ...(method === 'none' ? {} : { client_secret: 'pages-secret' }),
    grant_types: ['authorization_code'], response_types: ['code'],
    redirect_uris: [settings.redirect_uri],
    post_logout_redirect_uris: [new URL('..', settings.redirect_uri).href],
  })) : []),
  ...(settings.viewer ? [{
    client_id: 'ohif', token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
    redirect_uris: [`${settings.viewer}/callback`], post_logout_redirect_uris: [`${settings.viewer}/`],
  }] : []),
];

const server = createServer();
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

function provider() {
  return new Provider(issuer, {
    clients,
    jwks: { keys: keys() },
    cookies: { keys: ['test'] },
    scopes: ['openid', 'offline_access', 'RAD-107', 'RAD-160'],
    clientAuthMethods: ['client_secret_basic', 'private_key_jwt', 'none'],
    enabledJWA: {
      clientAuthSigningAlgValues: ['ES384', 'RS384'],
      idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'],
    },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, extensions: { ihe_iua: iua } }),
    }),
    claims: { openid: ['sub', 'extensions'] },
    conformIdTokenClaims: false,
    extraTokenClaims: () => ({ extensions: { ihe_iua: iua } }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        // A proxy in front of the server would have verified it.
        getCertificate: (ctx) => decodeURIComponent(ctx.get('x-client-certificate')) || undefined,
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, indicator) => resource(indicator),
      },
    },
  });
}

function start() {
  server.removeAllListeners('request');
  server.on('request', provider().callback());
}

start();
console.log(JSON.stringify({ issuer }));
createInterface({ input: process.stdin }).on('line', (command) => {
  if (command === 'rotate') start();
  console.log(JSON.stringify({ done: command }));
}).on('close', () => process.exit());
