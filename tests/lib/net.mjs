// Two network namespaces with a third between them whose bridge loses and delays packets. No namespace has a way out.
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { run, until } from './process.mjs';
import { Missing } from './scenario.mjs';

/**
 * An IPv4 address of this machine that is none of loopback. What a machine sends to its own address does not leave it.
 * @returns {string}
 */
export function ownAddress() {
  const all = Object.values(networkInterfaces()).flat();
  const found = all.find((one) => one?.family === 'IPv4' && !one.internal);
  if (!found) throw new Missing('this machine has no address but loopback, which Firefox does not use for media');
  return found.address;
}

/** Addresses of the two ends; they exist inside the namespaces only. */
const ADDRESS = { a: '10.213.7.1', b: '10.213.7.2', elsewhere: '10.213.7.3' };

/** @param {string[]} args */
const ip = (...args) => run('ip', args);

/** Makes namespaces; they are taken down after the scenario. @param {import('./scenario.mjs').Context} t @param {string[]} names */
export async function makeNamespaces(t, names) {
  for (const name of names) {
    await ip('netns', 'add', name).catch((error) => {
      throw new Missing(`network namespaces need root (CAP_NET_ADMIN, CAP_SYS_ADMIN): ${error.message.trim().split('\n').pop()}`);
    });
    // Taking the namespace away takes its interfaces along.
    t.after(() => ip('netns', 'del', name));
    await ip('-n', name, 'link', 'set', 'lo', 'up');
  }
}

/** A test that could reach the world ends here. @param {string[]} names */
export async function refuseWaysOut(names) {
  for (const name of names) {
    const routes = await ip('-n', name, 'route', 'show', 'table', 'all');
    if (/^default|\bvia\b/m.test(routes)) throw new Error(`The namespace ${name} has a way out: ${routes}`);
  }
}

/**
 * Two namespaces that a pair of veth connects, with as many queues as workers are to have, and nothing else.
 * @param {import('./scenario.mjs').Context} t @param {{queues?: number}} [options]
 */
export async function directNetwork(t, { queues = 2 } = {}) {
  const names = { a: `ion-xdp-${process.pid}-a`, b: `ion-xdp-${process.pid}-b` };
  await makeNamespaces(t, Object.values(names));
  const many = ['numrxqueues', String(queues), 'numtxqueues', String(queues)];
  await ip('-n', names.a, 'link', 'add', 'veth-a', ...many, 'type', 'veth', 'peer', 'name', 'veth-b', ...many, 'netns', names.b);
  const ends = {
    a: { netns: names.a, device: 'veth-a', address: '10.213.8.1', address6: 'fd00:213:8::1' },
    b: { netns: names.b, device: 'veth-b', address: '10.213.8.2', address6: 'fd00:213:8::2' },
  };
  for (const { netns, device, address, address6 } of Object.values(ends)) {
    await ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', device);
    await ip('-n', netns, 'addr', 'add', `${address6}/64`, 'dev', device, 'nodad');
    await ip('-n', netns, 'link', 'set', device, 'up');
    // veth hands unfinished checksums to the other end, where nothing behind XDP finishes them.
    await run('ethtool', ['-K', device, 'tx', 'off'], { netns });
  }
  await refuseWaysOut(Object.values(names));
  return ends;
}

/**
 * A namespace for the server and one for each viewer, on one bridge; what goes to a viewer is limited to so many bits per second, with a
 * queue of 300 ms before it that drops what does not fit. 0 is no limit. The network is taken down after the scenario.
 * @param {import('./scenario.mjs').Context} t @param {number[]} limitsBps
 */
export async function limitedNetwork(t, limitsBps) {
  const prepare = join(t.testsDir, 'net', 'bridge.py');
  const near = `ion-lim-${process.pid}-s`;
  const viewers = limitsBps.map((limitBps, at) => ({ netns: `ion-lim-${process.pid}-${at}`, limitBps, address: `10.213.9.${at + 2}` }));
  const names = [near, ...viewers.map(({ netns }) => netns)];
  await makeNamespaces(t, names);
  await ip('-n', near, 'link', 'add', 'bridge0', 'type', 'bridge');
  await ip('-n', near, 'addr', 'add', '10.213.9.1/24', 'dev', 'bridge0');
  await ip('-n', near, 'link', 'set', 'bridge0', 'up');
  for (const [at, { netns, limitBps, address }] of viewers.entries()) {
    const port = `port${at}`;
    await ip('-n', near, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
    await ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
    for (const [name, device] of [[near, port], [netns, 'eth0']]) {
      // One segment a packet: what the limit counts is what a wire would carry.
      await ip('-n', String(name), 'link', 'set', String(device), 'gso_max_segs', '1', 'up');
      await run('python3', [prepare, '--prepare', String(device)], { netns: String(name) });
    }
    await ip('-n', near, 'link', 'set', port, 'master', 'bridge0');
    if (limitBps === 0) continue;
    const tbf = ['tbf', 'rate', `${limitBps}bit`, 'burst', '3000', 'latency', '300ms'];
    await run('tc', ['-n', near, 'qdisc', 'add', 'dev', port, 'root', ...tbf]).catch((error) => {
      throw new Missing(`this kernel limits no bandwidth (tbf): ${error.message.trim().split('\n').pop()}`);
    });
  }
  await refuseWaysOut(names);
  return { near: { netns: near, address: '10.213.9.1' }, viewers };
}

/**
 * @typedef {object} Impairment
 * @property {number} [lossAb] share of UDP packets lost from A to B, 0 to 1
 * @property {number} [lossBa]
 * @property {number} [delayAb] milliseconds
 * @property {number} [delayBa]
 * @property {number} [seed]
 */
/**
 * @typedef {object} Way counters of one direction
 * @property {number} udp
 * @property {number} lost
 * @property {number} other
 * @property {number} overflow
 * @property {number} refused
 * @property {number} cut
 * @property {number} longest bytes of the longest frame
 * @property {Record<string, {packets: number, lost: number}>} streams by SSRC
 */

/**
 * Makes the network; it is taken down after the scenario.
 * @param {import('./scenario.mjs').Context} t @param {Impairment} impairment
 */
export async function impairedNetwork(t, { lossAb = 0, lossBa = 0, delayAb = 0, delayBa = 0, seed = 1 }) {
  const bridge = join(t.testsDir, 'net', 'bridge.py');
  const names = { a: `ion-e2e-${process.pid}-a`, middle: `ion-e2e-${process.pid}-m`, b: `ion-e2e-${process.pid}-b` };
  await makeNamespaces(t, Object.values(names));
  for (const end of /** @type {const} */ (['a', 'b'])) {
    const [near, far] = [`veth-${end}`, `mid-${end}`];
    await ip('-n', names[end], 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', names.middle);
    await ip('-n', names[end], 'addr', 'add', `${ADDRESS[end]}/24`, 'dev', near);
    for (const [name, device] of [[names[end], near], [names.middle, far]]) {
      // One segment a packet: what the bridge sees is what a wire would carry.
      await ip('-n', String(name), 'link', 'set', String(device), 'gso_max_segs', '1', 'up');
      await run('python3', [bridge, '--prepare', String(device)], { netns: String(name) });
    }
  }
  await refuseWaysOut(Object.values(names));
  const flags = { '--loss-ab': lossAb, '--loss-ba': lossBa, '--delay-ab': delayAb, '--delay-ba': delayBa, '--seed': seed };
  const args = Object.entries(flags).flatMap(([flag, value]) => [flag, String(value)]);
  const child = t.child('python3', [bridge, '--a', 'mid-a', '--b', 'mid-b', ...args], { netns: names.middle });
  /** @type {any[]} */
  const said = [];
  child.readers.push((line) => line.startsWith('{') && said.push(JSON.parse(line)));
  await until('The bridge runs', 10_000, () => {
    if (!child.alive) throw new Error(child.tail());
    return said.length > 0;
  });
  return {
    a: { netns: names.a, address: ADDRESS.a },
    b: { netns: names.b, address: ADDRESS.b },
    /** Cuts the wire, or mends it. @param {boolean} whole */
    wire: (whole) => child.process.kill(whole ? 'SIGUSR2' : 'SIGUSR1'),
    elsewhere: ADDRESS.elsewhere,
    /** Gives B that other address in place of its own, as a client has that went to another network. */
    move: async () => {
      await ip('-n', names.b, 'addr', 'del', `${ADDRESS.b}/24`, 'dev', 'veth-b');
      await ip('-n', names.b, 'addr', 'add', `${ADDRESS.elsewhere}/24`, 'dev', 'veth-b');
    },
    /** Ends the bridge. @returns {Promise<{ab: Way, ba: Way}>} what it did */
    stop: async () => {
      await child.end();
      if (said.length < 2) throw new Error(`The bridge did not tell its counters: ${child.tail()}`);
      return said[1];
    },
  };
}
