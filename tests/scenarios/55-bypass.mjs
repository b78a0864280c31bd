// Media past the kernel's network stack: AF_XDP and the XDP program on a veth pair, with real clients at its other end.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load } from '../lib/load.mjs';
import { directNetwork } from '../lib/net.mjs';
import { run, sleep, until } from '../lib/process.mjs';
import { Missing } from '../lib/scenario.mjs';

const VIEWERS = 4;

/** The server in a namespace of its own, on AF_XDP. @param {import('../lib/scenario.mjs').Context} t */
async function bypassed(t) {
  const network = await directNetwork(t);
  const { netns, address, address6, device } = network.a;
  const env = { ION_IO: 'xdp', ION_INTERFACE: device, ION_PUBLIC_IP: `${address},${address6}` };
  const server = await t.server({ netns, host: address, workers: 2, bothFamilies: true, env });
  const attached = (await server.metrics()).sum(/^ion_xdp_attached$/);
  if (attached === 0) throw new Missing(`no XDP here: ${server.launcher.tail(5)}`);
  t.figure('xdp', attached === 1 ? 'native' : 'generic');
  return { network, server };
}

/** @param {import('../lib/server.mjs').Server} server @param {string} file @param {string} duration @param {number} viewers */
const arguments_ = (server, file, duration, viewers) => [
  ...['--whip', `${server.farUrl}/whip/{room}`, '--whep', `${server.farUrl}/whep/{room}`],
  ...['--viewers', String(viewers), '--duration', duration, '--mix', 'av', '--rate', '500k', '--json', file],
];

/** @type {import('../lib/scenario.mjs').Scenario} */
const bypass = {
  name: 'bypass',
  timeoutS: 90,
  run: async (t) => {
    const { network, server } = await bypassed(t);
    for (const [family, bind] of [['IPv4', network.b.address], ['IPv6', network.b.address6]]) {
      const json = join(server.state, `${family}.json`);
      const args = [...arguments_(server, json, '4s', VIEWERS), '--bind', String(bind)];
      const ended = await load(t, args, network.b.netns);
      t.check(ended.status === 0, `${family}: exit status ${ended.status}: ${ended.said}`);
      const report = JSON.parse(await readFile(json, 'utf8'));
      t.figure(`${family} packets`, `${report.packets_received}/${report.packets_expected}`);
      t.check(report.packets_received > VIEWERS * 4 * 50, `${family}: only ${report.packets_received} packets came`);
      t.check(report.packets_received === report.packets_expected, `${family}: ${report.packets_lost} packets lost`);
      t.check(report.joins_ok === VIEWERS, `${family}: ${report.joins_ok} of ${VIEWERS} joined`);
    }
    const metrics = await server.metrics();
    const [received, sent] = [metrics.sum(/^ion_worker_packets_received_total$/), metrics.sum(/^ion_worker_packets_sent_total$/)];
    const ring = { received: metrics.sum(/^ion_worker_ring_packets_received_total$/), sent: metrics.sum(/^ion_worker_ring_packets_sent_total$/) };
    t.figure('received by ring', `${ring.received}/${received}`);
    t.figure('sent by ring', `${ring.sent}/${sent}`);
    // What comes before the flow is in the map, and goes before the neighbour is known, takes the sockets.
    t.check(ring.received > received * 0.9, `only ${ring.received} of ${received} packets came by the ring`);
    t.check(ring.sent > sent * 0.9, `only ${ring.sent} of ${sent} packets went by the ring`);
    t.check(metrics.sum(/^ion_worker_ring_full_total$/) === 0, 'a TX ring was full');
    await until('All frames are back', 5000, async () => (await server.metrics()).sum(/^ion_worker_ring_frames$/) === 0);
    t.figure('frames outstanding', 0);
    t.figure('dropped by XDP', metrics.sum(/^ion_xdp_frames_total$/, /drop_/));
  },
};

/** @type {import('../lib/scenario.mjs').Scenario} */
const faults = {
  name: 'bypass-faults',
  timeoutS: 120,
  run: async (t) => {
    const { network, server } = await bypassed(t);
    const json = join(server.state, 'faults.json');
    const running = load(t, [...arguments_(server, json, '24s', 2), '--bind', network.b.address], network.b.netns);
    const by = async (/** @type {RegExp} */ name) => (await server.metrics()).sum(name);
    /** Media comes and goes by the ring. @param {string} when */
    const flows = async (when) => {
      const before = await by(/^ion_worker_ring_packets_sent_total$/);
      await until(`Media by the ring ${when}`, 8000, async () => (await by(/^ion_worker_ring_packets_sent_total$/)) > before + 100);
    };
    await flows('at first');
    await run('ip', ['-n', network.a.netns, 'link', 'set', network.a.device, 'down']);
    await sleep(700);
    await run('ip', ['-n', network.a.netns, 'link', 'set', network.a.device, 'up']);
    // Taking an interface down takes its IPv6 addresses and its neighbours along.
    await flows('after the link was down');
    await run('ip', ['-n', network.b.netns, 'link', 'set', network.b.device, 'address', '02:00:00:00:77:01']);
    await flows('after the neighbour changed');
    const pid = await server.pidOf('ion-dataplane');
    if (pid === null) throw new Error('there is no dataplane');
    process.kill(pid, 'SIGKILL');
    await until('Another dataplane runs', 8000, async () => ![null, pid].includes(await server.pidOf('ion-dataplane')));
    await until('It has its rings', 8000, async () => (await by(/^ion_worker_ring_state$/).catch(() => 0)) === 2);
    await flows('after the dataplane was killed');
    const ended = await running;
    t.check(ended.status === 0, `exit status ${ended.status}: ${ended.said}`);
    const report = JSON.parse(await readFile(json, 'utf8'));
    t.figure('packets', `${report.packets_received}/${report.packets_expected}`);
    t.check(report.packets_received > report.packets_expected * 0.6, `${report.packets_lost} of ${report.packets_expected} packets lost`);
    await until('All frames are back', 5000, async () => (await by(/^ion_worker_ring_frames$/)) === 0);
  },
};

const FLOOD_S = 8;
/** STUN and DTLS of unknown flows that the XDP program lets through, and what ten viewers need. */
const PASSED_PER_S = 21_000;

/** @type {import('../lib/scenario.mjs').Scenario} */
const flood = {
  name: 'bypass-flood',
  timeoutS: 90,
  run: async (t) => {
    const { network, server } = await bypassed(t);
    const json = join(server.state, 'flood.json');
    const running = load(t, [...arguments_(server, json, `${FLOOD_S + 4}s`, 10), '--bind', network.b.address], network.b.netns);
    await until('Ten viewers watch', 15_000, async () => (await server.metrics()).sum(/^ion_sessions$/, /viewer/) === 10);
    const before = await server.metrics();
    const [link] = JSON.parse(await run('ip', ['-n', network.a.netns, '-j', 'link', 'show', network.a.device]));
    const to = ['--device', network.b.device, '--mac', link.address, '--to', network.a.address, '--port', String(server.mediaPort)];
    const flooding = t.child('python3', [join(t.testsDir, 'net', 'flood.py'), ...to, '--seconds', String(FLOOD_S)], { netns: network.b.netns });
    t.check((await flooding.wait((FLOOD_S + 10) * 1000)) === 0, `the flood failed: ${flooding.tail(5)}`);
    const { sent } = JSON.parse(flooding.tail(1));
    const ended = await running;
    t.check(ended.status === 0, `exit status ${ended.status}: ${ended.said}`);
    const report = JSON.parse(await readFile(json, 'utf8'));
    const after = await server.metrics();
    const dropped = after.sum(/^ion_xdp_frames_total$/, /drop_/) - before.sum(/^ion_xdp_frames_total$/, /drop_/);
    const passed = after.sum(/^ion_control_received_total$/) - before.sum(/^ion_control_received_total$/);
    t.figure('junk sent', sent);
    t.figure('junk per second', Math.round(sent / FLOOD_S));
    t.figure('dropped by XDP', dropped);
    t.figure('reached the control plane', passed);
    t.figure('packets of viewers', `${report.packets_received}/${report.packets_expected}`);
    t.figure('freezes', report.freezes);
    t.check(sent > 50_000, `only ${sent} packets of junk were sent: no flood`);
    // A third is media of nobody's, of which none may pass; of the rest as much as the rate for all sources lets through.
    const nobodys = after.sum(/^ion_xdp_frames_total$/, /drop_unknown_flow/) - before.sum(/^ion_xdp_frames_total$/, /drop_unknown_flow/);
    t.check(nobodys > sent * 0.32, `XDP dropped only ${nobodys} of ${sent / 3} packets of unknown flows`);
    t.check(passed < PASSED_PER_S * (FLOOD_S + 2), `${passed} packets reached the control plane`);
    t.check(report.loss <= 0.001, `viewers lost ${(report.loss * 100).toFixed(3)} %`);
    t.checkTiming(report.freezes === 0, `${report.freezes} freezes`);
    t.check(report.joins_ok === 10, `${report.joins_ok} of 10 joined`);
  },
};

export const scenarios = [bypass, faults, flood];
