// npm oidc-provider in several settings, each an issuer with a host name of its own, on one free port of 127.0.0.1.
//
//   node server.mjs FOLDER-WITH-node_modules
//
// The first line on stdin is JSON: {"pages": "https://...", "jwks": {"keys": [...]}}, where callbacks are and the
// public keys of the client `signs`. Prints one line of JSON when it listens: {"port": 12345}. Ends when stdin closes.
//
//   https://plain.op.test      every client, OAuth and OpenID Connect as they are mostly run
//   https://par.op.test        pushed authorization requests only (RFC 9126)
//   https://resource.op.test   tokens are bound to a resource (RFC 8707), userinfo takes none of these
//   https://dpop.op.test       tokens are bound to a key (RFC 9449), with nonces
//   https://exchange.op.test   a session's token for one of the API (RFC 8693), or for an ID-JAG; see exchange.mjs
//   https://logout.op.test     it tells a client of sign-outs (Back-Channel Logout 1.0): they are kept here for the test
//   https://acme.op.test       the issuer of a tenant of the pages: groups in the id_token, and two ways to sign in (acr)
//   https://beta.op.test       the issuer of another tenant: groups at the userinfo endpoint only
//   https://api.op.test        the resource server of all of them, below /NAME
//   https://control.op.test    what the test asks: /alive, /events, /logouts; and says: /client?audience=...&id=...,
//                              /person?name=...&groups=a,b&acr=..., how a person of a tenant signs in from then on
import { join } from 'node:path';
import { createServer } from 'node:http';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';
import { exchanges } from './exchange.mjs';
import { Memory } from './memory.mjs';
import { api } from './api.mjs';

const [home] = process.argv.slice(2);
const load = (...path) => import(pathToFileURL(join(home, 'node_modules', ...path)).href);
console.info = console.warn = () => {}; // its notices about cookies kept in memory and pages for development
const { default: Provider, errors } = await load('oidc-provider', 'lib', 'index.js');
const jose = await load('jose', 'dist', 'webapi', 'index.js');

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const given = JSON.parse((await lines.next()).value);
const SCOPES = ['openid', 'offline_access', 'email', 'api:read', 'api:write'];
const RESOURCE = 'https://api.op.test/resource';
const nonceSecret = Buffer.alloc(32, 7);

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const client = (client_id, more) => ({
  client_id,
  redirect_uris: [`${given.pages}/callback/${client_id}`, `${given.pages}/sign-in/callback`],
  post_logout_redirect_uris: [`${given.pages}/signed-out`],
  grant_types: ['authorization_code', 'refresh_token', ...(more.dpop_bound_access_tokens ? [] : [DEVICE])],
  response_types: ['code'],
  token_endpoint_auth_method: 'client_secret_post',
  scope: SCOPES.join(' '),
  ...(/none|jwt/.test(more.token_endpoint_auth_method) ? {} : { client_secret: `${client_id}-secret-${client_id}-secret-32` }),
  ...more,
});
const SIGNS = { token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'ES256', jwks: given.jwks };
const CLIENTS = [
  client('web', {}),
  client('basic', { token_endpoint_auth_method: 'client_secret_basic' }),
  client('native', { token_endpoint_auth_method: 'none' }),
  client('short', {}), // access tokens of three seconds
  client('signs', SIGNS),
];
const BOUND = [
  client('bound', { dpop_bound_access_tokens: true }),
  client('boundnative', { dpop_bound_access_tokens: true, token_endpoint_auth_method: 'none' }),
  client('boundsigns', { dpop_bound_access_tokens: true, ...SIGNS }),
  client('boundshort', { dpop_bound_access_tokens: true }),
];

const EXCHANGES = [
  client('web', { grant_types: ['authorization_code'] }), // where people sign in: its tokens are their sessions
  client('other', { grant_types: ['authorization_code'] }), // where they sign in, too, for something else
  ...['deputy', 'deputyshort'].map((name) => client(name, { grant_types: [exchanges.GRANT, 'authorization_code'] })),
];

const HEARS = [
  client('hears', {
    grant_types: ['authorization_code'],
    backchannel_logout_uri: `${given.pages}/sign-in/backchannel`,
    backchannel_logout_session_required: true,
  }),
];

const people = new Map(); // groups, and the acr of a sign-in, by the person's name
const client_of = (name) => client('pages', {
  scope: 'openid groups',
  redirect_uris: [`${given.pages}/sign-in/${name}/callback`],
  grant_types: ['authorization_code'],
  backchannel_logout_uri: `${given.pages}/sign-in/${name}/backchannel`,
  backchannel_logout_session_required: true,
});
const TENANT = {
  scopes: ['openid', 'groups'],
  claims: { openid: ['sub'], groups: ['groups'] },
  acrValues: ['pwd', 'phr'],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, groups: people.get(id)?.groups }) }),
};

function withAcr(made) { // its pages for development know no acr
  const finish = made.provider.interactionFinished.bind(made.provider);
  made.provider.interactionFinished = (request, answer, { login, ...rest }, options) => finish(
    request, answer, login ? { ...rest, login: { ...login, acr: people.get(login.accountId)?.acr } } : rest, options,
  );
  return made;
}

const logouts = []; // what it has told clients
async function told(url, { method, headers, body }) { // its own fetch calls no loopback
  logouts.push({ url: String(url), method, type: new Headers(headers).get('content-type'), body: String(body) });
  return new Response('', { status: 200 });
}

const events = {};
const count = (name) => { events[name] = (events[name] ?? 0) + 1; };

async function issuer(name, clients, features, more = {}) {
  const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
  const memory = new Memory();
  const provider = new Provider(`https://${name}.op.test`, {
    adapter: (model) => memory.of(model),
    clients,
    scopes: SCOPES,
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.test`, email_verified: true }),
    }),
    jwks: { keys: [{ ...(await jose.exportJWK(privateKey)), kid: name, use: 'sig', alg: 'RS256' }] },
    cookies: { keys: [`${name}-cookies`] },
    pkce: { required: () => true },
    rotateRefreshToken: true, // a token that comes again ends all of its grant: oidc-provider's own reuse detection
    ttl: {
      AccessToken: (ctx, token, of) => (of.clientId.endsWith('short') ? 3 : 3600),
      AuthorizationCode: 60, Grant: 86400, IdToken: 3600, Interaction: 600, RefreshToken: 86400, Session: 86400,
    },
    features: {
      devInteractions: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
      dPoP: { enabled: false },
      deviceFlow: { enabled: clients === CLIENTS },
      ...features,
    },
    ...more,
  });
  provider.proxy = true; // the address that was asked for is in X-Forwarded-Proto
  provider.on('grant.success', (ctx) => count(`${name} ${ctx.oidc.params.grant_type}`));
  provider.on('grant.error', (ctx, error) => count(`${name} ${error.error}: ${error.error_detail ?? error.error_description}`));
  provider.on('server_error', (ctx, error) => process.stderr.write(`${name}: ${error.stack}\n`));
  return { provider, memory, key: privateKey, handle: provider.callback() };
}

const TELLS = { backchannelLogout: { enabled: true } };
const all = {
  plain: await issuer('plain', CLIENTS, {}),
  par: await issuer('par', CLIENTS, {
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
  }),
  resource: await issuer('resource', CLIENTS, {
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        if (resource !== RESOURCE) throw new errors.InvalidTarget();
        return { scope: 'api:read api:write', audience: RESOURCE, accessTokenFormat: 'opaque' };
      },
    },
  }),
  exchange: await issuer('exchange', EXCHANGES, {}),
  logout: await issuer('logout', HEARS, TELLS, { fetch: told }),
  dpop: await issuer('dpop', BOUND, { dPoP: { enabled: true, nonceSecret, requireNonce: () => true } }),
  acme: withAcr(await issuer('acme', [client_of('acme')], TELLS, { ...TENANT, fetch: told })),
  beta: await issuer('beta', [client_of('beta')], TELLS, { ...TENANT, fetch: told, conformIdTokenClaims: true }),
};

const clientsAt = new Map(); // whom an ID-JAG is for, by its audience: what the company's administrator has set there
exchanges.register(all.exchange, { jose, errors, clientsAt });

function control(request, answer) {
  const { pathname, searchParams } = new URL(request.url, 'https://control.op.test');
  if (pathname === '/person') {
    const groups = searchParams.get('groups')?.split(',');
    people.set(searchParams.get('name'), { groups, acr: searchParams.get('acr') ?? undefined });
  }
  if (pathname === '/client') clientsAt.set(searchParams.get('audience'), searchParams.get('id'));
  const alive = () => Object.fromEntries(Object.entries(all).map(([name, one]) => [name, one.memory.alive()]));
  const told = { '/alive': alive, '/events': () => events, '/logouts': () => ({ logouts }), '/person': () => ({}) };
  const body = told[pathname]?.();
  answer.writeHead(body ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}));
}

const resources = api(all, jose, count);
const server = createServer((request, answer) => {
  const name = (request.headers.host ?? '').replace('.op.test', '');
  if (name === 'api') return resources(request, answer);
  if (name === 'control') return control(request, answer);
  if (name.startsWith('127.0.0.1:')) return all.exchange.handle(request, answer); // a server that looks for its keys
  if (Object.hasOwn(all, name)) return all[name].handle(request, answer);
  return answer.writeHead(421).end();
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`));
for await (const _ of lines); // until stdin closes
process.exit(0);
