// The web app at `/`: its pages in the browser, by the words and roles that a user meets.
import { controls, grows, inspect, joinCall, moderate, openPage, received, tile } from '../lib/app.mjs';

/** @typedef {import('playwright-core').Page} Page */

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

/** @param {import('../lib/scenario.mjs').Context} t @param {Page} admin */
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

/** @type {import('../lib/scenario.mjs').Scenario} */
const call = {
  name: 'app-call',
  timeoutS: 240,
  run: async (t) => {
    const server = await t.server();
    const [one, other] = [await t.chromium(), await t.chromium()];
    const [ann, bob] = [await openPage(t, one, `${server.url}/room/call`), await openPage(t, other, `${server.url}/room/call`)];
    await ann.getByRole('meter').waitFor();
    await inspect(t, ann, 'lobby');
    await joinCall(ann, 'Ann');
    await joinCall(bob, 'Bob');

    // See and hear each other.
    await tile(ann, 'Bob').waitFor({ timeout: 15_000 });
    await tile(bob, 'Ann').waitFor({ timeout: 15_000 });
    await Promise.all([grows(ann, 'Ann sees and hears Bob'), grows(bob, 'Bob sees and hears Ann')]);
    await ann.keyboard.press('t');
    await tile(ann, 'Bob').getByText(/[1-9]\d* fps/).waitFor({ timeout: 10_000 });
    await inspect(t, ann, 'call');
    await ann.keyboard.press('t');

    // Chat: the message arrives, and is counted while nobody looks.
    await ann.keyboard.press('c');
    await ann.getByLabel('Message', { exact: true }).fill('Hello Bob, see https://example.com/notes.');
    await ann.keyboard.press('Enter');
    await controls(bob).getByRole('button', { name: 'Chat: 1 new' }).click();
    await bob.getByRole('log', { name: 'Messages' }).getByText('Hello Bob').waitFor();
    t.check((await bob.getByRole('link', { name: 'https://example.com/notes', exact: true }).count()) === 1, 'the address in the message is no link');
    await inspect(t, bob, 'chat');
    await ann.keyboard.press('Escape');
    t.check((await ann.getByRole('complementary').count()) === 0, 'Escape does not close the chat');

    // Mute and hand show to the other.
    await ann.keyboard.press('m');
    await tile(bob, 'Ann').getByRole('img', { name: 'Muted' }).waitFor({ timeout: 10_000 });
    await ann.keyboard.press('h');
    await tile(bob, 'Ann').getByRole('img', { name: 'Hand raised' }).waitFor({ timeout: 10_000 });
    await controls(bob).getByRole('button', { name: /^People/ }).click();
    await bob.getByRole('list', { name: 'In the room' }).getByText('Ann').waitFor();
    await inspect(t, bob, 'people');
    await ann.keyboard.press('m');
    await tile(bob, 'Ann').getByRole('img', { name: 'Muted' }).waitFor({ state: 'detached', timeout: 10_000 });

    // A moderator mutes; who was muted may speak again.
    await moderate(bob, 'Ann', 'Mute');
    await controls(ann).getByRole('button', { name: 'Unmute' }).click({ timeout: 10_000 });
    await controls(ann).getByRole('button', { name: 'Mute' }).waitFor({ timeout: 10_000 });

    // A screen, large in the speaker view.
    await bob.getByRole('button', { name: 'Share a screen' }).click();
    await tile(ann, 'Screen of Bob').waitFor({ timeout: 15_000 });
    await ann.keyboard.press('g');
    await ann.getByRole('list', { name: 'On stage' }).getByRole('listitem', { name: 'Screen of Bob' }).waitFor();
    await grows(ann, 'The screen is seen');
    await inspect(t, ann, 'screen');
    await dialogs(t, ann);

    const end = await received(bob);
    t.figure('frames at Bob', end.frames);
    // Moved, Ann is elsewhere without joining again; Bob follows, and removes her.
    await bob.getByRole('button', { name: 'Moderate Ann' }).click();
    await bob.getByLabel('Move to room').fill('elsewhere');
    await bob.getByRole('button', { name: 'Move', exact: true }).click();
    await ann.getByRole('heading', { name: 'elsewhere' }).waitFor({ timeout: 10_000 });
    t.check(new URL(ann.url()).pathname === '/room/elsewhere', `who was moved is at ${ann.url()}`);
    await bob.getByText('only you').waitFor({ timeout: 10_000 });
    await bob.getByRole('button', { name: 'Leave' }).click();
    await bob.getByRole('heading', { name: 'You left call' }).waitFor();
    await bob.goto(`${server.url}/room/elsewhere`);
    await joinCall(bob, 'Bob');
    await tile(bob, 'Ann').waitFor({ timeout: 15_000 });
    await grows(bob, 'Bob sees and hears Ann in the other room');
    await controls(bob).getByRole('button', { name: /^People/ }).click();
    await moderate(bob, 'Ann', 'Remove from the room');
    await ann.getByRole('heading', { name: 'You are not in elsewhere any more' }).waitFor({ timeout: 10_000 });
    await ann.getByRole('alert').getByText('A moderator removed you').waitFor();
    await inspect(t, ann, 'removed');
  },
};

/** Each dialog opens by its key, and Escape closes it. @param {import('../lib/scenario.mjs').Context} t @param {Page} page */
async function dialogs(t, page) {
  for (const [key, title] of /** @type {const} */ ([['?', 'Keyboard shortcuts'], ['d', 'Devices']])) {
    await page.keyboard.press(key);
    const dialog = page.getByRole('dialog', { name: title });
    await dialog.waitFor();
    await inspect(t, page, title === 'Devices' ? 'devices' : 'shortcuts');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  }
}

export const scenarios = [streams, token, call];
