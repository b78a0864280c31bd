// Chromium publishes with each codec, Chromium watches.
import { measureDelivery, noteParticipants, noteTransport } from '../lib/delivery.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';

/** @type {import('../lib/scenario.mjs').Scenario[]} */
export const scenarios = ['VP8', 'H264', 'VP9', 'AV1'].map((codec) => ({
  name: `chromium-${codec.toLowerCase()}`,
  timeoutS: 100,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const publisher = await Publisher.open(await browser.newPage(), server.url, { room: 'codec', codec });
    const viewer = await Viewer.open(await browser.newPage(), server.url, { room: 'codec' });
    const { after } = await measureDelivery(t, publisher, viewer, { seconds: t.seconds });
    await noteParticipants(t, server, 'codec');
    noteTransport(t, 'publisher', (await publisher.sample()).transport);
    noteTransport(t, 'viewer', after.transport);
    t.check(after.codec.toLowerCase() === `video/${codec.toLowerCase()}`, `the viewer received ${after.codec}, not ${codec}`);
  },
}));
