// What an issuer keeps, all of it: oidc-provider's own memory forgets after a thousand rows.

const OF_A_GRANT = new Set(['AccessToken', 'AuthorizationCode', 'DeviceCode', 'RefreshToken']);

export class Memory {
  rows = new Map(); // "Model:id" -> { model, payload, until }

  members = new Map(); // grantId -> set of keys

  of(model) {
    return new Table(this, model);
  }

  get(key) {
    const row = this.rows.get(key);
    return row && row.until > Date.now() ? row.payload : undefined;
  }

  /// Tokens that could still be used, and grants that have not ended.
  alive() {
    const found = { refresh: [], access: [], grants: [] };
    for (const [key, { model, payload }] of this.rows) {
      if (!this.get(key)) continue;
      const seen = { grant: payload.grantId, user: payload.accountId, client: payload.clientId, key: payload.jkt ?? '' };
      if (model === 'RefreshToken' && !payload.consumed) found.refresh.push(seen);
      if (model === 'AccessToken') found.access.push(seen);
      if (model === 'Grant') found.grants.push({ ...seen, grant: payload.jti, key: '' });
    }
    return found;
  }
}

class Table {
  constructor(memory, model) {
    Object.assign(this, { memory, model });
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload, seconds) {
    const key = this.key(id);
    this.memory.rows.set(key, { model: this.model, payload, until: seconds ? Date.now() + seconds * 1000 : Infinity });
    if (OF_A_GRANT.has(this.model) && payload.grantId) {
      if (!this.memory.members.has(payload.grantId)) this.memory.members.set(payload.grantId, new Set());
      this.memory.members.get(payload.grantId).add(key);
    }
  }

  async find(id) {
    return this.memory.get(this.key(id));
  }

  async findByUid(uid) {
    for (const [key, { model, payload }] of this.memory.rows) {
      if (model === this.model && payload.uid === uid) return this.memory.get(key);
    }
    return undefined;
  }

  async findByUserCode(code) {
    for (const [key, { model, payload }] of this.memory.rows) {
      if (model === this.model && payload.userCode === code) return this.memory.get(key);
    }
    return undefined;
  }

  async consume(id) {
    this.memory.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    this.memory.rows.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const key of this.memory.members.get(grantId) ?? []) this.memory.rows.delete(key);
    this.memory.members.delete(grantId);
  }
}
