// The real dataplane under other kernels, in a virtual machine (tests/kernels): zero-copy AF_XDP, copy mode, io_uring, sockets.
import { access, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GUEST, NOBODY, Vm } from '../kernels/vm.mjs';
import { load } from '../lib/load.mjs';
import { run, until } from '../lib/process.mjs';
import { Missing } from '../lib/scenario.mjs';
import { Metrics } from '../lib/server.mjs';

/** Of each family. */
const VIEWERS = 2;
const SECONDS = 6;
/** Of packets; one that comes more than a second late counts as lost. */
const MOST_LOSS = 0.005;
/** A host too busy to emulate makes packets late: loss that comes in each of so many tries is the server's. */
const TRIES = 3;
/** Ready after so long, under emulation. */
const READY_MS = 45_000;
/** CPU of a datagram by zero-copy AF_XDP, against that of one plain `sendto`. */
const MOST_ZERO_COPY = 0.15;

/**
 * A kernel of Debian's, and what it can do with virtio-net.
 * @typedef {object} Kernel
 * @property {string} name
 * @property {string} suite
 * @property {boolean} zeroCopy
 * @property {boolean} [fullOnly]
 */
/** @type {Kernel[]} */
const KERNELS = [
  { name: '6.1', suite: 'bookworm', zeroCopy: false, fullOnly: true },
  { name: '6.12', suite: 'trixie', zeroCopy: false, fullOnly: true },
  { name: 'newest', suite: 'trixie-backports', zeroCopy: true, fullOnly: true },
];

/**
 * One way of the dataplane's input and output: what is asked for, and what must come of it.
 * @typedef {object} Way
 * @property {string} name
 * @property {string[]} asked settings
 * @property {RegExp} got how it says that it forwards
 * @property {RegExp} [because] in one line before that: why it is not what was asked for
 * @property {boolean} [bypass] media passes by the kernel's stack
 */

/** @param {Kernel} kernel @returns {Way[]} */
function ways({ zeroCopy }) {
  const xdp = (/** @type {string} */ copy) => ['ION_IO=xdp', 'ION_INTERFACE=eth0', `ION_XDP_COPY=${copy}`];
  const without = { got: /^io_uring$/, because: /no AF_XDP: eth0: .*driver cannot do zero-copy/ };
  return [
    { name: 'zero-copy', asked: xdp('zero-copy'), ...(zeroCopy ? { got: /^AF_XDP, zero-copy on eth0/, bypass: true } : without) },
    { name: 'either', asked: xdp('auto'), got: zeroCopy ? /^AF_XDP, zero-copy on eth0/ : /^AF_XDP, copy mode on eth0/, bypass: true },
    { name: 'copy', asked: xdp('copy'), got: /^AF_XDP, copy mode on eth0/, bypass: true },
    { name: 'io_uring', asked: ['ION_IO=uring'], got: /^io_uring$/ },
    { name: 'sockets', asked: ['ION_IO=socket'], got: /^sockets$/ },
  ];
}

/** Datagrams that the machine's own UDP stack carried, IPv4 and IPv6. @param {Vm} vm */
async function stack(vm) {
  const snmp = await vm.run('cat /proc/net/snmp /proc/net/snmp6');
  const [names = [], values = []] = [...snmp.matchAll(/^Udp: (.*)$/gm)].map((line) => (line[1] ?? '').split(' '));
  const v6 = (/** @type {string} */ name) => Number(new RegExp(`^Udp6${name}\\s+(\\d+)`, 'm').exec(snmp)?.[1] ?? NaN);
  const sum = (/** @type {string} */ name) => Number(values[names.indexOf(name)]) + v6(name);
  return { received: sum('InDatagrams'), sent: sum('OutDatagrams') };
}

/** A request to the server in the machine. @param {Vm} vm @param {string} path */
const get = (vm, path) => run('curl', ['-sSf', '-m', '5', `http://${GUEST.v4}:7880${path}`], { netns: vm.netns });

/**
 * Real clients on the host's side of the tap, of both families at once.
 * @param {import('../lib/scenario.mjs').Context} t @param {Vm} vm
 */
async function clients(t, vm) {
  const folder = await mkdtemp(join(tmpdir(), 'ion-vm-'));
  const one = async (/** @type {string} */ family, /** @type {string} */ host) => {
    const json = join(folder, `${family}.json`);
    const at = (/** @type {string} */ what) => `http://${host}:7880/${what}/${family}-{room}`;
    const args = ['--whip', at('whip'), '--whep', at('whep'), '--viewers', String(VIEWERS), '--duration', `${SECONDS}s`, '--rate', '500k', '--json', json];
    const { status, said } = await load(t, args, vm.netns);
    if (status !== 0) throw new Error(`${family}: exit status ${status} of the load generator: ${said}`);
    const report = JSON.parse(await readFile(json, 'utf8'));
    if (report.joins_ok !== VIEWERS) throw new Error(`${family}: ${report.joins_ok} of ${VIEWERS} viewers joined: ${said}`);
    return report;
  };
  const reports = await Promise.all([one('v4', GUEST.v4), one('v6', `[${GUEST.v6}]`)]);
  await rm(folder, { recursive: true });
  const sum = (/** @type {string} */ name) => reports.reduce((sum, report) => sum + report[name], 0);
  return { received: sum('packets_received'), expected: sum('packets_expected'), p50: Math.max(...reports.map((report) => report.latency_ms.p50)) };
}

/**
 * Starts the server in one way, has it forward, and looks by which way packets went.
 * @param {import('../lib/scenario.mjs').Context} t @param {Vm} vm @param {Way} way
 */
async function forward(t, vm, way) {
  const check = (/** @type {boolean} */ holds, /** @type {string} */ what) => t.check(holds, `${way.name}: ${what}`);
  const settings = ['ION_HTTP=[::]:7880', `ION_PUBLIC_IP=${GUEST.v4},${GUEST.v6}`, 'ION_STATE_DIR=/tmp/ion', ...way.asked];
  const server = await vm.start(`env ${settings.join(' ')} /ion/ion run --dev`, `/tmp/${way.name}.log`);
  await until('The server in the virtual machine is ready', READY_MS, () => get(vm, '/readyz').then(() => true)).catch(async (error) => {
    throw new Error(`${way.name}: ${error.message} It said:\n${await server.said()}\nThe kernel said last:\n${await vm.run('dmesg | tail -40')}`);
  });
  const said = (await server.said()).split('\n');
  const got = said.map((line) => / forwarding .*io="([^"]*)"/.exec(line)?.[1]).find((io) => io !== undefined) ?? 'nothing';
  check(way.got.test(got), `it forwards by ${got}`);
  const reasons = said.filter((line) => /AF_XDP:|io_uring is refused|no eBPF|classic BPF|behind the driver/.test(line));
  check(reasons.length === (way.because ? 1 : 0), `it gives these reasons: ${reasons.join('\n')}`);
  check(reasons.every((line) => way.because?.test(line)), `another reason was expected: ${reasons.join('\n')}`);

  const before = await stack(vm);
  let [tries, came] = [1, await clients(t, vm)];
  for (; came.received < came.expected * (1 - MOST_LOSS) && tries < TRIES; tries += 1) came = await clients(t, vm);
  const { received, expected, p50 } = came;
  check(received >= expected * (1 - MOST_LOSS), `${received} of ${expected} packets came, at the last of ${tries} tries`);
  // 500 kbit/s are some sixty packets a second, for each viewer of each family.
  check(expected > 2 * VIEWERS * SECONDS * 40, `only ${expected} packets were expected`);
  const after = await stack(vm);
  const metrics = new Metrics(await get(vm, '/metrics'));
  const [taken, sent] = [metrics.sum(/^ion_worker_packets_received_total$/), metrics.sum(/^ion_worker_packets_sent_total$/)];
  check(metrics.sum(/^ion_worker_ring_full_total$/) === 0, 'a TX ring was full');
  check(taken >= received / VIEWERS && sent >= received, `the workers counted ${taken} packets received and ${sent} sent`);
  const ring = { taken: metrics.sum(/^ion_worker_ring_packets_received_total$/), sent: metrics.sum(/^ion_worker_ring_packets_sent_total$/) };
  // The kernel's own counters agree with ours. Signalling goes by its stack always, and several packets in one send count once.
  const stacked = { received: after.received - before.received, sent: after.sent - before.sent };
  const counts = `${ring.taken} of ${taken} packets came and ${ring.sent} of ${sent} went by rings, ${stacked.received} and ${stacked.sent} by the stack`;
  if (way.bypass) {
    check(ring.taken > taken * 0.9 && ring.sent > sent * 0.9 && stacked.received < taken * 0.2 && stacked.sent < sent * 0.2, counts);
    await until('All frames are back', 5000, async () => new Metrics(await get(vm, '/metrics')).sum(/^ion_worker_ring_frames$/) === 0);
  } else {
    check(ring.taken === 0 && ring.sent === 0 && stacked.received >= taken * 0.9 && stacked.sent > 0, counts);
  }
  const status = await server.stop();
  check(status === 0, `exit status ${status}: ${(await server.said()).split('\n').slice(-8).join('\n')}`);
  t.figure(way.name, `${received}/${expected}`);
  return { 'asked for': way.name, 'forwards by': got.split(';')[0], packets: `${received}/${expected}`, tries, 'p50 ms': Math.round(p50), 'ring in/out': `${ring.taken}/${ring.sent}`, 'stack in/out': `${stacked.received}/${stacked.sent}` };
}

/**
 * What a datagram costs, by ways that take turns in one boot.
 * @param {import('../lib/scenario.mjs').Context} t @param {Vm} vm @param {Kernel} kernel
 */
async function cost(t, vm, { zeroCopy }) {
  const out = () => run('cat', ['/sys/class/net/tap0/statistics/rx_packets'], { netns: vm.netns }).then(Number);
  const before = await out();
  const said = await vm.run(`/ion/transmit_cost eth0 ${GUEST.v4} ${NOBODY} 2`, 120_000);
  const lines = [...said.matchAll(/^(\S+) (\d+) (\d+) (\d+)$/gm)];
  const ns = new Map(lines.map(([, name, busy]) => [String(name), Number(busy)]));
  const [sent, came] = [lines.reduce((sum, line) => sum + Number(line[4]), 0), (await out()) - before];
  t.check(came >= sent, `of ${sent} datagrams ${came} came out of the machine: ${said}`);
  t.check(ns.has('sendto') && ns.has('copy') && ns.has('zero-copy') === zeroCopy, `costs of a datagram: ${said}`);
  const one = ns.get('sendto') ?? NaN;
  for (const [name, each] of ns) t.figure(`${name} ns`, `${each} (${(each / one).toFixed(3)})`);
  if (zeroCopy) t.check((ns.get('zero-copy') ?? NaN) / one <= MOST_ZERO_COPY, `zero-copy costs more than ${MOST_ZERO_COPY} of a sendto: ${said}`);
}

/** @param {Kernel} kernel @returns {import('../lib/scenario.mjs').Scenario} */
const under = (kernel) => ({
  name: `kernel-${kernel.name}`,
  fullOnly: kernel.fullOnly ?? false,
  timeoutS: 480,
  run: async (t) => {
    const programs = ['ion', 'ion-controlplane', 'ion-dataplane', ...(t.full ? ['examples/transmit_cost'] : [])].map((name) => join(t.binDir, name));
    for (const program of programs) {
      await access(program).catch(() => {
        throw new Missing(`there is no ${program} (make test-kernels builds it)`);
      });
    }
    const vm = await Vm.boot(t, kernel.suite, programs);
    t.figure('kernel', vm.kernel);
    const rows = [];
    for (const way of ways(kernel)) rows.push(await forward(t, vm, way));
    if (t.full) await cost(t, vm, kernel);
    console.table(rows);
  },
});

export const scenarios = KERNELS.map(under);
