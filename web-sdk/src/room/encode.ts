// From what the app wants published to what browser and server are told.
import { IonError } from '../errors.js';
import {
  type SendEncoding,
  type VideoCodec,
  bitrateFor,
  knowsSvc,
  preferAudio,
  preferVideo,
  sendableCodecs,
  videoEncodings,
} from '../media/codecs.js';
import type { SendTrack } from '../peer/transport.js';
import type { LayerInfo, TrackOffer } from '../wire/signal.js';
import type { PublishOptions } from './publication.js';

/** Codecs whose frames can be encrypted in part, so that the server can still read layers. */
const ENCRYPTABLE: readonly VideoCodec[] = ['vp8', 'vp9'];

/** Everything that a connection has to know to send a track. */
export function sendTrackOf(
  cid: string,
  track: MediaStreamTrack,
  options: PublishOptions,
  state: { readonly encrypted: boolean; readonly muted: boolean },
): SendTrack {
  const { source = 'other', name = '', stream } = options;
  const offer: TrackOffer = { cid, source, name, layers: [], scalabilityMode: '', ...state };
  if (stream !== undefined) offer.stream = stream;
  return track.kind === 'audio' ? audio(track, offer, options) : video(track, offer, options);
}

function audio(track: MediaStreamTrack, offer: TrackOffer, options: PublishOptions): SendTrack {
  const music = options.audio?.music ?? offer.source === 'screen_share_audio';
  const { maxBitrate = music ? 96_000 : 32_000, dtx = !music } = options.audio ?? {};
  // A frame with RED has the frame before in it, whose bounds encryption would hide from the server.
  const red = (options.audio?.red ?? !music) && !offer.encrypted;
  offer.layers = [{ rid: '', width: 0, height: 0, maxBitrateBps: maxBitrate }];
  return {
    track,
    offer,
    encodings: [{ maxBitrate }],
    codecs: preferAudio(RTCRtpSender.getCapabilities('audio')?.codecs ?? [], red),
    opus: { dtx, stereo: music },
  };
}

function video(track: MediaStreamTrack, offer: TrackOffer, options: PublishOptions): SendTrack {
  const wanted = options.video ?? {};
  const codec = codecFor(wanted.codec ?? 'vp8', offer.encrypted);
  const { width = 1280, height = 720 } = track.getSettings();
  const source = { width, height, screen: offer.source === 'screen_share' };
  const encodings = videoEncodings(source, codec, wanted, knowsSvc());
  offer.layers = encodings.map((one) => layerOf(one, width, height, codec));
  offer.scalabilityMode = encodings.length === 1 ? (encodings[0]?.scalabilityMode ?? '') : '';
  const capabilities = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  return { track, offer, encodings, codecs: preferVideo(capabilities, codec, offer.encrypted) };
}

/** The codec to send: the wanted one, or where the browser lacks it, the one that all have. */
function codecFor(wanted: VideoCodec, encrypted: boolean): VideoCodec {
  if (encrypted && !ENCRYPTABLE.includes(wanted)) {
    throw new IonError('unsupported', `With end-to-end encryption video is ${ENCRYPTABLE.join(' or ')}, not ${wanted}.`);
  }
  return sendableCodecs().includes(wanted) ? wanted : 'vp8';
}

function layerOf(encoding: SendEncoding, width: number, height: number, codec: VideoCodec): LayerInfo {
  const scale = encoding.scaleResolutionDownBy ?? 1;
  const size = { width: Math.round(width / scale), height: Math.round(height / scale) };
  return { rid: encoding.rid ?? '', ...size, maxBitrateBps: encoding.maxBitrate ?? bitrateFor(size.width, size.height, codec) };
}
