// The web app at `/`: its pages in the browser, by the words and roles that a user meets.
import { grows, inspect, openPage, received } from '../lib/app.mjs';

/** @type {import('../lib/scenario.mjs').Scenario} */
const streams = {
  name: 'app-streams',
  timeoutS: 180,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();

    const home = await openPage(t, browser, `${server.url}/`);
    await home.getByLabel('Room').waitFor();
    await inspect(t, home, 'home');
    // A name that the server would refuse is refused here; a good one leads on, by keyboard alone.
    await home.getByLabel('Room').fill('no/such');
    await home.keyboard.press('Enter');
    t.check(new URL(home.url()).pathname === '/', `a bad room name leads to ${home.url()}`);
    await home.getByLabel('Room').fill('stream');
    await home.getByRole('button', { name: 'Watch' }).click();
    await home.getByRole('heading', { name: 'Watch stream' }).waitFor();
    t.check(new URL(home.url()).pathname === '/watch/stream', `the watch page is at ${home.url()}`);

    // Who watches before anybody publishes is told so, and let in later.
    const viewer = home;
    await viewer.getByRole('status').getByText('Nobody publishes yet').waitFor({ timeout: 10_000 });
    const publisher = await openPage(t, browser, `${server.url}/broadcast/stream`);
    await publisher.getByRole('button', { name: 'Go live' }).click();
    await publisher.getByRole('status').getByText('On air').waitFor({ timeout: 20_000 });
    await viewer.getByRole('status').getByText('Playing').waitFor({ timeout: 30_000 });
    await grows(viewer, 'The stream plays');
    await viewer.getByText(/[1-9]\d* fps/).waitFor({ timeout: 10_000 });
    await publisher.getByText(/[1-9]\d* fps/).waitFor({ timeout: 10_000 });
    await inspect(t, viewer, 'watch');
    await inspect(t, publisher, 'broadcast', { fullPage: true });

    const admin = await openPage(t, browser, `${server.url}/admin`);
    await admin.getByRole('button', { name: 'stream' }).click();
    await admin.getByRole('figure', { name: 'Loss' }).waitFor();
    await admin.getByRole('row', { name: /publisher connected/ }).waitFor();
    await inspect(t, admin, 'admin', { fullPage: true });
    await makeKey(t, admin);

    const end = await received(viewer);
    t.figure('frames', end.frames);
    // Leaving a page ends its session at the server.
    const ended = publisher.waitForResponse((one) => one.request().method() === 'DELETE', { timeout: 10_000 });
    await publisher.getByRole('link', { name: 'Watch page' }).click();
    t.check((await ended).ok(), `DELETE gave ${(await ended).status()}`);
  },
};

/** @param {import('../lib/scenario.mjs').Context} t @param {import('playwright-core').Page} admin */
async function makeKey(t, admin) {
  await admin.getByLabel('What the new key is for').fill('the tests');
  await admin.getByRole('button', { name: 'Make a key' }).click();
  const dialog = admin.getByRole('dialog', { name: 'The secret of the key' });
  await dialog.waitFor();
  await inspect(t, admin, 'key');
  await admin.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  const row = admin.getByRole('row', { name: /the tests/ });
  await row.getByRole('button', { name: /^Delete/ }).click();
  await admin.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await row.waitFor({ state: 'detached' });
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const token = {
  name: 'app-token',
  timeoutS: 60,
  run: async (t) => {
    const server = await t.server({ dev: false, env: { ION_KEYS: 'testkey: a-secret-of-more-than-32-characters-0' } });
    const browser = await t.chromium();
    const admin = await openPage(t, browser, `${server.url}/admin`);
    await admin.getByLabel('Token').fill('x.y.z');
    await admin.getByRole('button', { name: 'Show the server' }).click();
    await admin.getByRole('alert').getByText('does not accept').waitFor();
    await inspect(t, admin, 'admin-token');
    // The lobby asks for a token because this server takes no guests.
    const lobby = await openPage(t, browser, `${server.url}/room/private`);
    await lobby.getByLabel('Token').waitFor({ timeout: 10_000 });
    await inspect(t, lobby, 'lobby-token');
  },
};

export const scenarios = [streams, token];
