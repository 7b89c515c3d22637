'use strict';
// One process, or with WEB_CONCURRENCY above one a primary that keeps so many workers alive.
const cluster = require('node:cluster');
const settings = require('./settings');

function serve() {
  const { makeApp } = require('./app');
  const { Clicks } = require('./clicks');
  const { makePool, makeRedis } = require('./connections');
  const { Links } = require('./links');
  const redis = makeRedis();
  const clicks = new Clicks(redis);
  const server = makeApp(new Links(makePool(), redis), clicks).listen(settings.port, settings.host);
  server.keepAliveTimeout = 65_000;
  process.on('SIGTERM', async () => {
    server.close();
    server.closeIdleConnections();
    await clicks.flush();
    process.exit(0);
  });
}

function keepWorkers() {
  let stopping = false;
  for (let left = settings.workers; left > 0; left -= 1) cluster.fork();
  cluster.on('exit', () => {
    if (!stopping) cluster.fork();
    else if (Object.keys(cluster.workers).length === 0) process.exit(0);
  });
  process.on('SIGTERM', () => {
    stopping = true;
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
  });
}

if (cluster.isPrimary && settings.workers > 1) keepWorkers();
else serve();
