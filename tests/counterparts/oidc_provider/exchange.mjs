// Token exchange at oidc-provider (RFC 8693): for an access token of the API, or for an ID-JAG
// (draft-ietf-oauth-identity-assertion-authz-grant). What a session's token is worth, oidc-provider itself judges.
import { randomUUID } from 'node:crypto';

const TYPE = 'urn:ietf:params:oauth:token-type:';
const PARAMS = ['subject_token', 'subject_token_type', 'requested_token_type', 'audience', 'resource', 'scope'];

async function subject(provider, errors, params) {
  if (params.subject_token_type === `${TYPE}id_token`) {
    const web = await provider.Client.find('web');
    const found = await provider.IdToken.validate(params.subject_token, web).catch(() => undefined);
    if (!found) throw new errors.InvalidGrant('the id_token is not good');
    return found.payload.sub;
  }
  if (params.subject_token_type !== `${TYPE}access_token`) throw new errors.InvalidRequest('subject_token_type');
  const found = await provider.AccessToken.find(params.subject_token);
  if (!found || found.clientId !== 'web') throw new errors.InvalidGrant('the access token is not good');
  return found.accountId;
}

function register({ provider, key }, { jose, errors, clientsAt }) {
  provider.registerGrantType(exchanges.GRANT, async (ctx) => {
    const { params, client } = ctx.oidc;
    const { scope, audience, resource, requested_token_type: wanted } = params;
    const user = await subject(provider, errors, params);
    if (wanted === `${TYPE}id-jag`) {
      const claims = { sub: user, email: `${user}@example.test`, client_id: clientsAt.get(audience) ?? 'nobody', resource, scope };
      const jag = await new jose.SignJWT({ ...claims, jti: randomUUID() })
        .setProtectedHeader({ alg: 'RS256', kid: 'exchange', typ: 'oauth-id-jag+jwt' })
        .setIssuer(provider.issuer).setAudience(audience).setIssuedAt().setExpirationTime('300s').sign(key);
      ctx.body = { access_token: jag, issued_token_type: wanted, token_type: 'N_A', expires_in: 300, scope };
      return;
    }
    if (audience && audience !== 'notes') throw new errors.InvalidTarget();
    const grant = new provider.Grant({ accountId: user, clientId: client.clientId });
    grant.addOIDCScope(scope);
    const token = new provider.AccessToken({ accountId: user, client, scope, grantId: await grant.save(), gty: 'token_exchange' });
    const value = await token.save();
    ctx.body = {
      access_token: value, issued_token_type: `${TYPE}access_token`, token_type: 'Bearer', expires_in: token.expiration, scope,
    };
  }, PARAMS, ['audience', 'resource']);
}

export const exchanges = { GRANT: 'urn:ietf:params:oauth:grant-type:token-exchange', register };
