// The package as npm would give it to an app: what is in it, and that a strict app compiles and bundles with it alone.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';

const sdk = join(import.meta.dirname, '..');
const app = mkdtempSync(join(tmpdir(), 'ion-sdk-app-'));

beforeAll(() => {
  execFileSync('npm', ['pack', sdk, '--silent', '--pack-destination', app], { cwd: app });
  const { version } = JSON.parse(readFileSync(join(sdk, 'package.json'), 'utf8')) as { version: string };
  writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true, "type": "module" }');
  execFileSync('npm', ['install', '--offline', '--no-audit', '--no-fund', `./ion-sfu-sdk-${version}.tgz`], { cwd: app });
}, 120_000);

afterAll(() => {
  rmSync(app, { recursive: true });
});

it.each(['call', 'whip'])('compiles in a strict app, and bundles without anything else: %s', { timeout: 60_000 }, async (example) => {
  writeFileSync(join(app, 'app.ts'), readFileSync(join(sdk, 'examples', `${example}.ts`)));
  const flags = ['--strict', '--exactOptionalPropertyTypes', '--noEmit', '--module', 'nodenext', '--target', 'es2022'];
  execFileSync(join(sdk, 'node_modules/.bin/tsc'), [...flags, '--lib', 'es2023,dom,dom.iterable', 'app.ts'], { cwd: app, stdio: 'inherit' });
  const { outputFiles } = await build({ entryPoints: [join(app, 'app.ts')], bundle: true, format: 'esm', write: false });
  expect(outputFiles[0]?.text).toContain('RTCPeerConnection');
});
