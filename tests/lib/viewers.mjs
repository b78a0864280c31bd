// Viewers on libdatachannel: cheap enough for dozens, and exact, for they count packets by sequence number.
import { join } from 'node:path';
import { sleep } from './process.mjs';

/** @typedef {{state: string, states: string[], tracks: {kind: string, received: number, missing: number, duplicates: number, ssrcs: number, bytes: number}[]}} LdcReport */

/**
 * Viewers on libdatachannel in a process of their own, all of them receiving when this returns.
 * @param {import('./scenario.mjs').Context} t @param {string} url @param {number} count
 */
export async function startLdcViewers(t, url, count) {
  const child = t.child(process.execPath, [join(t.testsDir, 'clients', 'ldc_viewers.mjs'), url, String(count)]);
  /** @type {any[]} */
  const said = [];
  /** @type {((what: any) => void)[]} */
  const waiting = [];
  child.readers.push((line) => {
    if (!line.startsWith('{')) return;
    const what = JSON.parse(line);
    const next = waiting.shift();
    if (next) next(what);
    else said.push(what);
  });
  /** @param {number} ms @returns {Promise<any>} the next line it says */
  const next = (ms) => {
    if (said.length > 0) return Promise.resolve(said.shift());
    const failed = child.exited.then(() => {
      throw new Error(`The libdatachannel viewers ended: ${child.tail()}`);
    });
    const late = sleep(ms, null, { ref: false }).then(() => {
      throw new Error(`The libdatachannel viewers said nothing for ${ms / 1000} s: ${child.tail()}`);
    });
    return Promise.race([new Promise((resolve) => waiting.push(resolve)), failed, late]);
  };
  await next(75_000);
  return {
    pid: child.pid,
    /** @returns {Promise<LdcReport[]>} */
    report: async () => {
      child.write('report\n');
      return (await next(10_000)).viewers;
    },
    /** @returns {Promise<number[]>} statuses of the DELETEs */
    quit: async () => {
      child.write('quit\n');
      return (await next(20_000)).deleted;
    },
  };
}
