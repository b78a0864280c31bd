// Who may not come in is refused, in the API and in the SDK, with the reason: tokens that are revoked, expired or for another room,
// and who was removed and comes back.
import { join } from 'node:path';
import { Participant } from '../lib/participants.mjs';
import { run, until } from '../lib/process.mjs';
import { sdkApp } from '../lib/sdk.mjs';
import { RUNNERS_OWN } from '../lib/server.mjs';

const KEY = { name: 'testkey', secret: 'a-secret-of-the-tests-that-is-long-enough-for-HS256' };

/**
 * What the SDK says to a token, as a participant and as a viewer over WHEP: reasons of the errors, `in` where it was let in.
 * @param {import('../lib/browsers.mjs').Page} page @param {{url: string, room: string, token?: string}} where
 */
const sdkSays = (page, where) =>
  page.evaluate(async ({ url, room: name, token }) => {
    const { ion } = /** @type {any} */ (globalThis);
    const reason = (/** @type {any} */ error) => (error instanceof ion.IonError ? error.reason : String(error));
    const room = new ion.Room();
    const joined = await room.connect(url, { room: name, token }).then(() => 'in', reason);
    if (joined === 'in') await room.leave();
    const played = await ion.playWhep(`${url}/whep/${name}`, { token, onRetry: () => undefined, signal: AbortSignal.timeout(4000) }).then(
      async (/** @type {any} */ { session }) => {
        await session.close();
        return 'in';
      },
      reason,
    );
    return { joined, played };
  }, where);

/** @type {import('../lib/scenario.mjs').Scenario} */
const refused = {
  name: 'sdk-refused',
  timeoutS: 120,
  run: async (t) => {
    const env = { ION_KEYS: `${KEY.name}: ${KEY.secret}` };
    const server = await t.server({ dev: false, env });
    const grants = ['--room', 'hall', '--identity', 'admin', '--admin', '--server-admin'];
    const admin = (await run(join(t.binDir, 'ion'), ['token', 'create', ...grants], { env: { ...RUNNERS_OWN, ...env } })).trim();
    const issue = (/** @type {string} */ identity, room = 'hall', ttlS = 600) =>
      server.must('POST', '/v1/tokens', { identity, ttlS, grants: { roomJoin: true, roomAdmin: true, room } }, admin);
    const app = await sdkApp(t);
    const chromium = await t.chromium();
    const host = await Participant.join(await chromium.newPage(), app, { url: server.url, room: 'hall', identity: 'host', token: (await issue('host')).token });
    await host.publish();

    const tokens = { good: await issue('ann'), revoked: await issue('ben'), expired: await issue('cid', 'hall', 1), elsewhere: await issue('dan', 'attic') };
    await server.must('POST', '/v1/revocations', { token: tokens.revoked.id, reason: 'left the company' }, admin);
    // As the server sees it: clocks may differ by a few seconds, which tokens are granted.
    await until('The short token expires', 120_000, async () => !(await server.must('POST', '/v1/tokens/introspect', { token: tokens.expired.token }, admin)).active, 500);

    const kicked = await Participant.join(await chromium.newPage(), app, { url: server.url, room: 'hall', identity: 'eve', token: (await issue('eve')).token });
    const evesToken = await issue('eve');
    await kicked.seesAndHears(['host'], 'before she is removed');
    await server.must('DELETE', '/v1/rooms/hall/participants/eve', null, admin);
    await kicked.told('closed kicked');

    const page = await chromium.newPage();
    await page.goto(app);
    await until('The SDK is there', 10_000, () => page.evaluate(() => 'ion' in globalThis));
    /** Token; what join and play are refused with; HTTP's status and problem. @type {[string, string | undefined, string, string, string][]} */
    const table = [
      ['good', tokens.good.token, 'in', 'in', '200'],
      ['none', undefined, 'tokenMissing', 'tokenMissing', '401 token-missing'],
      ['broken', 'x.y.z', 'tokenInvalid', 'tokenInvalid', '401 token-invalid'],
      ['revoked', tokens.revoked.token, 'tokenRevoked', 'tokenRevoked', '401 token-revoked'],
      ['expired', tokens.expired.token, 'tokenExpired', 'tokenExpired', '401 token-expired'],
      ['for another room', tokens.elsewhere.token, 'otherRoom', 'forbidden', '403 forbidden'],
      ['of who was removed', evesToken.token, 'tokenRevoked', 'tokenRevoked', '401 token-revoked'],
    ];
    for (const [name, token, join, play, http] of table) {
      const said = await sdkSays(page, { url: server.url, room: 'hall', ...(token === undefined ? {} : { token }) });
      t.check(said.joined === join && said.played === play, `token ${name}: Room says ${said.joined}, WHEP ${said.played}`);
      const answer = await server.api('GET', '/v1/rooms/hall/participants', null, token ?? '');
      const status = answer.status === 200 ? '200' : `${answer.status} ${answer.body.type.split(':').pop()}`;
      t.check(status === http, `token ${name}: the API says ${status}`);
      t.figure(`token ${name}`, `${said.joined}, ${said.played}, ${status}`);
    }
    const names = (await server.must('GET', '/v1/rooms/hall/participants', null, admin)).participants.map((/** @type {any} */ one) => one.identity);
    t.check(names.join() === 'host', `in the room: ${names}`);
    // A new token lets her in again.
    const back = await Participant.join(await chromium.newPage(), app, { url: server.url, room: 'hall', identity: 'eve', token: (await issue('eve')).token });
    await back.seesAndHears(['host'], 'with a new token');
  },
};

export const scenarios = [refused];
