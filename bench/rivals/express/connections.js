'use strict';
// The ways to PostgreSQL and Redis that every process of this service shares the code of.
const { Redis } = require('ioredis');
const pg = require('pg');
const settings = require('./settings');

// PostgreSQL's own spelling of a moment (in UTC) needs two changes to be RFC 3339. A Date on the
// way would cost more than the rest of a row.
pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => `${text.slice(0, 10)}T${text.slice(11, -3)}Z`);

module.exports = {
  makeRedis: () => new Redis({ ...settings.redis, enableAutoPipelining: true }),
  makePool: (max = settings.postgres.max) => new pg.Pool({ ...settings.postgres, max, options: '-c timezone=UTC' }),
};
