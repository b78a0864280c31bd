// Clients that are not Chromium on at least one side.
import { join } from 'node:path';
import { measureDelivery, noteParticipants, noteTransport } from '../lib/delivery.mjs';
import { ownAddress } from '../lib/net.mjs';
import { Publisher, Viewer } from '../lib/peers.mjs';
import { sleep } from '../lib/process.mjs';
import { FfmpegSource, GstSource, venvPython } from '../lib/sources.mjs';
import { startLdcViewers } from '../lib/viewers.mjs';

/** @param {import('../lib/scenario.mjs').Context} t @param {string} server */
async function chromiumViewer(t, server) {
  const browser = await t.chromium();
  return Viewer.open(await browser.newPage(), server, { room: 'interop' });
}

/** @type {import('../lib/scenario.mjs').Scenario} */
const ffmpegToChromium = {
  name: 'ffmpeg-chromium',
  timeoutS: 100,
  run: async (t) => {
    const server = await t.server();
    const source = await FfmpegSource.open(t, `${server.url}/whip/interop`);
    const viewer = await chromiumViewer(t, server.url);
    await viewer.decoded(1, 15_000);
    await noteParticipants(t, server, 'interop');
    const { after } = await measureDelivery(t, source, viewer, { seconds: t.seconds });
    noteTransport(t, 'viewer', after.transport);
    t.check(after.codec === 'video/H264', `the viewer received ${after.codec}, not H264`);
  },
};

/** @param {string} codec @returns {import('../lib/scenario.mjs').Scenario} */
const aiortc = (codec) => ({
  name: `aiortc-aiortc-${codec.toLowerCase()}`,
  fullOnly: codec !== 'VP8',
  timeoutS: 90,
  run: async (t) => {
    const python = await venvPython(t);
    const server = await t.server();
    const script = join(t.testsDir, 'clients', 'aiortc_relay.py');
    const child = t.child(python, [script, server.url, 'interop', '--codec', codec, '--seconds', String(t.seconds)]);
    /** @type {any} */
    let result = null;
    child.readers.push((line) => line.startsWith('{') && (result = JSON.parse(line)));
    const status = await child.wait((t.seconds + 40) * 1000);
    if (status !== 0 || result === null) throw new Error(`aiortc ended with ${status}: ${child.tail()}`);
    const ratio = result.decoded / result.sent;
    t.figure('frames', `${result.decoded}/${result.sent}`);
    t.figure('ratio', ratio);
    t.figure('audio energy', result.audioEnergy);
    t.figure('publisher', result.publisher);
    t.figure('viewer', result.viewer);
    t.check(result.sent >= t.seconds * 20, `aiortc sent only ${result.sent} frames in ${t.seconds} s`);
    t.check(ratio >= 0.98, `${result.decoded} of ${result.sent} sent frames were decoded`);
    t.check(result.audioEnergy > 0, 'no audio energy arrived');
    t.check(result.deleted.every((/** @type {number} */ code) => code === 200 || code === 204), `DELETE gave ${result.deleted}`);
  },
});

/** @type {import('../lib/scenario.mjs').Scenario} */
const firefoxToChromium = {
  name: 'firefox-chromium',
  fullOnly: true,
  timeoutS: 120,
  run: async (t) => {
    // Firefox pairs no candidate of its own with one on loopback.
    const server = await t.server({ host: ownAddress() });
    const firefox = await t.firefox();
    const publisher = await Publisher.open(await firefox.newPage(), server.url, { room: 'interop' });
    const viewer = await chromiumViewer(t, server.url);
    await viewer.decoded(1, 15_000);
    await noteParticipants(t, server, 'interop');
    const { after } = await measureDelivery(t, publisher, viewer, { seconds: t.seconds });
    noteTransport(t, 'publisher', (await publisher.sample()).transport);
    noteTransport(t, 'viewer', after.transport);
  },
};

/** @param {string} codec @returns {import('../lib/scenario.mjs').Scenario} */
const gstreamerToChromium = (codec) => ({
  name: `gstreamer-chromium-${codec.toLowerCase()}`,
  fullOnly: true,
  timeoutS: 100,
  run: async (t) => {
    const server = await t.server();
    const source = await GstSource.open(t, `${server.url}/whip/interop`, codec);
    const viewer = await chromiumViewer(t, server.url);
    await viewer.decoded(1, 15_000);
    await noteParticipants(t, server, 'interop');
    const { after } = await measureDelivery(t, source, viewer, { seconds: t.seconds });
    noteTransport(t, 'viewer', after.transport);
    t.figure('certificate of the publisher', 'RSA');
  },
});

/** @type {import('../lib/scenario.mjs').Scenario} */
const libdatachannelViewer = {
  name: 'libdatachannel-viewer',
  fullOnly: true,
  timeoutS: 100,
  run: async (t) => {
    const server = await t.server();
    const browser = await t.chromium();
    const publisher = await Publisher.open(await browser.newPage(), server.url, { room: 'interop', codec: 'VP8' });
    const viewers = await startLdcViewers(t, `${server.url}/whep/interop`, 1);
    await noteParticipants(t, server, 'interop');
    const before = await viewers.report();
    const sentBefore = await publisher.sample();
    await sleep(t.seconds * 1000);
    await publisher.finish();
    const after = await viewers.report();
    const sent = await publisher.sample();
    for (const kind of ['audio', 'video']) {
      const [was, is] = [before, after].map(([viewer]) => viewer?.tracks.find((track) => track.kind === kind));
      const received = (is?.received ?? 0) - (was?.received ?? 0);
      t.figure(`${kind} packets`, received);
      t.figure(`${kind} missing`, is?.missing ?? -1);
      t.check(received > 0, `no ${kind} packets arrived`);
      t.check(is?.missing === 0, `${is?.missing} ${kind} packets are missing`);
    }
    t.figure('video packets sent', sent.packetsSent - sentBefore.packetsSent);
    const deleted = await viewers.quit();
    t.check(deleted.every((code) => code === 200 || code === 204), `DELETE gave ${deleted}`);
  },
};

export const scenarios = [
  ffmpegToChromium,
  aiortc('VP8'),
  aiortc('H264'),
  firefoxToChromium,
  gstreamerToChromium('VP8'),
  gstreamerToChromium('H264'),
  libdatachannelViewer,
];
