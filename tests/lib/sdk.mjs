// A small app of its own origin on the packed web SDK: its pages have the SDK as `ion` on the global object.
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { goTo } from './browsers.mjs';
import { run } from './process.mjs';

const PAGE = `<!doctype html><meta charset="utf-8"><title>App on the SDK</title><style>video { width: 320px; height: 180px }</style>
<script type="module">import * as ion from '/sdk/index.js'; globalThis.ion = ion;</script>`;
/** @type {Record<string, string>} */
const TYPES = { '.js': 'text/javascript', '.html': 'text/html' };

/** What `npm pack` made, unpacked: once for all scenarios. @type {Promise<string> | null} */
let unpacked = null;

/** @param {string} sdkDir @returns {Promise<string>} folder with the package's files */
async function pack(sdkDir) {
  const into = await mkdtemp(join(tmpdir(), 'ion-sdk-'));
  process.on('exit', () => void rm(into, { recursive: true, force: true }));
  await run('npm', ['pack', sdkDir, '--silent', '--pack-destination', into], { timeoutMs: 120_000 });
  const [tarball = ''] = (await readdir(into)).filter((name) => name.endsWith('.tgz'));
  await run('tar', ['-xzf', join(into, tarball), '-C', into]);
  return join(into, 'package');
}

/** What the app answers to a path: its page, or a file of the SDK. @param {import('./scenario.mjs').Context} t */
async function answers(t) {
  unpacked ??= pack(join(t.testsDir, '..', 'web-sdk'));
  const files = join(await unpacked, 'dist');
  return async (/** @type {string} */ url) => {
    const { pathname } = new URL(url, 'http://localhost');
    if (pathname === '/') return { status: 200, type: 'text/html', body: PAGE };
    const file = join(files, normalize(pathname.replace(/^\/sdk\//, '/')));
    const body = await readFile(file).catch(() => null);
    return { status: body === null ? 404 : 200, type: TYPES[extname(file)] ?? 'application/octet-stream', body: body ?? '' };
  };
}

/**
 * Starts the app. @param {import('./scenario.mjs').Context} t @returns {Promise<string>} its address: a secure origin, other
 * than the server's
 */
export async function sdkApp(t) {
  const answer = await answers(t);
  const server = createServer(async (request, response) => {
    const { status, type, body } = await answer(request.url ?? '/');
    response.writeHead(status, { 'content-type': type }).end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return `http://localhost:${typeof address === 'object' ? address?.port : 0}/`;
}

/**
 * The same for a page whose network does not reach the app: its requests are answered by the browser's remote control.
 * @param {import('./scenario.mjs').Context} t @param {import('playwright-core').Page} page @returns {Promise<string>}
 */
export async function routedApp(t, page) {
  const answer = await answers(t);
  const app = 'http://localhost:7777/';
  await page.route(`${app}**`, async (route) => {
    const { status, type, body } = await answer(route.request().url());
    await route.fulfill({ status, contentType: type, body });
  });
  return app;
}

/** Opens the app and waits for the SDK. @param {import('./browsers.mjs').Page} page @param {string} app */
export async function openApp(page, app) {
  await goTo(page, app);
  await page.evaluate(async () => {
    while (!('ion' in globalThis)) await new Promise((resolve) => setTimeout(resolve, 20));
  });
}
