import { IonError } from './errors.js';
import { HttpSession, type HttpSessionOptions } from './http/session.js';
import {
  type AudioOptions,
  type VideoCodec,
  type VideoOptions,
  knowsSvc,
  preferAudio,
  preferVideo,
  sendableCodecs,
  videoEncodings,
} from './media/codecs.js';

/**
 * How to publish over WHIP.
 */
export interface WhipOptions extends HttpSessionOptions {
  readonly video?: VideoOptions | undefined;
  readonly audio?: AudioOptions | undefined;
}

/**
 * Publishes tracks to a WHIP endpoint (RFC 9725). The tracks stay the caller's: closing the session does not stop them.
 */
export async function publishWhip(
  endpoint: string | URL,
  tracks: MediaStream | readonly MediaStreamTrack[],
  options: WhipOptions = {},
): Promise<HttpSession> {
  const session = new HttpSession(endpoint, options);
  try {
    const all = 'getTracks' in tracks ? tracks.getTracks() : tracks;
    const stream = 'getTracks' in tracks ? tracks : new MediaStream([...tracks]);
    for (const track of all) addTrack(session.pc, track, stream, options);
  } catch (error) {
    await session.close();
    throw error;
  }
  return session.start();
}

function addTrack(pc: RTCPeerConnection, track: MediaStreamTrack, stream: MediaStream, options: WhipOptions): void {
  if (track.kind === 'audio') {
    const { music = false, red = !music, maxBitrate = music ? 96_000 : 32_000 } = options.audio ?? {};
    const transceiver = pc.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings: [{ maxBitrate }] });
    setPreferences(transceiver, preferAudio(RTCRtpSender.getCapabilities('audio')?.codecs ?? [], red));
    return;
  }
  const video = options.video ?? {};
  const codec: VideoCodec = video.codec ?? 'vp8';
  if (!sendableCodecs().includes(codec)) throw new IonError('unsupported', `This browser does not send ${codec}.`);
  const { width = 1280, height = 720, displaySurface } = track.getSettings();
  const source = { width, height, screen: displaySurface !== undefined };
  const transceiver = pc.addTransceiver(track, {
    direction: 'sendonly',
    streams: [stream],
    sendEncodings: videoEncodings(source, codec, video, knowsSvc()),
  });
  setPreferences(transceiver, preferVideo(RTCRtpSender.getCapabilities('video')?.codecs ?? [], codec, true));
}

/** Sets preferences where the browser has them. */
function setPreferences(transceiver: RTCRtpTransceiver, codecs: RTCRtpCodec[]): void {
  if (codecs.length > 0 && 'setCodecPreferences' in transceiver) transceiver.setCodecPreferences(codecs);
}

/**
 * A WHEP session and what it plays.
 */
export interface WhepPlayback {
  readonly session: HttpSession;
  /** Tracks are added as they arrive. */
  readonly stream: MediaStream;
}

/**
 * Plays a WHEP endpoint (draft-ietf-wish-whep). Waits and asks again for as long as the server says that nobody publishes, until
 * `options.signal` is aborted.
 */
export async function playWhep(endpoint: string | URL, options: HttpSessionOptions = {}): Promise<WhepPlayback> {
  const session = new HttpSession(endpoint, options);
  const stream = new MediaStream();
  session.pc.addEventListener('track', ({ track }) => {
    stream.addTrack(track);
  });
  session.pc.addTransceiver('audio', { direction: 'recvonly' });
  session.pc.addTransceiver('video', { direction: 'recvonly' });
  await session.start();
  return { session, stream };
}
