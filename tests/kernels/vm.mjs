// A virtual machine with a kernel of Debian's, on a tap device inside a network namespace that has no way out.
import { access } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeNamespaces, refuseWaysOut } from '../lib/net.mjs';
import { run, until } from '../lib/process.mjs';
import { Missing } from '../lib/scenario.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const cache = join(dirname(dirname(here)), 'target', 'kernels');

/** Of the host's end of the tap, and of the machine's virtio-net device. They exist in the namespace only. */
export const HOST = { v4: '10.213.9.1', v6: 'fd00:213:9::1' };
export const GUEST = { v4: '10.213.9.2', v6: 'fd00:213:9::2' };
/** Nobody's: what is sent there comes to the tap and is dropped by the host's device layer. */
export const NOBODY = '10.213.9.9';

/** Under emulation, on a busy machine: there a boot may also hang, where the kernel sets its clocks by each other. */
const BOOT_TIMEOUT_MS = 60_000;
const BOOTS = 3;
const FETCH_TIMEOUT_MS = 180_000;
const COMMAND_TIMEOUT_MS = 30_000;

/** Clocks are the host's: nothing is to be found out about them. */
const CMDLINE = 'console=ttyS0 loglevel=4 panic=-1 no_timer_check tsc=reliable';

/** Without `iommu_platform` the kernel refuses zero-copy, with the offloads towards the machine XDP. */
const NET_DEVICE =
  'virtio-net-pci,netdev=net,mq=on,vectors=6,iommu_platform=on,disable-legacy=on,' +
  'guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off';

export class Vm {
  /** @param {import('../lib/process.mjs').Child} qemu @param {string} netns */
  constructor(qemu, netns) {
    this.qemu = qemu;
    this.netns = netns;
    this.kernel = '';
    /** Lines of the console that nobody has read. @type {string[]} */
    this.lines = [];
    qemu.readers.push((line) => this.lines.push(line.replaceAll('\r', '')));
  }

  /**
   * Boots the kernel of a Debian suite with programs in its `/ion`. Everything ends after the scenario.
   * @param {import('../lib/scenario.mjs').Context} t @param {string} suite @param {string[]} programs
   */
  static async boot(t, suite, programs) {
    await run('qemu-system-x86_64', ['--version']).catch(() => {
      throw new Missing('there is no qemu-system-x86_64 (tests/setup.sh)');
    });
    await run('busybox', ['true']).catch(() => {
      throw new Missing('there is no busybox (tests/setup.sh)');
    });
    await access('/dev/net/tun').catch(() => {
      throw new Missing('there is no /dev/net/tun: no tap device can be made');
    });
    await run(join(here, 'fetch.sh'), [suite], { timeoutMs: FETCH_TIMEOUT_MS }).catch((error) => {
      throw new Missing(`the kernel of ${suite} could not be fetched: ${error.message}`);
    });
    const folder = join(cache, suite);
    const initrd = join(folder, 'initrd');
    await run(join(here, 'initrd.sh'), [folder, initrd, ...programs], { timeoutMs: COMMAND_TIMEOUT_MS });
    const netns = await tapNetwork(t);
    const vm = await power(t, netns, folder);
    await vm.run('sysctl -q -w net.ipv6.conf.eth0.accept_dad=0 net.core.rmem_max=16777216');
    await vm.run(`ip addr add ${GUEST.v4}/24 dev eth0 && ip -6 addr add ${GUEST.v6}/64 dev eth0 && ip link set eth0 up`);
    await vm.run(`arp -i eth0 -s ${NOBODY} 02:00:00:00:00:09`);
    return vm;
  }

  /** Waits for a line of the console. @param {RegExp} pattern @param {number} timeoutMs */
  async line(pattern, timeoutMs) {
    return until(`A line ${pattern} of the virtual machine`, timeoutMs, () => {
      if (!this.qemu.alive) throw new Error(`QEMU has ended: ${this.qemu.tail(60)}`);
      const at = this.lines.findIndex((line) => pattern.test(line));
      if (at < 0) return null;
      const [found] = this.lines.splice(0, at + 1).slice(-1);
      return found;
    }, 50);
  }

  /**
   * Runs one line of shell in the machine.
   * @param {string} command @param {number} [timeoutMs] @returns {Promise<string>} what it wrote; another status than 0 throws
   */
  async run(command, timeoutMs = COMMAND_TIMEOUT_MS) {
    this.lines = [];
    this.qemu.write(`${command}\n`);
    /** @type {string[]} */
    const said = [];
    for (;;) {
      const line = await this.line(/^/, timeoutMs);
      const status = /^status: (\d+)$/.exec(line)?.[1];
      if (status === '0') return said.join('\n');
      if (status !== undefined) throw new Error(`${command}: status ${status}: ${said.slice(-10).join('\n')}`);
      said.push(line);
    }
  }

  /** Starts a program there, its output going to a file. @param {string} command @param {string} log @returns {Promise<Program>} */
  async start(command, log) {
    const pid = await this.run(`${command} >${log} 2>&1 & echo $!`);
    return new Program(this, pid.trim(), log);
  }
}

/**
 * Switches the machine on, again if it hangs before its first process.
 * @param {import('../lib/scenario.mjs').Context} t @param {string} netns @param {string} folder @returns {Promise<Vm>}
 */
async function power(t, netns, folder) {
  const args = ['-accel', 'tcg,thread=multi', '-cpu', 'Nehalem', '-smp', '2', '-m', '1024', '-nodefaults', '-no-reboot', '-display', 'none', '-serial', 'stdio'];
  const boot = ['-kernel', join(folder, 'vmlinuz'), '-initrd', join(folder, 'initrd'), '-append', CMDLINE];
  const net = ['-netdev', 'tap,id=net,ifname=tap0,script=no,downscript=no,queues=2,vhost=off', '-device', NET_DEVICE];
  for (let boots = 1; ; boots += 1) {
    const qemu = t.child('nice', ['-n', '10', 'qemu-system-x86_64', ...args, ...boot, ...net], { netns });
    const vm = new Vm(qemu, netns);
    try {
      vm.kernel = (await vm.line(/^kernel: /, BOOT_TIMEOUT_MS)).slice('kernel: '.length);
      t.figure('boots', boots);
      return vm;
    } catch (error) {
      await qemu.end();
      if (boots === BOOTS) throw new Error(`${boots} boots: ${error instanceof Error ? error.message : error} It said last:\n${qemu.tail(20)}`);
    }
  }
}

/** A program that runs in the background of a virtual machine. */
class Program {
  /** @param {Vm} vm @param {string} pid @param {string} log */
  constructor(vm, pid, log) {
    this.vm = vm;
    this.pid = pid;
    this.log = log;
  }

  said() {
    return this.vm.run(`cat ${this.log}`);
  }

  /** Asks it to end, and waits for that. @returns {Promise<number>} its exit status */
  async stop() {
    const status = await this.vm.run(`kill ${this.pid}; wait ${this.pid}; echo $?`);
    return Number(status.trim().split('\n').pop());
  }
}

/**
 * A namespace with a tap device of several queues, and nothing else.
 * @param {import('../lib/scenario.mjs').Context} t @returns {Promise<string>} its name
 */
async function tapNetwork(t) {
  const netns = `ion-vm-${process.pid}`;
  const ip = (/** @type {string[]} */ ...args) => run('ip', ['-n', netns, ...args]);
  await makeNamespaces(t, [netns]);
  await ip('tuntap', 'add', 'tap0', 'mode', 'tap', 'multi_queue').catch((error) => {
    throw new Missing(`no tap device can be made: ${error.message.trim().split('\n').pop()}`);
  });
  await ip('addr', 'add', `${HOST.v4}/24`, 'dev', 'tap0');
  await ip('addr', 'add', `${HOST.v6}/64`, 'dev', 'tap0', 'nodad');
  await ip('link', 'set', 'tap0', 'up');
  await refuseWaysOut([netns]);
  return netns;
}
