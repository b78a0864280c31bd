// The load generator against a real server: what it counts, and how it ends.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load } from '../lib/load.mjs';

const VIEWERS = 5;

/** @type {import('../lib/scenario.mjs').Scenario} */
const loadtest = {
  name: 'loadtest',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    const json = join(server.state, 'load.json');
    const html = join(server.state, 'load.html');
    const where = ['--whip', `${server.url}/whip/{room}`, '--whep', `${server.url}/whep/{room}`];
    const five = [...where, '--viewers', String(VIEWERS), '--duration', '5s', '--mix', 'av'];
    const good = await load(t, [...five, '--json', json, '--html', html, '--fail-if', 'loss>0,joins_failed>0,latency_p99>2s']);
    t.check(good.status === 0, `exit status ${good.status}: ${good.said}`);
    const report = JSON.parse(await readFile(json, 'utf8'));
    t.figure('packets', report.packets_received);
    t.figure('latency p50 ms', report.latency_ms.p50);
    t.figure('join p99 ms', report.join_ms.p99);
    t.check(report.joins_ok === VIEWERS && report.joins_failed === 0, `${report.joins_ok} joined, ${report.joins_failed} failed`);
    t.check(report.viewers.length === VIEWERS, `${report.viewers.length} rows of viewers`);
    // About 160 packets of video and 50 of sound each second: less than half of that would be a stream that stopped.
    t.check(report.packets_expected > VIEWERS * 5 * 105, `${report.packets_expected} packets expected`);
    t.check(report.packets_received === report.packets_expected, `${report.packets_lost} packets lost`);
    t.check(report.frames_complete > VIEWERS * 5 * 15 && report.frames_incomplete === 0, `${report.frames_complete} frames complete`);
    t.check(report.packets_unknown === 0, `${report.packets_unknown} packets that nobody sent`);
    t.checkTiming(report.freezes === 0, `${report.freezes} freezes`);
    t.check((await readFile(html, 'utf8')).includes('<svg'), 'the HTML report has no plot');
    t.check((await server.participants('load-0')).length === 0, 'somebody was left behind in the room');

    const failing = await load(t, [...where, '--duration', '1s', '--fail-if', 'joins_ok<2']);
    t.check(failing.status === 1 && failing.said.includes('joins_ok<2: it is 1'), `exit status ${failing.status} where a condition holds: ${failing.said}`);
    const nobody = await load(t, ['--whep', `${server.url}/nowhere/{room}`, '--duration', '1s']);
    t.check(nobody.status === 3 && nobody.said.includes('404'), `exit status ${nobody.status} where nobody can join: ${nobody.said}`);
    const nonsense = await load(t, ['--whep', 'ftp://x']);
    t.check(nonsense.status === 2, `exit status ${nonsense.status} for nonsense`);
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const participants = {
  name: 'loadtest-participants',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    const json = join(server.state, 'participants.json');
    const [rooms, publishers, listeners] = [3, 9, 6];
    const signal = `${server.url.replace('http', 'ws')}/v1/signal`;
    const who = ['--rooms', String(rooms), '--publishers', String(publishers), '--viewers', String(listeners)];
    const done = await load(t, [
      ...['--signal', signal, ...who, '--mix', 'av', '--rate', '500k', '--ramp', '20/s', '--duration', '4s'],
      ...['--probe-api', server.url, '--json', json, '--fail-if', 'joins_failed>0,tracks_silent>0,loss>0,disconnects>0,api_errors>0'],
    ]);
    t.check(done.status === 0, `exit status ${done.status}: ${done.said}`);
    const report = JSON.parse(await readFile(json, 'utf8'));
    t.figure('join p99 ms', report.join_ms.p99);
    t.figure('API p99 ms', report.api.ms.p99);
    t.check(report.joins_ok === publishers + listeners, `${report.joins_ok} joined`);
    // Of two tracks of three publishers in a room, each of the three misses its own, and the two listeners none.
    t.check(report.tracks_expected === rooms * (3 * 4 + 2 * 6), `${report.tracks_expected} tracks expected`);
    t.check(report.api.requests >= 4, `${report.api.requests} requests to the API`);
    t.checkTiming(report.api.ms.p99 <= 100, `the API's p99 is ${report.api.ms.p99} ms`);
    t.check(report.packets_unknown === 0, `${report.packets_unknown} packets that nobody sent`);
    t.check((await server.participants('load-0')).length === 0, 'somebody was left behind in the room');
  },
};

export const scenarios = [loadtest, participants];
