'use strict';
// Clicks on their way into a Redis list. A few wait in the process, for 20 ms at most, so that one
// command carries many; those are lost with the process. `drain.js` takes them from the list.
const settings = require('./settings');

class Clicks {
  #redis;
  #waiting = [];
  #timer = null;

  constructor(redis) {
    this.#redis = redis;
  }

  add(linkId, request, query) {
    const { headers } = request;
    const click = [
      linkId,
      Date.now(),
      request.socket.remoteAddress,
      headers['user-agent'] ?? '',
      headers.referer ?? '',
      headers['accept-language'] ?? '',
      query,
    ];
    this.#waiting.push(JSON.stringify(click));
    if (this.#waiting.length >= settings.clickBatch) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), settings.clickDelayMs);
  }

  async flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    try {
      await this.#redis.rpush(settings.clickList, ...batch);
    } catch (error) {
      console.error(`${batch.length} clicks are lost: ${error.message}`);
    }
  }
}

module.exports = { Clicks };
