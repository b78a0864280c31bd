// Which codecs and layers to publish with. Pure but for one look at what the browser can do.

/**
 * Video codecs by the names of this SDK.
 */
export type VideoCodec = 'vp8' | 'vp9' | 'av1' | 'h264' | 'h265';

/**
 * How a video track is sent. What is left out gets a default that suits codec, size and source.
 */
export interface VideoOptions {
  /** Preferred codec; another is used where the browser lacks it. Default `vp8`, which every browser sends in layers. */
  readonly codec?: VideoCodec | undefined;
  /** What to send instead, to all, once somebody is in the room who cannot decode `codec`. Default `vp8`; false for never. */
  readonly backupCodec?: VideoCodec | false | undefined;
  /** Separate streams of different sizes, for codecs without spatial layers. Default true. */
  readonly simulcast?: boolean | undefined;
  /** Spatial and temporal layers inside one stream, for example `L3T3_KEY`. Default: by codec. */
  readonly scalabilityMode?: string | undefined;
  /** Highest bitrate of all layers together, in bit/s. Default: by size. */
  readonly maxBitrate?: number | undefined;
  /** Highest frame rate, per second. */
  readonly maxFramerate?: number | undefined;
  /** What to give up when bandwidth or CPU is short. Default `balanced`, for screens `maintain-resolution`. */
  readonly degradationPreference?: RTCDegradationPreference | undefined;
}

/**
 * How an audio track is sent.
 */
export interface AudioOptions {
  /** Highest bitrate, in bit/s. Default 32,000 for speech, 96,000 for music. */
  readonly maxBitrate?: number | undefined;
  /** Send each packet's predecessor with it (RFC 2198): heals single losses without a round trip. Default true for speech. */
  readonly red?: boolean | undefined;
  /** Send next to nothing in silence. Default true for speech. */
  readonly dtx?: boolean | undefined;
  /** Two channels, and no processing for speech. Default false. */
  readonly music?: boolean | undefined;
}

/** The standard's type lacks what webrtc-svc adds. */
export interface SendEncoding extends RTCRtpEncodingParameters {
  scalabilityMode?: string;
}

/** What of the source matters for the defaults. */
export interface VideoSource {
  readonly width: number;
  readonly height: number;
  readonly screen: boolean;
}

/** Bit/s that do for 30 frames per second of VP8 or H264 at a number of pixels; between two rows in proportion. */
const BITRATES: readonly (readonly [pixels: number, bitrate: number])[] = [
  [160 * 90, 60_000],
  [320 * 180, 150_000],
  [640 * 360, 500_000],
  [960 * 540, 1_000_000],
  [1280 * 720, 1_700_000],
  [1920 * 1080, 3_000_000],
  [3840 * 2160, 8_000_000],
];
/** The same picture costs this much of it. */
const THRIFT: Readonly<Record<VideoCodec, number>> = { vp8: 1, h264: 1, vp9: 0.75, h265: 0.7, av1: 0.65 };
/** RIDs of simulcast, smallest layer first. */
export const RIDS: readonly string[] = ['q', 'h', 'f'];

/** Bit/s for a size. */
export function bitrateFor(width: number, height: number, codec: VideoCodec): number {
  const pixels = width * height;
  const above = BITRATES.findIndex(([size]) => size >= pixels);
  const [size, rate] = BITRATES[above === -1 ? BITRATES.length - 1 : above] ?? [1, 0];
  const [lowerSize, lowerRate] = BITRATES[above === -1 ? BITRATES.length - 1 : above - 1] ?? [0, 0];
  const share = size === lowerSize ? 1 : Math.min(1, Math.max(0, (pixels - lowerSize) / (size - lowerSize)));
  return Math.round((lowerRate + (rate - lowerRate) * share) * THRIFT[codec]);
}

/** How many spatial layers a picture of this height is worth. */
export function layersFor(height: number): 1 | 2 | 3 {
  if (height >= 540) return 3;
  return height >= 270 ? 2 : 1;
}

/** What `addTransceiver` is to send, smallest layer first. */
export function videoEncodings(
  source: VideoSource,
  codec: VideoCodec,
  options: VideoOptions,
  canSvc: boolean,
): SendEncoding[] {
  const { width, height, screen } = source;
  const total = options.maxBitrate ?? bitrateFor(width, height, codec);
  const framerate = options.maxFramerate === undefined ? {} : { maxFramerate: options.maxFramerate };
  const layers = screen ? Math.min(2, layersFor(height)) : layersFor(height);
  if (canSvc && (codec === 'vp9' || codec === 'av1' || options.scalabilityMode !== undefined)) {
    // A screen is sharp or useless: temporal layers only.
    const mode = options.scalabilityMode ?? (screen || layers === 1 ? 'L1T3' : `L${layers}T3_KEY`);
    return [{ maxBitrate: total, scalabilityMode: mode, ...framerate }];
  }
  if (options.simulcast === false || layers === 1 || codec === 'av1' || codec === 'vp9') {
    return [{ maxBitrate: total, ...framerate }];
  }
  const rids = RIDS.slice(-layers);
  const shares = rids.map((_, at) => bitrateFor(width / 2 ** (layers - 1 - at), height / 2 ** (layers - 1 - at), codec));
  const sum = shares.reduce((one, other) => one + other, 0);
  return rids.map((rid, at) => ({
    rid,
    scaleResolutionDownBy: 2 ** (layers - 1 - at),
    maxBitrate: Math.round((total * (shares[at] ?? 0)) / sum),
    ...(canSvc && !screen ? { scalabilityMode: 'L1T3' } : {}),
    ...framerate,
    ...(screen && at < layers - 1 ? { maxFramerate: Math.min(5, options.maxFramerate ?? 5) } : {}),
  }));
}

/** The name of a codec in this SDK; undefined for what is no video codec (RTX, RED, FEC). */
export function videoCodecOf(mimeType: string): VideoCodec | undefined {
  const name = mimeType.toLowerCase().replace('video/', '');
  return name === 'vp8' || name === 'vp9' || name === 'av1' || name === 'h264' || name === 'h265' ? name : undefined;
}

/** The codecs that this browser can send, best known support first. */
export function sendableCodecs(): VideoCodec[] {
  const all = (RTCRtpSender.getCapabilities('video')?.codecs ?? []).map((one) => videoCodecOf(one.mimeType));
  return (['vp8', 'h264', 'vp9', 'av1', 'h265'] as const).filter((codec) => all.includes(codec));
}

/** The codecs that this browser can receive. */
export function receivableCodecs(): VideoCodec[] {
  const all = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  return [...new Set(all.flatMap((one) => videoCodecOf(one.mimeType) ?? []))];
}

/** Puts `codec` first in what a transceiver offers; `only` leaves no other but what goes with it (RTX, RED, FEC). */
export function preferVideo(
  capabilities: readonly RTCRtpCodec[],
  codec: VideoCodec,
  only: boolean,
): RTCRtpCodec[] {
  const wanted = capabilities.filter((one) => videoCodecOf(one.mimeType) === codec);
  const others = only ? [] : capabilities.filter((one) => ![codec, undefined].includes(videoCodecOf(one.mimeType)));
  const helpers = capabilities.filter((one) => videoCodecOf(one.mimeType) === undefined);
  return [...wanted, ...others, ...helpers];
}

/** Puts RED before Opus, or leaves it out. */
export function preferAudio(capabilities: readonly RTCRtpCodec[], red: boolean): RTCRtpCodec[] {
  const isRed = (one: RTCRtpCodec): boolean => one.mimeType.toLowerCase() === 'audio/red';
  const others = capabilities.filter((one) => !isRed(one));
  return red ? [...capabilities.filter(isRed), ...others] : others;
}

let svc: boolean | undefined;

/** Whether the browser takes `scalabilityMode`: one that does repeats it. */
export function knowsSvc(): boolean {
  if (svc !== undefined) return svc;
  const pc = new RTCPeerConnection();
  const sendEncodings: SendEncoding[] = [{ scalabilityMode: 'L1T2' }];
  const { sender } = pc.addTransceiver('video', { direction: 'sendonly', sendEncodings });
  const [encoding] = sender.getParameters().encodings as SendEncoding[];
  svc = encoding?.scalabilityMode !== undefined;
  pc.close();
  return svc;
}
