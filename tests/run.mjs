#!/usr/bin/env node
// Runs the end-to-end scenarios one after another against the built server.
//
//   node run.mjs [--full] [--only NAME]... [--list]
//
// --full takes the slow ones too, measures for longer and holds every bar at the first try; without it a scenario that missed
// nothing but bars of time is tried again (TRIES), and each try is printed. --only takes the scenarios whose name contains NAME.
// ION_BIN_DIR names the folder with the binaries (default: target/release). Every figure goes to test-results/e2e.json.
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { endAll, killAllNow, sleep } from './lib/process.mjs';
import { Context, Missing, inOneLine } from './lib/scenario.mjs';

const testsDir = dirname(fileURLToPath(import.meta.url));
const root = dirname(testsDir);
const resultsDir = join(root, 'test-results');
const binDir = resolve(root, process.env.ION_BIN_DIR ?? 'target/release');

/** Time for the clean-up of an interrupted scenario, in milliseconds. */
const CLEAN_UP_MS = 10_000;
/** Times that the short run tries a scenario which misses only bars of time. */
const TRIES = 3;

/** @typedef {{name: string, outcome: 'PASS' | 'FAIL' | 'LATE' | 'SKIP', seconds: number, why?: string[], figures: Record<string, unknown>}} Result */

const { values: flags } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    list: { type: 'boolean', default: false },
  },
});

/** What is running now, to be cleaned up when the user interrupts. @type {Context | null} */
let current = null;

/** @returns {Promise<import('./lib/scenario.mjs').Scenario[]>} */
async function scenarios() {
  const files = (await readdir(join(testsDir, 'scenarios'))).filter((name) => name.endsWith('.mjs')).sort();
  const modules = await Promise.all(files.map((name) => import(join(testsDir, 'scenarios', name))));
  return modules.flatMap((one) => one.scenarios);
}

/** @param {import('./lib/scenario.mjs').Scenario} scenario @returns {Promise<Result>} */
async function runOne(scenario) {
  const started = performance.now();
  const t = new Context({ full: flags.full, binDir, testsDir, resultsDir });
  current = t;
  /** @type {string | null} */
  let missing = null;
  let timer;
  try {
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${scenario.timeoutS} s`)), scenario.timeoutS * 1000);
    });
    await Promise.race([scenario.run(t), late]);
  } catch (error) {
    if (error instanceof Missing) missing = error.message;
    else t.failures.push(error instanceof Error ? error.message : String(error));
  }
  clearTimeout(timer);
  await t.end();
  await endAll();
  const seconds = (performance.now() - started) / 1000;
  const { name } = scenario;
  if (missing !== null && t.failures.length === 0) return { name, outcome: 'SKIP', seconds, why: [missing], figures: t.figures };
  if (t.failures.length > 0) return { name, outcome: 'FAIL', seconds, why: [...t.failures, ...t.late], figures: t.figures };
  if (t.late.length > 0) return { name, outcome: flags.full ? 'FAIL' : 'LATE', seconds, why: t.late, figures: t.figures };
  return { name, outcome: 'PASS', seconds, figures: t.figures };
}

/** @param {Result} result */
function print({ name, outcome, seconds, why = [], figures }) {
  const about = outcome === 'SKIP' ? why.join('; ') : inOneLine(figures);
  console.log(`${outcome} ${name} (${seconds.toFixed(1)} s): ${about}`);
  if (outcome !== 'SKIP') for (const line of why) console.log(`     ${line.replaceAll('\n', '\n     ')}`);
}

async function main() {
  const all = await scenarios();
  // A whole name means that scenario alone; a part of names means all of those.
  const named = (/** @type {string} */ part, /** @type {string} */ name) =>
    all.some((one) => one.name === part) ? name === part : name.includes(part);
  const wanted = all.filter(({ name, fullOnly }) =>
    flags.only.length > 0 ? flags.only.some((part) => named(part, name)) : flags.full || !fullOnly,
  );
  if (flags.list) {
    for (const { name, fullOnly } of all) console.log(fullOnly ? `${name} (full)` : name);
    return true;
  }
  if (wanted.length === 0) throw new Error('No scenario has such a name (see --list).');
  await mkdir(resultsDir, { recursive: true });
  /** @type {Result[]} */
  const results = [];
  for (const scenario of wanted) {
    let result = await runOne(scenario);
    print(result);
    for (let tries = 1; result.outcome === 'LATE'; tries += 1) {
      result = tries < TRIES ? await runOne(scenario) : { ...result, outcome: 'FAIL' };
      print(result);
    }
    results.push(result);
    await writeFile(join(resultsDir, 'e2e.json'), `${JSON.stringify({ full: flags.full, results }, null, 2)}\n`);
  }
  const count = (/** @type {string} */ outcome) => results.filter((result) => result.outcome === outcome).length;
  console.log(`${count('PASS')} passed, ${count('FAIL')} failed, ${count('SKIP')} skipped`);
  return count('FAIL') === 0;
}

async function interrupted() {
  await Promise.race([current?.end(), sleep(CLEAN_UP_MS)]);
  await endAll();
  process.exit(130);
}

process.on('exit', killAllNow);
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.once(signal, interrupted);
main().then(
  (passed) => process.exit(passed ? 0 : 1),
  (error) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
  },
);
