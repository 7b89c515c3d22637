'use strict';
// Moves clicks from the Redis list into PostgreSQL, 2,000 in a transaction, until the list is empty;
// prints how many. At least once: what is committed is trimmed from the list afterwards.
const { makePool, makeRedis } = require('./connections');
const settings = require('./settings');

const BATCH = 2000;
const INSERT = {
  name: 'insert-clicks',
  text: `INSERT INTO clicks (link_id, clicked_at, address, user_agent, referrer, language, query)
    SELECT link_id, to_timestamp(at_ms / 1000.0), address, user_agent, referrer, language, query
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
      AS click(link_id, at_ms, address, user_agent, referrer, language, query)`,
};
const COUNT = {
  name: 'count-clicks',
  text: `UPDATE links SET clicks = clicks + added.number
    FROM unnest($1::bigint[], $2::bigint[]) AS added(id, number) WHERE links.id = added.id`,
};

async function write(connection, clicks) {
  const columns = Array.from({ length: 7 }, (_, place) => clicks.map((click) => click[place]));
  const numbers = new Map();
  for (const id of columns[0]) numbers.set(id, (numbers.get(id) ?? 0) + 1);
  await connection.query('BEGIN');
  await connection.query({ ...INSERT, values: columns });
  await connection.query({ ...COUNT, values: [[...numbers.keys()], [...numbers.values()]] });
  await connection.query('COMMIT');
}

async function main() {
  const redis = makeRedis();
  const pool = makePool(1);
  const connection = await pool.connect();
  let total = 0;
  for (;;) {
    const items = await redis.lrange(settings.clickList, 0, BATCH - 1);
    if (items.length === 0) break;
    await write(connection, items.map((item) => JSON.parse(item)));
    await redis.ltrim(settings.clickList, items.length, -1);
    total += items.length;
  }
  connection.release();
  await pool.end();
  redis.disconnect();
  console.log(JSON.stringify({ clicks: total }));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
