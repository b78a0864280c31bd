// @ts-check
/**
 * The plain page: one panel publishes to a room, the other plays it. What a session does is in session.js; here is only what
 * the user sees and presses.
 *
 * Query parameters, for bookmarks and automation: `room`, `token`, `codec`, `source` fill the fields; `publish=1` and `watch=1`
 * start at once.
 */
import { Session } from './session.js';

/** Time between two looks at the statistics, in milliseconds. */
const STATS_INTERVAL_MS = 1000;

/**
 * An element that the page is known to have.
 * @template {HTMLElement} T
 * @param {string} id @param {new () => T} type @returns {T}
 */
function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`The page has no ${type.name} #${id}.`);
  return found;
}

const room = element('room', HTMLInputElement);
const token = element('token', HTMLInputElement);
const codec = element('codec', HTMLSelectElement);
const source = element('source', HTMLSelectElement);

/** @param {'whip' | 'whep'} protocol */
const endpoint = (protocol) => new URL(`/${protocol}/${encodeURIComponent(room.value.trim())}`, location.href).href;

/** @returns {Promise<MediaStream>} what the user wants to publish */
async function capture() {
  // Browsers give pages no devices on plain http, except from this very machine.
  if (!navigator.mediaDevices) {
    throw new Error('The browser gives no camera to this page: open it over https, or from http://localhost.');
  }
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  switch (source.value) {
    case 'screen':
      return navigator.mediaDevices.getDisplayMedia({ video: true, audio: true });
    case 'microphone':
      return navigator.mediaDevices.getUserMedia({ audio: true });
    case 'video':
      return navigator.mediaDevices.getUserMedia({ video });
    default:
      return navigator.mediaDevices.getUserMedia({ audio: true, video });
  }
}

/** @param {unknown} error @returns {string} a sentence for the user */
function explain(error) {
  if (!(error instanceof Error)) return String(error);
  switch (error.name) {
    case 'NotAllowedError':
      return 'The browser was not allowed to use the device. Allow it next to the address bar, and try again.';
    case 'NotFoundError':
      return 'No such device is connected.';
    case 'NotReadableError':
      return 'The device is in use by another program.';
    case 'TypeError':
      return error.message.includes('fetch') ? 'The server cannot be reached.' : error.message;
    default:
      return error.message;
  }
}

/** One of the two panels: a button that starts and stops a session, and what there is to know about it. */
class Panel {
  /**
   * @param {'publish' | 'watch'} id
   * @param {{start: string, idle: string, active: string}} words
   * @param {(panel: Panel, signal: AbortSignal) => Promise<Session>} open
   */
  constructor(id, words, open) {
    this.words = words;
    this.open = open;
    this.video = element(`${id}-video`, HTMLVideoElement);
    this.button = element(`${id}-toggle`, HTMLButtonElement);
    this.statusLine = element(`${id}-status`, HTMLElement);
    this.errorLine = element(`${id}-error`, HTMLElement);
    this.statsLine = element(`${id}-stats`, HTMLElement);
    /** Set from start to stop. @type {AbortController | null} */
    this.running = null;
    /** @type {Session | null} */
    this.session = null;
    this.meter = new Meter();
    this.button.addEventListener('click', () => (this.running ? this.stop() : this.start()));
    this.show();
  }

  async start() {
    this.error('');
    if (!room.reportValidity()) return;
    const running = new AbortController();
    this.running = running;
    this.show();
    this.status('Connecting…');
    try {
      const session = await this.open(this, running.signal);
      if (this.running !== running) {
        session.close();
        return;
      }
      this.adopt(session);
    } catch (error) {
      if (this.running !== running) return;
      this.stop();
      this.error(explain(error));
    }
  }

  /** @param {Session} session */
  adopt(session) {
    this.session = session;
    this.video.srcObject = session.stream;
    const state = () => this.status(session.pc.connectionState === 'connected' ? this.words.active : 'Connecting…');
    state();
    session.addEventListener('state', () => {
      if (session.pc.iceConnectionState === 'disconnected') this.status('Connection lost, waiting…');
      else if (session.pc.iceConnectionState === 'failed') this.status('Connection lost, connecting again…');
      else state();
    });
    session.addEventListener('restart', () => this.error(''));
    session.addEventListener('error', (event) => this.error(explain(/** @type {CustomEvent} */ (event).detail)));
    session.addEventListener('close', () => {
      if (this.session === session) this.stop();
    });
  }

  stop() {
    this.running?.abort(new Error('Stopped.'));
    this.running = null;
    const { session } = this;
    this.session = null;
    session?.close();
    const shown = this.video.srcObject;
    if (shown instanceof MediaStream) for (const track of shown.getTracks()) track.stop();
    this.video.srcObject = null;
    this.meter = new Meter();
    this.statsLine.textContent = '';
    this.status(this.words.idle);
    this.show();
  }

  show() {
    this.button.textContent = this.running ? 'Stop' : this.words.start;
    this.button.setAttribute('aria-pressed', String(this.running !== null));
  }

  /** @param {string} text */
  status(text) {
    if (this.statusLine.textContent !== text) this.statusLine.textContent = text;
  }

  /** @param {string} text none hides the line */
  error(text) {
    this.errorLine.textContent = text;
    this.errorLine.hidden = text === '';
  }

  async refresh() {
    const { session } = this;
    if (session === null) return;
    const text = this.meter.line(await session.pc.getStats(), session.pc.iceConnectionState);
    if (this.session === session) this.statsLine.textContent = text;
  }
}

/** Turns two successive statistics reports into one line of text. */
class Meter {
  constructor() {
    this.bytes = 0;
    this.atMs = 0;
  }

  /** @param {RTCStatsReport} report @param {string} ice @returns {string} */
  line(report, ice) {
    let bytes = 0;
    let lost = 0;
    let atMs = 0;
    let picture = '';
    let sees = 'sent';
    /** @type {string[]} */
    const codecs = [];
    for (const one of report.values()) {
      if (one.type !== 'inbound-rtp' && one.type !== 'outbound-rtp' && one.type !== 'remote-inbound-rtp') continue;
      // What a publisher's packets suffered is told by the far end's reports.
      lost += one.packetsLost ?? 0;
      if (one.type === 'remote-inbound-rtp') continue;
      if (one.type === 'inbound-rtp') sees = 'received';
      bytes += one.bytesReceived ?? one.bytesSent ?? 0;
      atMs = Math.max(atMs, one.timestamp);
      const codec = report.get(one.codecId)?.mimeType?.split('/')[1];
      if (codec) codecs.push(codec);
      if (one.kind === 'video' && one.frameWidth) {
        picture = `${one.frameWidth}×${one.frameHeight}, ${Math.round(one.framesPerSecond ?? 0)} fps`;
      }
    }
    const seconds = (atMs - this.atMs) / 1000;
    const kbps = this.atMs > 0 && seconds > 0 ? Math.max(0, ((bytes - this.bytes) * 8) / seconds / 1000) : 0;
    this.bytes = bytes;
    this.atMs = atMs;
    const parts = [`${Math.round(kbps)} kbit/s ${sees}`, picture, codecs.join(' + '), `${lost} packets lost`, `ICE ${ice}`];
    return parts.filter((part) => part !== '').join(' · ');
  }
}

const publish = new Panel(
  'publish',
  { start: 'Publish', idle: 'Not publishing.', active: 'Publishing.' },
  async (panel, signal) => {
    const stream = await capture();
    panel.video.srcObject = stream;
    // The browser's own "stop sharing" ends the tracks without asking the page.
    for (const track of stream.getTracks()) track.addEventListener('ended', () => panel.running && panel.stop());
    try {
      signal.throwIfAborted();
      const options = { token: token.value, codec: codec.value, signal, onRetry: waiting(panel) };
      return await Session.publish(endpoint('whip'), stream, options);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw error;
    }
  },
);

const watch = new Panel('watch', { start: 'Watch', idle: 'Not watching.', active: 'Watching.' }, (panel, signal) =>
  Session.watch(endpoint('whep'), { token: token.value, signal, onRetry: waiting(panel) }),
);

/** @param {Panel} panel @returns {(text: string, seconds: number) => void} */
function waiting(panel) {
  return (text, seconds) => panel.status(`${text} Trying again in ${Math.round(seconds)} s.`);
}

function showAddresses() {
  element('whip-url', HTMLElement).textContent = endpoint('whip');
  element('whep-url', HTMLElement).textContent = endpoint('whep');
}

const query = new URLSearchParams(location.search);
for (const field of [room, token, codec, source]) {
  const value = query.get(field.id);
  if (value !== null) field.value = value;
}
if (codec.selectedIndex === -1) codec.value = '';
if (source.selectedIndex === -1) source.value = 'camera';

element('settings', HTMLFormElement).addEventListener('submit', (event) => event.preventDefault());
room.addEventListener('input', showAddresses);
showAddresses();
setInterval(() => {
  publish.refresh().catch(() => {});
  watch.refresh().catch(() => {});
}, STATS_INTERVAL_MS);
// pagehide comes also where unload does not (mobile browsers, back/forward cache).
addEventListener('pagehide', () => {
  publish.stop();
  watch.stop();
});
if (query.get('publish') === '1') publish.start();
if (query.get('watch') === '1') watch.start();
