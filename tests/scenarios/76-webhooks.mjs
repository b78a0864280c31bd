// Webhooks whose receiver is down for a minute, with the control plane killed meanwhile: every event comes, in order in its room.
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { sleep, until } from '../lib/process.mjs';

const DOWN_MS = 60_000;
/** What a room that is made, changed and closed tells of itself. */
const LIFE = 'roomOpened,roomUpdated,roomUpdated,roomClosed';

/** @typedef {{id: string, signed: boolean, event: {id: number, room: string, event: {type: string}}}} Came */

/** Takes what comes to a port. @param {number} port 0 for a free one @param {Came[]} came @param {() => string} secret */
async function receiver(port, came, secret) {
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (data) => (body += data));
    request.on('end', () => {
      const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = request.headers;
      const key = Buffer.from(secret().replace('whsec_', ''), 'base64');
      const signed = signature === `v1,${createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')}`;
      came.push({ id: String(id), signed, event: JSON.parse(body) });
      response.writeHead(204).end();
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const down = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { port: typeof address === 'object' && address ? address.port : 0, down };
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const downForAMinute = {
  name: 'webhooks-minute',
  fullOnly: true,
  timeoutS: 360,
  run: async (t) => {
    const server = await t.server({ env: { ION_RATE_BURST: '100000', ION_RATE_PER_SECOND: '100000' } });
    /** @type {Came[]} */
    const came = [];
    let secret = '';
    const first = await receiver(0, came, () => secret);
    const webhook = await server.must('POST', '/v1/webhooks', { url: `http://127.0.0.1:${first.port}/hook` });
    secret = webhook.secret;
    let rooms = 0;
    const life = async () => {
      const name = `room-${(rooms += 1)}`;
      await server.must('POST', '/v1/rooms', { name });
      await server.must('PATCH', `/v1/rooms/${name}`, { metadata: 'x' });
      await server.must('DELETE', `/v1/rooms/${name}`);
    };
    const kill = async () => {
      const pid = await server.pidOf('ion-controlplane');
      process.kill(pid ?? -1, 'SIGKILL');
      await until('The control plane is back', 30_000, async () => (await server.pidOf('ion-controlplane')) !== pid && (await server.get('/readyz')).status === 200);
    };
    const distinct = () => new Map(came.map((one) => [one.id, one]));
    await life();
    await until('The first events come', 20_000, () => distinct().size === 4);

    await first.down();
    const downAt = performance.now();
    let kills = 0;
    while (performance.now() < downAt + DOWN_MS) {
      await life();
      if (performance.now() > downAt + (DOWN_MS / 3) * (kills + 1) && kills < 2) {
        await kill();
        kills += 1;
      }
      await sleep(250);
    }
    const waiting = (await server.must('GET', `/v1/webhooks/${webhook.id}`)).deliveries;
    t.check(waiting.pending === 4 * (rooms - 1), `${waiting.pending} deliveries wait, of ${4 * (rooms - 1)} events`);
    const second = await receiver(first.port, came, () => secret);
    t.after(second.down);
    const upAt = performance.now();
    await until('Deliveries go on', 150_000, () => came.length > 20);
    await kill();
    kills += 1;
    await until('Every event came', 180_000, () => distinct().size >= 4 * rooms);
    t.figure('all came after s', (performance.now() - upAt) / 1000);
    await until('Nothing waits', 30_000, async () => (await server.must('GET', `/v1/webhooks/${webhook.id}`)).deliveries.pending === 0);

    /** @type {Map<string, Came['event'][]>} */
    const byRoom = new Map();
    for (const { event } of distinct().values()) byRoom.set(event.room, [...(byRoom.get(event.room) ?? []), event]);
    for (const [room, events] of byRoom) {
      const ids = events.map(({ id }) => id);
      const kinds = events.map(({ event }) => event.type).join();
      t.check(kinds === LIFE && ids.every((id, at) => at === 0 || id > (ids[at - 1] ?? 0)), `${room}: ${kinds}, ids ${ids}`);
    }
    t.check(byRoom.size === rooms, `events of ${byRoom.size} of ${rooms} rooms`);
    t.check(came.every(({ signed }) => signed), 'a signature is wrong');
    t.figure('events, deliveries, kills', `${distinct().size} ${came.length} ${kills}`);
  },
};

export const scenarios = [downForAMinute];
