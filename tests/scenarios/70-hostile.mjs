// Bad input from outside, while a stream plays: it is refused or dropped, counted, and the stream does not notice.
import { createSocket } from 'node:dgram';
import { measureDelivery } from '../lib/delivery.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';
import { sleep } from '../lib/process.mjs';
import { offer } from '../lib/sdp.mjs';

/** Numbers that look random and are the same in every run (xorshift). @param {number} seed */
function numbers(seed) {
  let state = seed;
  return (/** @type {number} */ below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Datagrams by kind, made anew for each call. @param {(below: number) => number} next @returns {Record<string, Buffer>} */
function badDatagrams(next) {
  const noise = (/** @type {number} */ length) => Buffer.from(Array.from({ length }, () => next(256)));
  const stun = (/** @type {number} */ type, /** @type {number} */ said, /** @type {Buffer} */ attributes) => {
    const header = Buffer.alloc(20);
    header.writeUInt16BE(type, 0);
    header.writeUInt16BE(said, 2);
    header.writeUInt32BE(0x2112a442, 4);
    noise(12).copy(header, 8);
    return Buffer.concat([header, attributes]);
  };
  const username = Buffer.concat([Buffer.from([0, 6, 0, 9]), Buffer.from('nope:nope'), Buffer.alloc(3)]);
  const rtp = (/** @type {number} */ second) => Buffer.concat([Buffer.from([0x80, second]), noise(1100)]);
  return {
    noise: noise(1 + next(1300)),
    rtp: rtp(96),
    rtcp: rtp(200),
    'rtp cut short': Buffer.from([0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0]),
    'rtp, extension too long': Buffer.concat([Buffer.from([0x90, 96]), noise(10), Buffer.from([0xbe, 0xde, 0xff, 0xff])]),
    'stun, unknown user': stun(0x0001, username.length, username),
    'stun, length too long': stun(0x0001, 0xfffc, username),
    'stun, response': stun(0x0101, 0, Buffer.alloc(0)),
    'stun, cut short': stun(0x0001, 0, Buffer.alloc(0)).subarray(0, 11),
    'dtls, hello of noise': Buffer.concat([Buffer.from([22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 200, 1]), noise(199)]),
    'dtls, alert': Buffer.from([21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40]),
    'zrtp, turn channel': Buffer.concat([Buffer.from([64 + next(16)]), noise(40)]),
    empty: Buffer.alloc(0),
  };
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const packets = {
  name: 'hostile-packets',
  timeoutS: 90,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const publisher = await Publisher.open(await browser.newPage(), server.url, { room: 'calm', codec: 'VP8' });
    const viewer = await Viewer.open(await browser.newPage(), server.url, { room: 'calm' });
    await viewer.decoded(30, 15_000);
    const before = await server.metrics();
    const stranger = createSocket('udp4');
    let [sent, sentBytes, repliedBytes] = [0, 0, 0];
    stranger.on('message', (message) => (repliedBytes += message.length));
    stranger.on('error', () => {});
    const next = numbers(20_261_122);
    let attacking = true;
    const attack = (async () => {
      while (attacking) {
        for (const datagram of Object.values(badDatagrams(next))) {
          stranger.send(datagram, server.mediaPort, '127.0.0.1', () => {});
          sent += 1;
          sentBytes += datagram.length;
        }
        await sleep(20);
      }
    })();
    await measureDelivery(t, publisher, viewer, { seconds: 6 });
    attacking = false;
    await attack;
    await sleep(300);
    stranger.close();
    const counted = (await server.metrics()).grown(before, /drop|ignored|reject|unknown|invalid|malformed|fail/);
    t.figure('bad datagrams', sent);
    t.figure('answered bytes', `${repliedBytes} to ${sentBytes}`);
    t.figure('counters', counted.length);
    t.check(repliedBytes < sentBytes / 2, `${repliedBytes} bytes were sent back for ${sentBytes}`);
    t.check(counted.length > 0, 'no counter tells of it');
    t.figures['counted'] = `\n${counted.join('\n')}`;
    t.check(server.launcher.alive, 'the server ended');
  },
};

const SDP = { 'Content-Type': 'application/sdp' };

/** Requests and the statuses that are right for them (RFC 9725, draft-ietf-wish-whep). */
const REQUESTS = [
  { what: 'no content type', path: '/whip/r', body: offer(), headers: { 'Content-Type': 'text/plain' }, right: [415] },
  { what: 'no SDP', path: '/whip/r', body: 'hello', headers: SDP, right: [400] },
  { what: 'nothing', path: '/whip/r', body: '', headers: SDP, right: [400] },
  { what: 'half an offer', path: '/whip/r', body: offer().slice(0, 180), headers: SDP, right: [400, 422] },
  { what: 'a megabyte', path: '/whip/r', body: 'a'.repeat(1 << 20), headers: SDP, right: [413] },
  { what: '10,000 sections', path: '/whip/r', body: offer({ sections: 10_000 }), headers: SDP, right: [413] },
  { what: '300 sections', path: '/whip/r', body: offer({ sections: 300 }), headers: SDP, right: [400, 422] },
  { what: '10,000 candidates', path: '/whip/r', body: offer({ candidates: 10_000 }), headers: SDP, right: [413] },
  { what: '900 candidates', path: '/whip/r', body: offer({ candidates: 900 }), headers: SDP, right: [400, 422] },
  { what: 'unknown codecs only', path: '/whip/r', body: offer({ codec: 'XYZ' }), headers: SDP, right: [400, 422] },
  { what: 'WHIP that receives', path: '/whip/r', body: offer({ direction: 'recvonly' }), headers: SDP, right: [400, 422] },
  { what: 'somebody publishes', path: '/whip/live', body: offer(), headers: SDP, right: [201] },
  { what: 'WHEP that sends', path: '/whep/live', body: offer(), headers: SDP, right: [400, 422] },
  { what: 'nobody publishes', path: '/whep/r', body: offer({ direction: 'recvonly' }), headers: SDP, right: [409] },
  { what: 'a room name too long', path: `/whip/${'r'.repeat(200)}`, body: offer(), headers: SDP, right: [400] },
  { what: 'a session that is not', path: '/whip/r/nope', method: 'DELETE', right: [404] },
  { what: 'a wrong method', path: '/whip/r', method: 'PUT', body: offer(), headers: SDP, right: [405] },
  { what: 'a path that is not', path: '/nope', method: 'GET', right: [404] },
];

/** @type {import('../lib/scenario.mjs').Scenario} */
const requests = {
  name: 'hostile-http',
  timeoutS: 40,
  run: async (t) => {
    const server = await t.server();
    for (const { what, path, method = 'POST', headers = {}, body, right } of REQUESTS) {
      const answer = await server.get(path, { method, headers: /** @type {Record<string, string>} */ (headers), body });
      t.check(right.includes(answer.status), `${what}: ${answer.status}, not ${right.join(' or ')}: ${answer.text.slice(0, 200)}`);
      if (!right.includes(answer.status) || answer.status < 400) continue;
      const type = answer.headers.get('content-type') ?? '';
      t.check(type.includes('application/problem+json'), `${what}: the answer is ${type}`);
      const problem = type.includes('json') ? JSON.parse(answer.text) : {};
      t.check(Boolean(problem.type && problem.title && problem.detail), `${what}: the problem does not say what is wrong: ${answer.text}`);
      if (answer.status === 409) t.check(answer.headers.has('retry-after'), `${what}: no Retry-After`);
    }
    const options = await server.get('/whip/r', { method: 'OPTIONS' });
    t.check(options.headers.get('accept-post') === 'application/sdp', `Accept-Post: ${options.headers.get('accept-post')}`);
    const got = await server.get('/whip/r');
    t.check(got.status < 300 && got.text === '', `GET of the endpoint: ${got.status} ${got.text}`);
    t.check((await server.get('/healthz')).status === 200, 'the server is not healthy afterwards');
    t.figure('requests', REQUESTS.length + 2);
  },
};

export const scenarios = [packets, requests];
