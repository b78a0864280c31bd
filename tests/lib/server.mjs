// The server under test: `ion run --dev` on free ports, with a state directory of its own, and what is read from it.
import { access, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Child, freePort, run, until } from './process.mjs';

const READY_TIMEOUT_MS = 20_000;
/** Variables of the test runner, which the server would take for misspelt settings. */
export const RUNNERS_OWN = { ION_BIN_DIR: undefined, ION_CHROMIUM: undefined, ION_FIREFOX: undefined };

export class Server {
  /**
   * @param {Child} launcher
   * @param {{state: string, netns: string | null, httpPort: number, mediaPort: number, host: string, settings: NodeJS.ProcessEnv}} where
   */
  constructor(launcher, { state, netns, httpPort, mediaPort, host, settings }) {
    this.launcher = launcher;
    this.state = state;
    this.netns = netns;
    this.httpPort = httpPort;
    this.mediaPort = mediaPort;
    this.settings = settings;
    /** For peers on the same machine (or in the same namespace): a secure origin, so that pages get a camera. */
    this.url = `http://localhost:${httpPort}`;
    /** For peers elsewhere. */
    this.farUrl = `http://${host}:${httpPort}`;
  }

  /**
   * @param {{binDir: string, workers?: number, netns?: string | null, host?: string, bothFamilies?: boolean, dev?: boolean, env?: NodeJS.ProcessEnv}} options
   *   `host`: the address announced to peers; outside a namespace media is bound to it
   */
  static async start({ binDir, workers = 1, netns = null, host = '127.0.0.1', bothFamilies = false, dev = true, env = {} }) {
    const binary = join(binDir, 'ion');
    await access(binary).catch(() => {
      throw new Error(`There is no ${binary}: build it (cargo build --release), or set ION_BIN_DIR.`);
    });
    const [httpPort, mediaPort] = [await freePort(), await freePort()];
    const any = netns ? '0.0.0.0' : '127.0.0.1';
    const state = await mkdtemp(join(tmpdir(), 'ion-e2e-'));
    const settings = {
      ION_HTTP: `${any}:${httpPort}`,
      ION_MEDIA: `${netns ? any : host}:${mediaPort}${bothFamilies ? `,[::]:${mediaPort}` : ''}`,
      ION_PUBLIC_IP: host,
      ION_WORKERS: String(workers),
      ION_STATE_DIR: state,
      ...env,
    };
    const launcher = new Child(binary, dev ? ['run', '--dev'] : ['run'], { netns, cwd: state, env: { ...RUNNERS_OWN, ...settings } });
    const server = new Server(launcher, { state, netns, httpPort, mediaPort, host, settings });
    try {
      await until('The server is ready', READY_TIMEOUT_MS, async () => {
        if (!launcher.alive) return true;
        return (await server.get('/readyz')).status === 200;
      });
      if (!launcher.alive) throw new Error('The server ended while it started.');
    } catch (error) {
      await server.stop();
      const reason = error instanceof Error ? error.message : error;
      throw new Error(`${reason} It said last:\n${launcher.tail(20)}`);
    }
    return server;
  }

  /**
   * A request from where the server is.
   * @param {string} path @param {{method?: string, headers?: Record<string, string>, body?: string}} [init]
   * @returns {Promise<{status: number, text: string, headers: Headers}>} without headers inside a namespace
   */
  async get(path, init = {}) {
    const url = new URL(path, `http://127.0.0.1:${this.httpPort}`).href;
    if (this.netns) {
      const headers = Object.entries(init.headers ?? {}).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
      const body = init.body === undefined ? [] : ['--data-binary', init.body];
      const args = ['-sS', '-m', '5', '-X', init.method ?? 'GET', '-w', '\n%{http_code}', ...headers, ...body, url];
      const out = await run('curl', args, { netns: this.netns });
      const at = out.lastIndexOf('\n');
      return { status: Number(out.slice(at + 1)), text: out.slice(0, at), headers: new Headers() };
    }
    const response = await fetch(url, { ...init, signal: AbortSignal.timeout(5000) });
    return { status: response.status, text: await response.text(), headers: response.headers };
  }

  /**
   * A request to the management API.
   * @param {string} method @param {string} path @param {object | null} [body] @param {string} [token]
   * @returns {Promise<{status: number, body: any}>} `body` is null where there is none
   */
  async api(method, path, body = null, token = '') {
    const headers = { ...(body === null ? {} : { 'content-type': 'application/json' }), ...(token === '' ? {} : { authorization: `Bearer ${token}` }) };
    const answer = await this.get(path, { method, headers, ...(body === null ? {} : { body: JSON.stringify(body) }) });
    return { status: answer.status, body: answer.text === '' ? null : JSON.parse(answer.text) };
  }

  /** The same, where nothing but success will do. @param {string} method @param {string} path @param {object | null} [body] @param {string} [token] */
  async must(method, path, body = null, token = '') {
    const answer = await this.api(method, path, body, token);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /**
   * What the server knows about who is in a room.
   * @param {string} room
   * @returns {Promise<{identity: string, role: string, state: string, dtlsVersion: string | null, srtpProfile: string | null, worker: number}[]>}
   */
  async participants(room) {
    const answer = await this.get(`/v1/rooms/${room}/participants`);
    if (answer.status === 404) return [];
    if (answer.status !== 200) throw new Error(`GET ${room}'s participants: ${answer.status} ${answer.text.slice(0, 200)}`);
    return JSON.parse(answer.text).participants;
  }

  /**
   * What the server counted of the sessions of a room's participants, by role.
   * @param {string} room @param {'publisher' | 'viewer'} role
   * @returns {Promise<any[]>} in the order of the participants
   */
  async statistics(room, role) {
    const found = [];
    for (const { identity } of (await this.participants(room)).filter((one) => one.role === role)) {
      const answer = await this.get(`/v1/rooms/${room}/participants/${identity}/stats`);
      if (answer.status === 200) found.push(...JSON.parse(answer.text).sessions.map((/** @type {any} */ one) => ({ identity, ...one })));
    }
    return found;
  }

  async metrics() {
    return new Metrics((await this.get('/metrics')).text);
  }

  /** @param {string} program @returns {Promise<number | null>} its pid, if the launcher has such a child now */
  async pidOf(program) {
    for (const pid of await descendants(this.launcher.pid)) {
      const argv = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (basename(argv.split('\0')[0] ?? '') === program) return pid;
    }
    return null;
  }

  async stop() {
    const below = await descendants(this.launcher.pid);
    await this.launcher.end();
    // A launcher that had to be killed leaves its processes behind.
    for (const pid of below) {
      const argv = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (argv.includes('ion-')) process.kill(pid, 'SIGKILL');
    }
    await rm(this.state, { recursive: true, force: true });
  }
}

/** @param {number} pid @returns {Promise<number[]>} */
async function descendants(pid) {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => /** @type {string[]} */ ([]));
  const lists = await Promise.all(threads.map((tid) => readFile(`/proc/${pid}/task/${tid}/children`, 'utf8').catch(() => '')));
  const children = lists.flatMap((list) => list.trim().split(/\s+/)).filter((text) => text !== '');
  const below = await Promise.all(children.map((child) => descendants(Number(child))));
  return [...children.map(Number), ...below.flat()];
}

/** Counters and gauges in Prometheus text format. */
export class Metrics {
  /** @param {string} text */
  constructor(text) {
    /** @type {{name: string, labels: string, value: number}[]} */
    this.samples = [];
    for (const line of text.split('\n')) {
      const match = /^([a-zA-Z_:][\w:]*)(\{.*\})?\s+(\S+)/.exec(line);
      if (match) this.samples.push({ name: match[1] ?? '', labels: match[2] ?? '', value: Number(match[3]) });
    }
  }

  /** Sum over all samples whose name and labels match. @param {RegExp} name @param {RegExp} [labels] */
  sum(name, labels = /.*/) {
    let sum = 0;
    for (const one of this.samples) if (name.test(one.name) && labels.test(one.labels)) sum += one.value;
    return sum;
  }

  /** @param {RegExp} name @returns {boolean} */
  has(name) {
    return this.samples.some((one) => name.test(one.name));
  }

  /**
   * Packets that workers dropped since `before` and that somebody misses: not padding, and no copies of what is there.
   * @param {Metrics} before @returns {string[]}
   */
  losses(before) {
    return this.grown(before, /^ion_worker_drops/).filter((line) => !/padding_only|rtx_useless|rtx_unmatched|fec_useless|duplicate/.test(line));
  }

  /**
   * Samples that grew since `before`, as text.
   * @param {Metrics} before @param {RegExp} name @returns {string[]}
   */
  grown(before, name) {
    const earlier = new Map(before.samples.map((one) => [one.name + one.labels, one.value]));
    return this.samples
      .filter((one) => name.test(one.name) && one.value > (earlier.get(one.name + one.labels) ?? 0))
      .map((one) => `${one.name}${one.labels} +${one.value - (earlier.get(one.name + one.labels) ?? 0)}`);
  }
}
