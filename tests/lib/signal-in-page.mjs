// A signalling server and its media end, inside the page under test: each step of the SDK can be looked at from both ends, and
// sockets can be lost at will. Runs in the page; nothing of this module may be used outside of `startInPage`.

/**
 * Puts a server in the place of `WebSocket`. It has one participant, `PA_2`, who publishes moving pictures (`PB_2`) and echoes data.
 * What it saw and did is on `globalThis.far`.
 */
export function startInPage() {
  const page = /** @type {any} */ (globalThis);
  const bounds = { paused: false };
  const publication = (/** @type {string} */ id, /** @type {string} */ participant, /** @type {object} */ more) => ({
    ...{ id, participant, kind: 'video', source: 'camera', name: '', codec: 'VP8', layers: [], scalabilityMode: '', encrypted: false },
    ...{ muted: false, paused: false, stream: 'av', version: 1, ...more },
  });
  const participant = (/** @type {string} */ id, /** @type {object[]} */ publications) => ({
    ...{ id, identity: id, name: '', kind: 'sdk', state: 'active', version: 1, metadata: '', attributes: {}, joinedAtS: 0, isAdmin: false },
    publications,
  });
  const canvas = document.createElement('canvas');
  const paint = canvas.getContext('2d');
  setInterval(() => paint?.fillRect(Math.random() * 200, Math.random() * 100, 20, 20), 33);
  const [picture] = canvas.captureStream(30).getVideoTracks();

  const far = {
    /** @type {any[]} */ requests: [],
    /** @type {any} */ socket: null,
    /** @type {RTCPeerConnection | null} */ pc: null,
    peer: '',
    seq: 0,
    /** Whether the session can be resumed. */ keeps: true,
    /** Whether sockets can be opened. */ reachable: true,
    /** @type {Record<string, any>} */ published: {},
    nextId: 10,
    /** @type {any[]} */ others: [participant('PA_2', [publication('PB_2', 'PA_2', {})])],
    /** @type {any[]} */ subscriptions: [{ publication: 'PB_2', bounds, rule: 'free' }],
    /** @param {object} event */
    tell(event) {
      far.seq += 1;
      far.socket?.receive({ seq: far.seq, ...event });
    },
    snapshot: () => ({
      room: { name: 'far', metadata: '', attributes: {}, version: 1, lobby: false },
      me: participant('PA_1', Object.values(far.published)),
      permissions: { canPublish: true, canPublishSources: [], canSubscribe: true, canPublishData: true, canUpdateOwnMetadata: true, hidden: false, roomAdmin: false },
      participants: far.others,
      subscriptions: far.subscriptions,
    }),
    /** @param {any} request @returns {Promise<any>} */
    async answer(request) {
      switch (request.type) {
        case 'join':
          far.seq = 0;
          far.keeps = true;
          return { type: 'joined', protocol: 1, server: 'far', session: 's', resumeWithinMs: 10_000, pingIntervalMs: 2000, iceServers: [], limits: {}, snapshot: far.snapshot() };
        case 'resume':
          if (!far.keeps) return { type: 'error', reason: 'noSuchSession', detail: '' };
          return { type: 'resumed', nextSeq: request.seq + 1 };
        case 'offer':
          return far.negotiate(request);
        case 'ping':
          return { type: 'pong', at: request.at };
        case 'unpublish':
          delete far.published[Object.keys(far.published).find((cid) => far.published[cid].id === request.publication) ?? ''];
          return { type: 'ok' };
        default:
          return { type: 'ok' };
      }
    },
    /** @param {any} offer */
    async negotiate({ peer, sdp, tracks, subscriptions }) {
      if (far.pc === null || far.peer !== peer) {
        far.pc?.close();
        far.pc = new RTCPeerConnection();
        far.pc.addEventListener('datachannel', ({ channel }) => {
          channel.binaryType = 'arraybuffer';
          channel.addEventListener('message', ({ data }) => {
            const length = new DataView(data).getUint16(0);
            const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 2, length)));
            const head = new TextEncoder().encode(JSON.stringify({ topic: header.topic, from: 'PA_2' }));
            const echo = new Uint8Array(2 + head.length + data.byteLength - 2 - length);
            new DataView(echo.buffer).setUint16(0, head.length);
            echo.set(head, 2);
            echo.set(new Uint8Array(data, 2 + length), 2 + head.length);
            channel.send(echo);
          });
        });
        far.peer = peer;
      }
      const { pc } = far;
      await pc.setRemoteDescription({ type: 'offer', sdp });
      const answer = { type: 'answer', sdp: '', publications: /** @type {any} */ ({}), subscriptions, declined: {} };
      for (const transceiver of pc.getTransceivers()) {
        const mid = transceiver.mid ?? '';
        if (subscriptions[mid]) {
          transceiver.direction = 'sendonly';
          await transceiver.sender.replaceTrack(picture ?? null);
        } else if (tracks[mid]) {
          transceiver.direction = 'recvonly';
          const { cid } = tracks[mid];
          far.published[cid] ??= publication(`PB_${(far.nextId += 1)}`, 'PA_1', { ...tracks[mid], kind: transceiver.receiver.track.kind });
          answer.publications[mid] = far.published[cid];
        } else transceiver.direction = 'inactive';
      }
      await pc.setLocalDescription();
      if (pc.iceGatheringState !== 'complete') {
        await new Promise((resolve) => pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && resolve(null)));
      }
      answer.sdp = pc.localDescription?.sdp ?? '';
      // Simulcast is asked for by hand: a browser only sends it.
      answer.sdp = answer.sdp.replace(/a=rid:(\S+) send/g, 'a=rid:$1 recv');
      return answer;
    },
  };
  page.far = far;

  page.WebSocket = class extends EventTarget {
    static OPEN = 1;
    static CLOSED = 3;
    readyState = 0;
    constructor() {
      super();
      setTimeout(() => {
        if (!far.reachable || this.readyState !== 0) return this.lose();
        this.readyState = 1;
        far.socket = this;
        this.dispatchEvent(new Event('open'));
      }, 5);
    }
    /** @param {string} text */
    send(text) {
      const { id, ...request } = JSON.parse(text);
      far.requests.push(request);
      far.answer(request).then((answer) => this.receive({ id, ...answer }));
    }
    /** @param {object} message */
    receive(message) {
      if (this.readyState === 1) this.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(message) }));
    }
    lose() {
      if (this.readyState === 3) return;
      this.readyState = 3;
      this.dispatchEvent(new Event('close'));
    }
    close() {
      setTimeout(() => this.lose(), 1);
    }
  };
}
