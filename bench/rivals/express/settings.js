'use strict';
// Everything that the environment may say. Sockets are given as paths, as Signpost is given them.
const { env } = process;

module.exports = {
  port: Number(env.PORT ?? 8080),
  host: env.HOST ?? '127.0.0.1',
  workers: Number(env.WEB_CONCURRENCY ?? 1),
  baseUrl: env.BASE_URL ?? 'http://127.0.0.1',
  redis: { path: env.REDIS_SOCKET, db: Number(env.REDIS_DB ?? 1) },
  postgres: {
    host: env.PGHOST,
    user: env.PGUSER,
    database: env.PGDATABASE,
    max: Number(env.DB_POOL_SIZE ?? 10),
  },
  cachedLinks: 100_000,
  cachedKeys: 10_000,
  cacheMs: 60_000,
  sharedCacheSeconds: 900,
  missSeconds: 30,
  clickBatch: 256,
  clickDelayMs: 20,
  clickList: 'clicks',
};
