// The SDK's end-to-end encryption between two connections of one page: by RTCRtpScriptTransform, and by the older way.
import { until } from '../lib/process.mjs';
import { openApp, sdkApp } from '../lib/sdk.mjs';

/** @typedef {import('../lib/browsers.mjs').Page} Page */

/** Connects a sender to a receiver, each with keys of its own. @param {{codec: string, old: boolean}} how */
async function connectInPage({ codec, old }) {
  const page = /** @type {any} */ (globalThis);
  // Without the newer interface the SDK takes the older.
  if (old) delete page.RTCRtpScriptTransform;
  const { E2ee } = page.ion;
  page.ours = new E2ee();
  page.theirs = new E2ee();
  /** @type {string[]} */
  page.complaints = [];
  page.theirs.on('error', (/** @type {any} */ error) => page.complaints.push(error.message));
  const configuration = /** @type {RTCConfiguration} */ ({ encodedInsertableStreams: page.ours.encodedStreams });
  const [from, to] = [new RTCPeerConnection(configuration), new RTCPeerConnection(configuration)];
  Object.assign(page, { from, to });
  from.addEventListener('icecandidate', ({ candidate }) => to.addIceCandidate(candidate ?? undefined));
  to.addEventListener('icecandidate', ({ candidate }) => from.addIceCandidate(candidate ?? undefined));
  to.addEventListener('track', ({ receiver, track }) => {
    page.theirs.decrypt(receiver, true);
    const video = document.createElement('video');
    Object.assign(video, { srcObject: new MediaStream([track]), muted: true, autoplay: true });
    document.body.append(video);
  });
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 180 } });
  for (const track of media.getTracks()) {
    const transceiver = from.addTransceiver(track, { direction: 'sendonly' });
    page.ours.encrypt(transceiver.sender);
    if (track.kind === 'video') {
      const all = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
      transceiver.setCodecPreferences(all.filter((one) => one.mimeType.toLowerCase() === `video/${codec}`));
    } else {
      const all = RTCRtpSender.getCapabilities('audio')?.codecs ?? [];
      transceiver.setCodecPreferences(all.filter((one) => one.mimeType === 'audio/opus'));
    }
  }
  await from.setLocalDescription();
  await to.setRemoteDescription(/** @type {RTCSessionDescription} */ (from.localDescription));
  await to.setLocalDescription();
  await from.setRemoteDescription(/** @type {RTCSessionDescription} */ (to.localDescription));
  return page.ours.encodedStreams;
}

/** @param {Page} page @returns {Promise<{decoded: number, received: number, audible: number, packets: number}>} */
function received(page) {
  return page.evaluate(async () => {
    const now = { decoded: 0, received: 0, audible: 0, packets: 0 };
    for (const one of (await /** @type {any} */ (globalThis).to.getStats()).values()) {
      if (one.type !== 'inbound-rtp') continue;
      now.packets += one.packetsReceived;
      if (one.kind === 'video') Object.assign(now, { decoded: one.framesDecoded ?? 0, received: one.framesReceived ?? 0 });
      else now.audible = one.totalSamplesReceived - one.concealedSamples;
    }
    return now;
  });
}

/** @param {import('../lib/scenario.mjs').Context} t @param {Page} page @param {{codec: string, old: boolean}} how */
async function encrypted(t, page, how) {
  await openApp(page, await sdkApp(t));
  const older = await page.evaluate(connectInPage, how);
  t.check(older === how.old, `the SDK chose ${older ? 'createEncodedStreams' : 'RTCRtpScriptTransform'}`);

  // Without a key nothing leaves.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  const keyless = await received(page);
  t.check(keyless.decoded === 0 && keyless.audible === 0, `without a key: ${JSON.stringify(keyless)}`);

  // With one, and another at the far end, everything arrives and nothing can be seen or heard.
  await page.evaluate(async () => {
    const { ours, theirs } = /** @type {any} */ (globalThis);
    await ours.setPassphrase('right', 'room');
    await theirs.setPassphrase('wrong', 'room');
  });
  await until('Encrypted packets arrive', 15_000, async () => (await received(page)).packets > keyless.packets + 50);
  const wrong = await received(page);
  t.check(wrong.decoded === 0, `with the wrong key: ${JSON.stringify(wrong)}`);
  await until('The wrong key is complained of', 5000, () => page.evaluate(() => /** @type {any} */ (globalThis).complaints.length > 0));

  await page.evaluate(() => /** @type {any} */ (globalThis).theirs.setPassphrase('right', 'room'));
  const grows = async (/** @type {string} */ when) => {
    const from = await received(page);
    await until(`Pictures and sound come through ${when}`, 20_000, async () => {
      const now = await received(page);
      return now.decoded > from.decoded + 20 && now.audible > from.audible + 20_000;
    });
  };
  await grows('with the right key');
  await page.evaluate(() => /** @type {any} */ (globalThis).ours.ratchet());
  await grows('after a ratchet');
  await page.evaluate(() => {
    const { ours, theirs } = /** @type {any} */ (globalThis);
    const key = crypto.getRandomValues(new Uint8Array(32));
    theirs.setKey(key, 3);
    ours.setKey(key, 3);
  });
  await grows('with another key');
  t.figure('frames', (await received(page)).decoded);
}

/** @param {string} name @param {'chromium' | 'firefox'} browser @param {{codec: string, old: boolean}} how */
const scenario = (name, browser, how) => ({
  name,
  timeoutS: 90,
  run: async (/** @type {import('../lib/scenario.mjs').Context} */ t) => encrypted(t, await (await t[browser]()).newPage(), how),
});

/** @type {import('../lib/scenario.mjs').Scenario[]} */
export const scenarios = [
  scenario('sdk-encryption-vp8', 'chromium', { codec: 'vp8', old: false }),
  scenario('sdk-encryption-vp9-streams', 'chromium', { codec: 'vp9', old: true }),
  scenario('sdk-encryption-firefox', 'firefox', { codec: 'vp8', old: false }),
];
