'use strict';
// The routes: a redirect, and the part of the management API that is measured.
const express = require('express');

const LONGEST_URL = 8192;
const NO_STORE = 'private, no-store';

function problem(response, status, detail) {
  response.status(status).type('application/problem+json').send(JSON.stringify({ status, detail }));
}

// What is wrong with a new link, or null; a good one is given the URL as the standard spells it.
function complaint(link) {
  if (typeof link !== 'object' || link === null) return 'an object is needed';
  if (typeof link.url !== 'string' || link.url.length > LONGEST_URL || !URL.canParse(link.url)) return 'url: not a URL';
  const url = new URL(link.url);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'url: not of http or https';
  if (link.slug !== undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(link.slug)) return 'slug: not allowed';
  if (link.title != null && (typeof link.title !== 'string' || link.title.length > 200)) return 'title: not a short text';
  if (link.expires_at != null && Number.isNaN(Date.parse(link.expires_at))) return 'expires_at: not a moment';
  link.url = url.href;
  return null;
}

function makeApp(links, clicks) {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');

  function redirect(target, request, response) {
    if (target.id === null) return problem(response, 404, 'there is no such link');
    if (target.expiresAt !== null && target.expiresAt < Date.now()) return problem(response, 410, 'the link has expired');
    const mark = request.url.indexOf('?');
    clicks.add(target.id, request, mark < 0 ? '' : request.url.slice(mark + 1));
    response.writeHead(302, ['Location', target.url, 'Cache-Control', NO_STORE, 'Content-Length', '0']);
    return response.end();
  }

  app.get('/health', (_request, response) => response.send('ok'));

  app.get('/:slug', (request, response, next) => {
    const { slug } = request.params;
    const target = links.known(slug);
    if (target !== undefined) redirect(target, request, response);
    else links.find(slug).then((found) => redirect(found, request, response)).catch(next);
  });

  async function authenticate(request, response, next) {
    const given = request.headers.authorization ?? '';
    const account = given.startsWith('Bearer ') ? await links.account(given.slice(7)) : null;
    if (account === null) return problem(response, 401, 'a valid API key is needed');
    request.account = account;
    return next();
  }

  app.post('/api/v1/links', authenticate, express.json({ limit: '64kb' }), async (request, response) => {
    const wrong = complaint(request.body);
    if (wrong !== null) return problem(response, 422, wrong);
    const link = await links.create(request.account, request.body);
    if (link === null) return problem(response, 409, 'slug: taken');
    return response.status(201).location(`/api/v1/links/${link.id}`).json(link);
  });

  app.get('/api/v1/links', authenticate, async (request, response) => {
    const { limit = '50', cursor } = request.query;
    if (!/^\d{1,3}$/.test(limit) || limit < 1 || limit > 200) return problem(response, 422, 'limit: not from 1 to 200');
    if (cursor !== undefined && !/^\d{1,18}$/.test(cursor)) return problem(response, 422, 'cursor: not one of ours');
    return response.json(await links.list(request.account, Number(limit), cursor));
  });

  app.get('/api/v1/links/:id', authenticate, async (request, response) => {
    const { id } = request.params;
    const link = /^\d{1,18}$/.test(id) ? await links.get(request.account, id) : null;
    return link === null ? problem(response, 404, 'there is no such link') : response.json(link);
  });

  app.use((error, _request, response, _next) => problem(response, error.status ?? 500, error.status ? error.message : 'failed'));
  return app;
}

module.exports = { makeApp };
