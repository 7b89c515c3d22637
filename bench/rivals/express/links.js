'use strict';
// Links and keys: where they are looked for, and in what order.
const crypto = require('node:crypto');
const { LRUCache } = require('lru-cache');
const settings = require('./settings');

const COLUMNS = 'id, slug, url, title, expires_at, clicks, created_at, updated_at';
const ALPHABET = 'abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_ABCDE'; // pragma: allowlist secret
const TRIES = 5;

function present(row) {
  return {
    id: row.id,
    slug: row.slug,
    short_url: `${settings.baseUrl}/${row.slug}`,
    url: row.url,
    title: row.title,
    expires_at: row.expires_at,
    clicks: Number(row.clicks),
    created_at: row.created_at,
    updated_at: row.updated_at,
  };
}

function makeSlug() {
  let slug = '';
  for (const byte of crypto.randomBytes(7)) slug += ALPHABET[byte & 63];
  return slug;
}

class Links {
  #pool;
  #redis;
  #targets = new LRUCache({ max: settings.cachedLinks, ttl: settings.cacheMs });
  #accounts = new LRUCache({ max: settings.cachedKeys, ttl: settings.cacheMs });

  constructor(pool, redis) {
    this.#pool = pool;
    this.#redis = redis;
  }

  // What this process knows of a slug: { id, url, expiresAt }, or undefined.
  known(slug) {
    return this.#targets.get(slug);
  }

  // The same from Redis, else from PostgreSQL; `id` is null where there is no such link.
  async find(slug) {
    const name = `link:${slug}`;
    const kept = await this.#redis.get(name);
    let target = kept === null ? null : JSON.parse(kept);
    if (target === null) {
      const { rows } = await this.#pool.query({
        name: 'find-target',
        text: 'SELECT id, url, (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAt" FROM links WHERE slug = $1',
        values: [slug],
      });
      target = rows[0] ?? { id: null };
      const seconds = target.id === null ? settings.missSeconds : settings.sharedCacheSeconds;
      this.#redis.set(name, JSON.stringify(target), 'EX', seconds).catch(() => {});
    }
    this.#targets.set(slug, target);
    return target;
  }

  // The account of an API key, or null. Only digests are kept.
  async account(key) {
    const digest = crypto.createHash('sha256').update(key).digest('hex');
    let id = this.#accounts.get(digest);
    if (id === undefined) {
      const { rows } = await this.#pool.query({
        name: 'find-account',
        text: "SELECT id FROM accounts WHERE key_digest = decode($1, 'hex')",
        values: [digest],
      });
      id = rows[0]?.id ?? 0;
      this.#accounts.set(digest, id);
    }
    return id === 0 ? null : id;
  }

  // The new link, or null when its slug is taken.
  async create(account, { url, slug, title, expires_at }) {
    for (let left = TRIES; left > 0; left -= 1) {
      const { rows } = await this.#pool.query({
        name: 'insert-link',
        text: `INSERT INTO links (account_id, slug, url, title, expires_at) VALUES ($1, $2, $3, $4, $5)
          ON CONFLICT (slug) DO NOTHING RETURNING ${COLUMNS}`,
        values: [account, slug ?? makeSlug(), url, title, expires_at],
      });
      if (rows.length > 0) {
        this.#redis.del(`link:${rows[0].slug}`).catch(() => {}); // it may be known as missing
        return present(rows[0]);
      }
      if (slug !== undefined) break;
    }
    return null;
  }

  async get(account, id) {
    const { rows } = await this.#pool.query({
      name: 'get-link',
      text: `SELECT ${COLUMNS} FROM links WHERE id = $1 AND account_id = $2`,
      values: [id, account],
    });
    return rows.length > 0 ? present(rows[0]) : null;
  }

  // Newest first, those before a cursor.
  async list(account, limit, cursor) {
    const { rows } = await this.#pool.query({
      name: 'list-links',
      text: `SELECT ${COLUMNS} FROM links WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`,
      values: [account, cursor ?? '9223372036854775807', limit + 1],
    });
    const more = rows.length > limit;
    if (more) rows.pop();
    return { data: rows.map(present), next_cursor: more ? rows.at(-1).id : null };
  }
}

module.exports = { Links };
