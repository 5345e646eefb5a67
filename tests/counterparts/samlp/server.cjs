// npm samlp as SAML 2.0 identity providers on loopback, one for each tenant, which verify what deputize signs.
//
// First line of stdin: {tenant: {key, cert, service: {cert, acs, logout, entity}}}. Prints {"port": n}; ends with stdin.
//   GET /TENANT/metadata                             GET|POST /TENANT/logout
//   GET /TENANT/sso?SAMLRequest=...&as=NAME&groups=A,B&how=signed|both|gcm|cbc
const http = require('http'), path = require('path'), readline = require('readline')
const samlp = require(path.join(process.argv[2], 'node_modules', 'samlp'))

const PERSISTENT = 'urn:oasis:names:tc:SAML:2.0:nameid-format:persistent'
const SEALED = {
  gcm: 'http://www.w3.org/2009/xmlenc11#aes256-gcm',
  cbc: 'http://www.w3.org/2001/04/xmlenc#aes256-cbc',
}

function mapper(user) {
  return {
    getClaims: () => ({ groups: user.groups }),
    getNameIdentifier: () => ({ nameIdentifier: user.id, nameIdentifierFormat: PERSISTENT }),
  }
}
mapper.prototype = { metadata: [] }

function memory() {
  const kept = new Map()
  return {
    save: (req, value, cb) => { const id = `t${kept.size}`; kept.set(id, value); cb(null, id) },
    load: (req, id, options, cb) => { const value = kept.get(id); (cb || options)(null, value) },
    update: (req, id, value, cb) => { kept.set(id, value); cb(null) },
  }
}

function tenant(name, { key, cert, service }, base) {
  const issuer = `${base}/${name}`, participants = [], store = memory()
  const sessions = new (require(path.join(process.argv[2], 'node_modules/samlp/lib/sessionParticipants')))(participants)
  const signed = { issuer, key, cert, signatureAlgorithm: 'rsa-sha256', digestAlgorithm: 'sha256' }
  return {
    metadata: samlp.metadata({
      issuer, cert, profileMapper: mapper, redirectEndpointPath: `/${name}/sso`, postEndpointPath: `/${name}/sso`,
      logoutEndpointPaths: { redirect: `/${name}/logout` },
    }),
    sso: (req, res, next) => {
      const { as = 'alice', groups = '', how = 'signed' } = req.query
      const session = { serviceProviderId: service.entity, nameId: as, nameIdFormat: PERSISTENT, cert: service.cert,
        sessionIndex: `s${participants.length}-${as}`, serviceProviderLogoutURL: service.logout }
      participants.push(session)
      samlp.auth({
        ...signed, signingCert: service.cert, sessionIndex: session.sessionIndex, profileMapper: mapper,
        getUserFromRequest: () => ({ id: as, groups: groups ? groups.split(',') : [] }),
        getPostURL: (audience, dom, request, cb) => cb(null, service.acs), recipient: service.acs,
        destination: service.acs, lifetimeInSeconds: 300, signResponse: how === 'both' || how === 'cbc',
        ...(SEALED[how] ? { encryptionCert: service.cert, encryptionPublicKey: service.publicKey,
          encryptionAlgorithm: SEALED[how], disallowEncryptionWithInsecureAlgorithm: false } : {}),
      })(req, res, next)
    },
    logout: samlp.logout({
      ...signed, deflate: true, protocolBinding: 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect',
      sessionParticipants: sessions, store, destination: service.logout,
    }),
  }
}

readline.createInterface({ input: process.stdin }).once('line', (line) => {
  const server = http.createServer((req, res) => {
    const url = new URL(req.url, 'http://127.0.0.1'), [, name, page] = url.pathname.split('/')
    Object.assign(req, { query: Object.fromEntries(url.searchParams), body: {}, protocol: 'http', session: {} })
    req.originalUrl = req.url
    res.set = (header, value) => res.setHeader(header, value)
    res.redirect = (to) => { res.writeHead(302, { location: to }); res.end() }
    res.send = (first, second) => {
      if (typeof first === 'number') { res.statusCode = first; first = second || '' }
      res.end(String(first))
    }
    const handler = tenants[name] && tenants[name][page]
    if (!handler) { res.statusCode = 404; return res.end() }
    handler(req, res, (error) => { res.statusCode = 400; res.end(String(error)) })
  })
  let tenants
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address(), given = JSON.parse(line)
    const base = `http://127.0.0.1:${port}`
    tenants = Object.fromEntries(Object.entries(given).map(([name, one]) => [name, tenant(name, one, base)]))
    process.stdout.write(JSON.stringify({ port }) + '\n')
  })
}).on('close', () => process.exit(0))
