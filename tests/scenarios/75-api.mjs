// The whole OpenAPI document against a running server, by schemathesis: no 5xx, and no answer that is not described.
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { Child, run } from '../lib/process.mjs';
import { Missing } from '../lib/scenario.mjs';
import { RUNNERS_OWN } from '../lib/server.mjs';

/**
 * What schemathesis looks at: that the server does not fail, that status codes, content types, headers and bodies are those of the
 * document, that methods which are not there are refused, and that a token is needed.
 */
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'unsupported_method',
  'ignored_auth',
];

/** Never ends, which schemathesis cannot follow: `controlplane/tests/webhooks.rs` does. */
const ENDLESS = ['/v1/events'];

const KEY = { name: 'testkey', secret: 'a-secret-of-the-tests-that-is-long-enough-for-HS256' };

/** @type {import('../lib/scenario.mjs').Scenario} */
const described = {
  name: 'api-described',
  timeoutS: 240,
  run: async (t) => {
    const schemathesis = join(t.testsDir, '.venv/bin/schemathesis');
    await access(schemathesis).catch(() => {
      throw new Missing('there is no schemathesis (tests/setup.sh installs it from PyPI)');
    });
    const env = { ION_KEYS: `${KEY.name}: ${KEY.secret}`, ION_RATE_BURST: '1000000', ION_RATE_PER_SECOND: '1000000' };
    const server = await t.server({ dev: false, env });
    const grants = ['--room', 'lobby', '--identity', 'tester', '--admin', '--list', '--server-admin'];
    const token = (await run(join(t.binDir, 'ion'), ['token', 'create', ...grants], { env: { ...RUNNERS_OWN, ...env } })).trim();
    const seed = '7';
    const options = [
      'run', `${server.url}/openapi.json`,
      '--header', `Authorization: Bearer ${token}`,
      '--checks', CHECKS.join(','),
      ...ENDLESS.flatMap((path) => ['--exclude-path', path]),
      '--phases', 'examples,coverage,fuzzing',
      '--max-examples', t.full ? '100' : '10',
      '--max-time', t.full ? '150' : '60',
      '--seed', seed,
      '--request-timeout', '10',
      '--generation-database', 'none',
      '--continue-on-failure', '--no-color', '--warnings', 'off',
    ];
    const child = new Child(schemathesis, options, { cwd: t.resultsDir, env: { SCHEMATHESIS_HOOKS: join(t.testsDir, 'lib/schemathesis_hooks.py') } });
    t.after(() => child.end());
    const code = await child.wait(220_000);
    const said = child.output;
    t.figure('seed', seed);
    t.figure('summary', said.split('\n').filter((line) => /passed|failed|Test cases|Operations|operations/.test(line)).map((line) => line.trim()));
    t.check(code === 0, `schemathesis ends with ${code}:\n${said.slice(-12_000)}`);
    t.check((await server.get('/readyz')).status === 200, 'the server is not ready any more');
  },
};

export const scenarios = [described];
