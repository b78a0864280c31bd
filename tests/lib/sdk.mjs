// A small app of its own origin on the packed web SDK: its pages have the SDK as `ion` on the global object.
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
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

/**
 * Starts the app. @param {import('./scenario.mjs').Context} t @returns {Promise<string>} its address: a secure origin, other
 * than the server's
 */
export async function sdkApp(t) {
  unpacked ??= pack(join(t.testsDir, '..', 'web-sdk'));
  const files = join(await unpacked, 'dist');
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? '/', 'http://localhost').pathname;
    if (path === '/') {
      response.writeHead(200, { 'content-type': 'text/html' }).end(PAGE);
      return;
    }
    const file = join(files, normalize(path.replace(/^\/sdk\//, '/')));
    const content = await readFile(file).catch(() => null);
    if (content === null) response.writeHead(404).end();
    else response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(content);
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

/** Opens the app and waits for the SDK. @param {import('./browsers.mjs').Page} page @param {string} app */
export async function openApp(page, app) {
  await page.goto(app);
  await page.evaluate(async () => {
    while (!('ion' in globalThis)) await new Promise((resolve) => setTimeout(resolve, 20));
  });
}
