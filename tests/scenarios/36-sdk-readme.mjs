// A new application, word for word as the documents have it, on the packed SDK in a folder of its own: in a call with another.
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { grows, openPage } from '../lib/app.mjs';
import { run } from '../lib/process.mjs';

/** Where the documents say that the server is. */
const SERVER = 'http://localhost:7880';
const PAGE = '<!doctype html><title>Call</title><script type="module" src="app.js"></script>';

/** The first block of a language after a heading. @param {string} text @param {string} heading @param {string} language */
function block(text, heading, language) {
  const from = text.indexOf(heading);
  const found = from < 0 ? null : new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(text.slice(from));
  return found?.[1];
}

/**
 * Makes the application: packs and installs the SDK, checks the types, bundles.
 * @param {import('../lib/scenario.mjs').Context} t @param {string} document @param {string} heading @param {string} server
 * @returns {Promise<string>} its address
 */
async function make(t, document, heading, server) {
  const root = join(t.testsDir, '..');
  const sdk = join(root, 'web-sdk');
  const text = await readFile(join(root, document), 'utf8');
  const code = block(text, heading, 'ts');
  if (code === undefined || !code.includes(`'${SERVER}'`)) throw new Error(`${document} has no application for ${SERVER} under “${heading}”.`);
  t.figure(`lines in ${document}`, code.trim().split('\n').length);
  const folder = await mkdtemp(join(tmpdir(), 'ion-readme-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await run('npm', ['pack', sdk, '--silent', '--pack-destination', folder], { timeoutMs: 120_000 });
  const [tarball = ''] = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
  await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'call', private: true, type: 'module' }));
  // The SDK needs nothing else: there is nothing to fetch.
  await run('npm', ['install', '--prefix', folder, '--offline', '--silent', '--no-audit', '--no-fund', join(folder, tarball)], { timeoutMs: 60_000 });
  await writeFile(join(folder, 'app.ts'), code.replaceAll(`'${SERVER}'`, `'${server}'`));
  await writeFile(join(folder, 'index.html'), block(text, heading, 'html') ?? PAGE);
  const options = ['--strict', '--noEmit', '--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler', '--lib', 'es2023,dom,dom.iterable'];
  await run(join(t.testsDir, 'node_modules/.bin/tsc'), [...options, join(folder, 'app.ts')], { timeoutMs: 60_000 });
  await run(join(sdk, 'node_modules/.bin/esbuild'), [join(folder, 'app.ts'), '--bundle', '--format=esm', `--outdir=${folder}`, '--log-level=error']);

  const host = createServer(async (request, response) => {
    const isPage = new URL(request.url ?? '/', 'http://localhost').pathname === '/';
    response.writeHead(200, { 'content-type': isPage ? 'text/html' : 'text/javascript' });
    response.end(await readFile(join(folder, isPage ? 'index.html' : 'app.js')));
  });
  host.listen(0, '127.0.0.1');
  await once(host, 'listening');
  t.after(async () => {
    host.closeAllConnections();
    host.close();
  });
  const address = host.address();
  return `http://localhost:${typeof address === 'object' ? address?.port : 0}/`;
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const readme = {
  name: 'sdk-readme',
  timeoutS: 240,
  run: async (t) => {
    const server = await t.server();
    const apps = [await make(t, 'README.md', '## Web SDK', server.url), await make(t, 'web-sdk/README.md', '# @ion-sfu/sdk', server.url)];
    const chromium = await t.chromium();
    const pages = [];
    for (const app of apps) pages.push(await openPage(t, chromium, app));
    await Promise.all(pages.map((page, at) => grows(page, `Application ${at + 1} sees and hears the other`)));
    for (const [at, page] of pages.entries()) await page.screenshot({ path: join(t.resultsDir, `readme-${at + 1}.png`) });
    // Who closes the page is gone from the other.
    await pages[1]?.close();
    await pages[0]?.waitForFunction(() => document.querySelectorAll('video, audio').length === 0, null, { timeout: 15_000 });
  },
};

export const scenarios = [readme];
