// The resource server: notes of whoever the token is of, at https://api.op.test/ISSUER/notes.
//
// It looks an access token up at its issuer, as introspection would (RFC 7662), and for one that is bound to a key
// wants a proof for this very request (RFC 9449 4.3, 7.1), with a nonce of its own that changes now and then (9).
import { createHash, randomUUID } from 'node:crypto';

const USES_OF_A_NONCE = 50;

export function api(issuers, jose, count) {
  const notes = new Map(); // "issuer user" -> texts by key
  const seen = new Set(); // jti of proofs
  let nonce = { value: randomUUID(), uses: 0 };

  class Refused extends Error {
    constructor(status, error, more = {}) {
      super(error);
      Object.assign(this, { status, error, more });
    }
  }

  async function proved(request, url, token, bound) {
    const proof = request.headers.dpop;
    if (!proof || proof.includes(',')) throw new Refused(401, 'invalid_dpop_proof');
    const { payload, protectedHeader } = await jose
      .jwtVerify(proof, jose.EmbeddedJWK, { algorithms: ['ES256'], typ: 'dpop+jwt', clockTolerance: 5 })
      .catch(() => { throw new Refused(401, 'invalid_dpop_proof'); });
    const ath = createHash('sha256').update(token).digest('base64url');
    const good = payload.htm === request.method && payload.htu === `${url.origin}${url.pathname}` && payload.ath === ath
      && Math.abs(Date.now() / 1000 - payload.iat) < 60 && !seen.has(payload.jti) && !protectedHeader.jwk.d
      && (await jose.calculateJwkThumbprint(protectedHeader.jwk)) === bound;
    if (!good) throw new Refused(401, 'invalid_dpop_proof');
    if (payload.nonce !== nonce.value) throw new Refused(401, 'use_dpop_nonce', { 'dpop-nonce': nonce.value });
    seen.add(payload.jti);
    nonce.uses += 1;
    if (nonce.uses >= USES_OF_A_NONCE) nonce = { value: randomUUID(), uses: 0 };
  }

  async function whose(request, url, name) {
    const [kind, value] = (request.headers.authorization ?? '').split(' ');
    const token = issuers[name] && value && (await issuers[name].provider.AccessToken.find(value));
    if (!token) throw new Refused(401, 'invalid_token');
    if (kind !== (token.jkt ? 'DPoP' : 'Bearer')) throw new Refused(401, 'invalid_token');
    if (name === 'resource' && token.aud !== `${url.origin}/resource`) throw new Refused(401, 'invalid_token');
    if (token.jkt) await proved(request, url, value, token.jkt);
    return token;
  }

  async function answered(request) {
    const url = new URL(request.url, 'https://api.op.test');
    const [, name, what, more] = url.pathname.split('/');
    if (what !== 'notes' || more) throw new Refused(404, 'not_found');
    const token = await whose(request, url, name);
    const needed = request.method === 'GET' ? 'api:read' : 'api:write';
    if (!token.scopes.has(needed)) throw new Refused(403, 'insufficient_scope', { scope: needed });
    const whoever = `${name} ${token.accountId}`;
    if (request.method === 'GET') return [200, { user: token.accountId, notes: notes.get(whoever)?.size ?? 0 }];
    let body = '';
    for await (const part of request) body += part;
    const { key, text } = JSON.parse(body);
    const own = notes.get(whoever) ?? new Map(); // not before the body is here: another first note may come meanwhile
    if (own.has(key)) count(`${name} written twice`);
    notes.set(whoever, own.set(key, text));
    return [201, { user: token.accountId, id: key }];
  }

  return async (request, answer) => {
    const say = (status, body, headers = {}) => {
      count(`api ${status}`);
      answer.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
    };
    try {
      say(...(await answered(request)));
    } catch (error) {
      if (!(error instanceof Refused)) { process.stderr.write(`api: ${error.stack}\n`); return say(500, {}); }
      const { 'dpop-nonce': fresh, ...named } = error.more;
      const scheme = request.headers.authorization?.startsWith('DPoP') ? 'DPoP' : 'Bearer';
      const words = Object.entries({ error: error.error, ...named }).map(([key, value]) => `${key}="${value}"`);
      const headers = { 'www-authenticate': `${scheme} ${words.join(', ')}`, ...(fresh ? { 'dpop-nonce': fresh } : {}) };
      return say(error.status, { error: error.error }, headers);
    }
    return undefined;
  };
}
