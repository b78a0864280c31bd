// Child processes of the tests: each is registered, keeps the end of what it wrote, and is ended by its pid whatever happens.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Characters of output kept for the report of a failure. */
const KEPT_OUTPUT = 16_384;
/** Time between SIGTERM and SIGKILL, in milliseconds. */
const TERM_GRACE_MS = 4000;

/** @type {Set<Child>} */
const running = new Set();

export class Child {
  /**
   * @param {string} command @param {string[]} args
   * @param {{env?: NodeJS.ProcessEnv, cwd?: string, netns?: string | null}} [options] `netns`: name of the network namespace to run in
   */
  constructor(command, args, { env, cwd, netns } = {}) {
    const [file, argv] = netns ? ['ip', ['netns', 'exec', netns, command, ...args]] : [command, args];
    this.name = command.split('/').pop() ?? command;
    this.output = '';
    /** @type {((line: string) => void)[]} */
    this.readers = [];
    this.process = spawn(file, argv, { env: { ...process.env, ...env }, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    this.exited = once(this.process, 'close').then(
      ([code, signal]) => ({ code, signal }),
      () => ({ code: -1, signal: null }),
    );
    running.add(this);
    this.exited.then(() => running.delete(this));
    this.process.on('error', (error) => this.keep(`${error.message}\n`));
    this.process.stdin.on('error', () => {});
    this.process.stderr.on('data', (data) => this.keep(String(data)));
    let rest = '';
    this.process.stdout.on('data', (data) => {
      this.keep(String(data));
      const lines = (rest + data).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) for (const reader of this.readers) reader(line);
    });
  }

  get pid() {
    return this.process.pid ?? -1;
  }

  get alive() {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  /** @param {string} text */
  keep(text) {
    this.output = (this.output + text).slice(-KEPT_OUTPUT);
  }

  /** @param {string} text */
  write(text) {
    this.process.stdin.write(text);
  }

  /** Waits for the end, then ends it by force. @param {number} ms @returns {Promise<number | null>} exit code */
  async wait(ms) {
    const end = await Promise.race([this.exited, sleep(ms, null, { ref: false })]);
    if (end === null) {
      await this.end();
      throw new Error(`${this.name} did not end within ${ms / 1000} s. It said last:\n${this.tail()}`);
    }
    return end.code;
  }

  async end() {
    if (!this.alive) return;
    this.process.kill('SIGTERM');
    const end = await Promise.race([this.exited, sleep(TERM_GRACE_MS, null, { ref: false })]);
    if (end === null) {
      this.process.kill('SIGKILL');
      await this.exited;
    }
  }

  /** @param {number} [lines] */
  tail(lines = 12) {
    return this.output.trimEnd().split('\n').slice(-lines).join('\n');
  }
}

export async function endAll() {
  await Promise.all([...running].map((child) => child.end()));
}

/** For the last moment of the runner, when nothing can be awaited any more. */
export function killAllNow() {
  for (const child of running) child.process.kill('SIGKILL');
}

/**
 * Runs a short command to its end.
 * @param {string} command @param {string[]} args @param {{netns?: string | null, timeoutMs?: number, env?: NodeJS.ProcessEnv}} [options]
 * @returns {Promise<string>} what it wrote on stdout; an exit status other than 0 throws
 */
export async function run(command, args, { netns, timeoutMs = 20_000, env } = {}) {
  const child = new Child(command, args, { netns, env });
  let out = '';
  child.process.stdout.on('data', (data) => (out += data));
  const code = await child.wait(timeoutMs);
  if (code !== 0) throw new Error(`${[command, ...args].join(' ')} ended with ${code}: ${child.tail(4)}`);
  return out;
}

/** A port that is free for both TCP and UDP on loopback. @returns {Promise<number>} */
export async function freePort() {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const tcp = createServer();
    tcp.listen(0, '127.0.0.1');
    await once(tcp, 'listening');
    const address = tcp.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const udp = createSocket('udp4');
    const free = await new Promise((resolve) => {
      udp.once('error', () => resolve(false));
      udp.bind(port, '127.0.0.1', () => resolve(true));
    });
    if (free) udp.close();
    tcp.close();
    await once(tcp, 'close');
    if (free) return port;
  }
  throw new Error('No port is free for both TCP and UDP.');
}

/**
 * Asks again and again until the answer is true.
 * @template T @param {string} what @param {number} timeoutMs @param {() => Promise<T> | T} ask @param {number} [everyMs]
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(what, timeoutMs, ask, everyMs = 100) {
  const deadline = performance.now() + timeoutMs;
  let last = '';
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer;
    } catch (error) {
      last = ` Last error: ${error instanceof Error ? error.message : error}`;
    }
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s.${last}`);
    await sleep(everyMs);
  }
}

export { sleep };
