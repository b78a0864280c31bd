// The server as its operator meets it: tokens, and refusals to start that say what to do.
import { createHmac } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../lib/process.mjs';
import { offer } from '../lib/sdp.mjs';
import { RUNNERS_OWN } from '../lib/server.mjs';

const KEY = { name: 'testkey', secret: 'a-secret-of-the-tests-that-is-long-enough-for-HS256' };

/**
 * A JWT as any LiveKit-style service makes it.
 * @param {Record<string, unknown>} video @param {{secret?: string, ttlS?: number, issuer?: string}} [options]
 */
function token(video, { secret = KEY.secret, ttlS = 600, issuer = KEY.name } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: issuer, sub: 'somebody', nbf: now - 5 - Math.abs(ttlS), exp: now + ttlS, video: { roomJoin: true, room: 'r', ...video } };
  const parts = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  const signature = createHmac('sha256', secret).update(parts.join('.')).digest('base64url');
  return [...parts, signature].join('.');
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const tokens = {
  name: 'tokens',
  timeoutS: 40,
  run: async (t) => {
    const env = { ION_KEYS: `${KEY.name}: ${KEY.secret}` };
    const server = await t.server({ dev: false, env });
    const post = async (/** @type {string} */ path, /** @type {string | null} */ bearer) => {
      /** @type {Record<string, string>} */
      const headers = { 'Content-Type': 'application/sdp' };
      if (bearer !== null) headers['Authorization'] = `Bearer ${bearer}`;
      const body = offer({ direction: path.startsWith('/whip') ? 'sendonly' : 'recvonly' });
      return server.get(path, { method: 'POST', headers, body });
    };
    const cli = ['token', 'create', '--room', 'r', '--identity', 'cli', '--publish', '--subscribe', '--ttl', '1h'];
    const made = (await run(join(t.binDir, 'ion'), cli, { env: { ...RUNNERS_OWN, ...env } })).trim();
    /** @type {[string, string, string | null, number[]][]} */
    const rows = [
      ['none', '/whip/r', null, [401]],
      ['no JWT', '/whip/r', 'guest', [401]],
      ['foreign secret', '/whip/r', token({ canPublish: true }, { secret: 'another-secret-of-somebody-else-entirely' }), [401]],
      ['unknown key', '/whip/r', token({ canPublish: true }, { issuer: 'nobody' }), [401]],
      ['expired', '/whip/r', token({ canPublish: true }, { ttlS: -3600 }), [401]],
      ['wrong room', '/whip/other', token({ canPublish: true }), [403]],
      ['may not publish', '/whip/r', token({ canPublish: false, canSubscribe: true }), [403]],
      ['may not subscribe', '/whep/r', token({ canPublish: true, canSubscribe: false }), [403]],
      ['may subscribe', '/whep/r', token({ canSubscribe: true }), [409]],
      ['may publish', '/whip/r', token({ canPublish: true }), [201]],
      ['made by ion token create', '/whip/r', made, [201, 409]],
    ];
    for (const [what, path, bearer, right] of rows) {
      const answer = await post(path, bearer);
      t.check(right.includes(answer.status), `${what}: ${answer.status}, not ${right.join(' or ')}: ${answer.text.slice(0, 160)}`);
      if (answer.status === 401) t.check(answer.headers.has('www-authenticate'), `${what}: no WWW-Authenticate`);
    }
    t.figure('tokens', rows.length);
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const refusals = {
  name: 'refusals',
  timeoutS: 90,
  run: async (t) => {
    const server = await t.server();
    const other = await mkdtemp(join(tmpdir(), 'ion-e2e-'));
    t.after(() => rm(other, { recursive: true, force: true }));
    const http = createServer().listen(0, '127.0.0.1');
    await once(http, 'listening');
    const udp = createSocket('udp4').bind(0, '127.0.0.1');
    await once(udp, 'listening');
    t.after(async () => (http.close(), udp.close()));
    const address = http.address();
    const taken = { http: typeof address === 'object' ? address?.port : 0, media: udp.address().port };
    const free = { ...RUNNERS_OWN, ION_HTTP: '127.0.0.1:29871', ION_MEDIA: '127.0.0.1:29872', ION_WORKERS: '1', ION_STATE_DIR: other };

    /** @type {[string, string[], NodeJS.ProcessEnv, RegExp][]} */
    const rows = [
      ['started twice', ['run', '--dev'], { ...free, ION_STATE_DIR: server.state }, /already|running|in use|another/i],
      ['HTTP port in use', ['run', '--dev'], { ...free, ION_HTTP: `127.0.0.1:${taken.http}` }, new RegExp(`${taken.http}`)],
      ['media port in use', ['run', '--dev'], { ...free, ION_MEDIA: `127.0.0.1:${taken.media}` }, new RegExp(`${taken.media}`)],
      ['no API key', ['run'], free, /key/i],
      ['a bad value', ['run', '--dev'], { ...free, ION_WORKERS: 'many' }, /ION_WORKERS.*many|many.*ION_WORKERS/s],
      ['an unknown flag', ['run', '--dev', '--nope'], free, /--nope/],
    ];
    for (const [what, args, env, says] of rows) {
      const child = t.child(join(t.binDir, 'ion'), args, { env, cwd: other });
      const code = await child.wait(10_000).catch((error) => {
        t.check(false, `${what}: ${error.message}`);
        return null;
      });
      if (code === null) continue;
      t.check(code !== 0, `${what}: it ended with 0`);
      t.check(says.test(child.output), `${what}: the message does not name the cause: ${child.tail(6)}`);
    }
    t.check((await server.get('/readyz')).status === 200, 'the first server suffered');
    t.figure('refusals', rows.length);
  },
};

export const scenarios = [tokens, refusals];
