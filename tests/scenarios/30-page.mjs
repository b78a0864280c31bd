// The plain page, pressed by query parameters and by its buttons.
import { join } from 'node:path';
import { until } from '../lib/process.mjs';

/** @type {import('../lib/scenario.mjs').Scenario} */
const publishAndWatch = {
  name: 'page',
  timeoutS: 60,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const [publisher, viewer] = [await browser.newPage(), await browser.newPage()];
    /** @type {string[]} */
    const complaints = [];
    for (const page of [publisher, viewer]) {
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (line) => {
        if (/content security policy|refused to/i.test(line.text())) complaints.push(line.text());
      });
    }

    // Who watches before anybody publishes is told so, and let in later.
    await viewer.goto(`${server.url}/plain?room=page&watch=1`);
    await viewer.getByText(/trying again/i).waitFor({ timeout: 10_000 });
    await publisher.goto(`${server.url}/plain?room=page&codec=VP8`);
    await publisher.getByRole('button', { name: 'Publish' }).click();
    await publisher.getByText('Publishing.', { exact: true }).waitFor({ timeout: 15_000 });
    await viewer.getByText('Watching.', { exact: true }).waitFor({ timeout: 30_000 });

    const stats = viewer.getByLabel('Watching statistics');
    await until('The page shows a picture', 15_000, async () => /^[1-9].*\d+×\d+, [1-9]\d* fps/.test((await stats.textContent()) ?? ''));
    t.figure('stats line', `“${await stats.textContent()}”`);
    const picture = await viewer.locator('#watch-video').evaluate((video) => {
      const { videoWidth, videoHeight, currentTime } = /** @type {HTMLVideoElement} */ (video);
      return { videoWidth, videoHeight, currentTime };
    });
    t.check(picture.videoWidth > 0 && picture.currentTime > 0, `the video element shows nothing: ${JSON.stringify(picture)}`);
    await viewer.screenshot({ path: join(t.resultsDir, 'page-watch.png') });
    await publisher.screenshot({ path: join(t.resultsDir, 'page-publish.png') });
    await viewer.emulateMedia({ colorScheme: 'dark' });
    await viewer.screenshot({ path: join(t.resultsDir, 'page-watch-dark.png') });

    // Stop sends the DELETE; leaving the page does too.
    const deletes = [publisher, viewer].map((page) => page.waitForResponse((one) => one.request().method() === 'DELETE', { timeout: 10_000 }));
    await viewer.getByRole('button', { name: 'Stop' }).click();
    await publisher.getByRole('button', { name: 'Stop' }).click();
    for (const response of await Promise.all(deletes)) {
      t.check([200, 204].includes(response.status()), `DELETE ${response.url()} gave ${response.status()}`);
    }
    await viewer.getByText('Not watching.', { exact: true }).waitFor({ timeout: 2000 });
    t.check(complaints.length === 0, `the browser complains: ${complaints.join(' | ')}`);
  },
};

export const scenarios = [publishAndWatch];
