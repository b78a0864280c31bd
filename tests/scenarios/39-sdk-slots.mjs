// A room with audio slots: as many streams of sound as there are slots, of the loudest, whoever speaks.
import { Participant } from '../lib/participants.mjs';
import { sleep, until } from '../lib/process.mjs';
import { sdkApp } from '../lib/sdk.mjs';

const SLOTS = 2;
/** Who speaks, and the tone by which he is known, in hertz. @type {Record<string, number>} */
const TONES = { anna: 500, bob: 1000, carl: 1500, dora: 2000 };
/** How loud, as a factor of full scale: each about 14 dB from the next. */
const [SILENT, SOFT, NORMAL, LOUD] = [0, 0.03, 0.15, 0.8];
/** What is still under way when somebody falls silent, and the ends of words: see `SILENCE_HANGOVER_US` of the engine. */
const HANGOVER_MS = 800;

/** @typedef {{ssrc: number, mid: string, packets: number, bytes: number}} Stream */

/** Publishes a tone, silent at first. @param {Participant} speaker */
const sing = (speaker) =>
  speaker.do(async (call, hertz) => {
    const context = new AudioContext();
    const out = context.createMediaStreamDestination();
    call.voice = new GainNode(context, { gain: 0 });
    const tone = new OscillatorNode(context, { frequency: hertz });
    tone.connect(call.voice).connect(out);
    tone.start();
    await call.room.local.publish(out.stream.getAudioTracks()[0], { source: 'microphone' });
  }, TONES[speaker.identity]);

/** Hears what comes by each section, and counts how often it is negotiated. @param {Participant} listener */
const listen = (listener) =>
  listener.do((call) => {
    const context = new AudioContext();
    Object.assign(call, { ears: new Map(), negotiations: 0 });
    const { pc } = call.room.peer;
    pc.addEventListener('signalingstatechange', () => (call.negotiations += pc.signalingState === 'stable' ? 1 : 0));
    call.tones = () => {
      /** @type {number[]} */
      const found = [];
      for (const { receiver, mid } of pc.getTransceivers()) {
        if (mid === null || receiver.track.kind !== 'audio') continue;
        if (!call.ears.has(mid)) {
          const stream = new MediaStream([receiver.track]);
          // Nothing is decoded that no element plays.
          const element = Object.assign(new Audio(), { srcObject: stream, muted: true });
          element.play();
          const ear = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
          new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(ear);
          call.ears.set(mid, { ear, element });
        }
        const { ear } = call.ears.get(mid);
        const levels = new Float32Array(ear.frequencyBinCount);
        ear.getFloatFrequencyData(levels);
        const loudest = levels.reduce((best, level, at) => (level > (levels[best] ?? 0) ? at : best), 0);
        if ((levels[loudest] ?? -200) > -70) found.push((loudest * context.sampleRate) / ear.fftSize);
      }
      return found;
    };
  });

/** Who is heard, by the tones that arrive. @param {Participant} listener @returns {Promise<string[]>} in order of names */
async function heard(listener) {
  const tones = /** @type {number[]} */ (await listener.do((call) => call.tones()));
  const name = (/** @type {number} */ tone) => Object.keys(TONES).find((one) => Math.abs((TONES[one] ?? 0) - tone) < 100) ?? `${tone} Hz`;
  return tones.map(name).sort();
}

/** @param {Participant} listener @returns {Promise<Stream[]>} sound that arrives, in order of sections */
const streams = (listener) =>
  listener.do(async (call) => {
    /** @type {Stream[]} */
    const all = [];
    for (const one of (await call.room.peer.pc.getStats()).values()) {
      if (one.type === 'inbound-rtp' && one.kind === 'audio') all.push({ ssrc: one.ssrc, mid: one.mid, packets: one.packetsReceived, bytes: one.bytesReceived });
    }
    return all.sort((a, b) => a.mid.localeCompare(b.mid));
  });

/** @type {import('../lib/scenario.mjs').Scenario} */
const slots = {
  name: 'sdk-audio-slots',
  timeoutS: 120,
  run: async (t) => {
    const server = await t.server();
    await server.must('POST', '/v1/rooms', { name: 'stage', audio: { slots: SLOTS, silence: 'drop' } });
    const app = await sdkApp(t);
    const chromium = await t.chromium();
    const join = async (/** @type {string} */ identity, options = {}) =>
      Participant.join(await chromium.newPage(), app, { url: server.url, room: 'stage', identity, options });
    const listener = await join('vera');
    await until('vera has a connection', 10_000, () => listener.do((call) => call.room.peer !== undefined));
    await listen(listener);
    /** @type {Record<string, Participant>} */
    const speakers = {};
    for (const identity of Object.keys(TONES)) {
      const one = await join(identity, { autoSubscribe: false });
      await sing(one);
      speakers[identity] = one;
    }
    /** Sets who is how loud. @param {Record<string, number>} volumes */
    const speak = (volumes) =>
      Promise.all(Object.entries(volumes).map(([who, volume]) => speakers[who]?.do((call, gain) => void (call.voice.gain.value = gain), volume)));
    /** @param {string[]} names @param {string} when */
    const hears = (names, when) =>
      until(`${names.join(' and ')} ${when}`, 8000, async () => {
        const now = await heard(listener);
        if (now.join() !== names.join()) throw new Error(`${now.join() || 'nobody'} is heard`);
        return true;
      });

    await speak({ anna: NORMAL, bob: NORMAL });
    await hears(['anna', 'bob'], 'speak at first');
    const first = await streams(listener);
    const { negotiations } = await listener.do(({ negotiations }) => ({ negotiations }));
    t.check(first.length === SLOTS, `${first.length} streams of sound arrive at first`);

    // By turns: who falls silent leaves his slot to who speaks.
    await speak({ anna: SILENT, carl: NORMAL });
    await hears(['bob', 'carl'], 'speak when anna is silent');
    // The SDK shows by whom: a publication has the track of its slot.
    const subscribed = () => listener.do((call) => call.room.getSnapshot().audioSlots.map((/** @type {any} */ slot) => slot.source !== undefined));
    t.check((await subscribed()).every(Boolean), 'a slot is said to be nobody’s');

    // Who is louder by far takes the slot of the quietest.
    await speak({ bob: SOFT });
    await sleep(500);
    await speak({ dora: LOUD });
    await hears(['carl', 'dora'], 'speak louder than bob');
    await sleep(1500);
    t.check((await heard(listener)).join() === 'carl,dora', `${await heard(listener)} are heard after a while`);

    // Of who is silent nothing comes, and what comes is that of one.
    await speak({ bob: SILENT, carl: SILENT });
    await sleep(HANGOVER_MS);
    const before = await streams(listener);
    await sleep(2000);
    const after = await streams(listener);
    const came = after.map(({ packets }, at) => packets - (before[at]?.packets ?? 0)).sort((a, b) => a - b);
    t.figure('packets in 2 s of one who speaks, and of one who does not', came.toReversed().join());
    t.check(came.length === SLOTS && (came[0] ?? 0) === 0, `${came[0]} packets came of who is silent`);
    t.check((came.at(-1) ?? 0) > 50, `${came.at(-1)} packets came of who speaks`);
    await hears(['dora'], 'speaks alone');

    // Four have spoken by two streams that were negotiated once.
    t.check(after.map(({ ssrc }) => ssrc).join() === first.map(({ ssrc }) => ssrc).join(), 'the streams are others than at first');
    const negotiated = (await listener.do(({ negotiations }) => ({ negotiations }))).negotiations - negotiations;
    t.check(negotiated === 0, `it was negotiated ${negotiated} times while speakers changed`);
    const { sessions } = await server.must('GET', '/v1/rooms/stage/participants/vera/stats');
    const sent = sessions[0].outbound;
    t.check(sent.length === SLOTS, `${sent.length} streams are sent`);
    const silent = sent.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.packetsOfSilence, 0);
    t.figure('packets of silence kept back', silent);
    t.check(silent > 0, 'no silence was kept back');
    for (const one of [listener, ...Object.values(speakers)]) await one.isHealthy(t);
  },
};

export const scenarios = [slots];
