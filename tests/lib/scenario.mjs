// What a scenario is, and what it is given: figures to note, checks that do not stop it, things that are ended after it.
import { loadavg } from 'node:os';
import { launchChromium, launchFirefox } from './browsers.mjs';
import { Child } from './process.mjs';
import { Server } from './server.mjs';

/**
 * @typedef {object} Scenario
 * @property {string} name
 * @property {boolean} [fullOnly] too slow for every run: only with --full
 * @property {number} timeoutS
 * @property {(t: Context) => Promise<void>} run
 */

/** Something that the machine or the build lacks: the scenario is skipped, and this says why. */
export class Missing extends Error {}

export class Context {
  /** @param {{full: boolean, binDir: string, testsDir: string, resultsDir: string}} about */
  constructor({ full, binDir, testsDir, resultsDir }) {
    this.full = full;
    this.binDir = binDir;
    this.testsDir = testsDir;
    this.resultsDir = resultsDir;
    /** @type {Record<string, unknown>} */
    this.figures = {};
    /** @type {string[]} */
    this.failures = [];
    /** Failures that a busy machine can cause as well. @type {string[]} */
    this.late = [];
    /** @type {(() => Promise<unknown>)[]} */
    this.endings = [];
  }

  /** Length of a measurement: short in the run of every day, thirty seconds in the full one. */
  get seconds() {
    return this.full ? 30 : 8;
  }

  /** @param {string} name @param {unknown} value */
  figure(name, value) {
    this.figures[name] = value;
  }

  /** Notes a failure and goes on, so that one run tells all of them. @param {boolean} holds @param {string} message */
  check(holds, message) {
    if (!holds) this.failures.push(message);
  }

  /**
   * The same for a bar in milliseconds, or for what follows from one: where two browsers share two cores with everything
   * else, it can be missed without the server's doing, so the short run gives the scenario another try if nothing else failed.
   * @param {boolean} holds @param {string} message
   */
  checkTiming(holds, message) {
    if (!holds) this.late.push(message);
  }

  /** @param {() => Promise<unknown>} end run after the scenario, last one first */
  after(end) {
    this.endings.push(end);
  }

  /** @param {Omit<Parameters<typeof Server.start>[0], 'binDir'>} [options] */
  async server(options = {}) {
    const server = await Server.start({ binDir: this.binDir, ...options });
    this.after(async () => {
      if (this.failures.length + this.late.length > 0) this.figure('server said last', server.launcher.tail(15));
      await server.stop();
    });
    return server;
  }

  /** @param {Parameters<typeof launchChromium>[0]} [options] */
  async chromium(options) {
    const browser = await launchChromium(options);
    this.after(() => browser.close());
    return browser;
  }

  async firefox() {
    const browser = await launchFirefox();
    this.after(() => browser.close());
    return browser;
  }

  /** @param {string} command @param {string[]} args @param {ConstructorParameters<typeof Child>[2]} [options] */
  child(command, args, options) {
    const child = new Child(command, args, options);
    this.after(() => child.end());
    return child;
  }

  async end() {
    this.figure('load', loadavg()[0]);
    for (const ending of this.endings.reverse()) {
      await ending().catch((error) => this.failures.push(`clean-up: ${error instanceof Error ? error.message : error}`));
    }
  }
}

/** One line of text for a record of figures. @param {Record<string, unknown>} figures */
export function inOneLine(figures) {
  return Object.entries(figures)
    .filter(([, value]) => typeof value !== 'string' || !value.includes('\n'))
    .map(([name, value]) => `${name} ${typeof value === 'number' ? Math.round(value * 1000) / 1000 : value}`)
    .join(', ');
}
