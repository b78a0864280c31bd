// Rates from two successive statistics reports of a peer connection. Pure: reports come in, figures go out.

/**
 * Figures of one RTP stream over the last interval.
 */
export interface TrackStats {
  readonly kind: 'audio' | 'video';
  readonly direction: 'sent' | 'received';
  /** The m-section that carries it. */
  readonly mid: string;
  /** Simulcast layer; empty without. */
  readonly rid: string;
  readonly ssrc: number;
  /** `vp8`, `opus`, …; empty until known. */
  readonly codec: string;
  /** Bit/s. */
  readonly bitrate: number;
  /** Share of packets that were lost, 0 to 1. Of what is sent: as the server reports it. */
  readonly loss: number;
  /** Seconds. */
  readonly jitter: number;
  /** Seconds to the server and back; 0 where unknown. */
  readonly roundTripTime: number;
  /** Frames per second; 0 for audio. */
  readonly framerate: number;
  readonly width: number;
  readonly height: number;
  /** Freezes (video) or concealed shares of samples (audio) in the interval. */
  readonly freezes: number;
  readonly concealed: number;
  /** Why an encoder sends less than it may: `none`, `cpu`, `bandwidth`, `other`; empty where unknown. */
  readonly limitedBy: string;
}

/**
 * Figures of a connection over the last interval.
 */
export interface ConnectionStats {
  readonly atMs: number;
  readonly tracks: readonly TrackStats[];
  /** Bit/s of all streams. */
  readonly sentBitrate: number;
  readonly receivedBitrate: number;
  /** What the browser thinks that it may send, bit/s; 0 where unknown. */
  readonly availableBitrate: number;
  /** Seconds to the server and back; 0 where unknown. */
  readonly roundTripTime: number;
}

/**
 * The same, with the publication of each stream.
 */
export interface RoomStats extends Omit<ConnectionStats, 'tracks'> {
  readonly tracks: readonly (TrackStats & { readonly publication: string })[];
}

/** The members that we read of the statistics' dictionaries. */
interface Entry {
  readonly id: string;
  readonly type: string;
  readonly timestamp: number;
  readonly [member: string]: unknown;
}

interface Counters {
  readonly atMs: number;
  readonly bytes: number;
  readonly packets: number;
  readonly lost: number;
  readonly frames: number;
  readonly freezes: number;
  readonly samples: number;
  readonly concealed: number;
}

/**
 * Makes rates of successive `getStats()` reports of one connection.
 */
export class StatsMeter {
  #before: ReadonlyMap<string, Counters> = new Map();

  /** The figures since the report before; rates are 0 in the first. */
  update(report: RTCStatsReport | ReadonlyMap<string, unknown>): ConnectionStats {
    const entries = new Map<string, Entry>();
    report.forEach((entry: unknown, id: string) => {
      entries.set(id, entry as Entry);
    });
    const now = new Map<string, Counters>();
    const tracks: TrackStats[] = [];
    let atMs = 0;
    let path: Entry | undefined;
    for (const entry of entries.values()) {
      atMs = Math.max(atMs, entry.timestamp);
      if (entry.type === 'candidate-pair' && (entry['nominated'] === true || entry['selected'] === true)) {
        if (entry['state'] === 'succeeded') path = entry;
      }
      if (entry.type !== 'inbound-rtp' && entry.type !== 'outbound-rtp') continue;
      const far = entries.get(text(entry, 'remoteId'));
      const counters = countersOf(entry, far);
      now.set(entry.id, counters);
      tracks.push(figures(entry, far, entries.get(text(entry, 'codecId')), counters, this.#before.get(entry.id)));
    }
    this.#before = now;
    const sum = (direction: string): number => tracks.reduce((total, one) => total + (one.direction === direction ? one.bitrate : 0), 0);
    return {
      atMs,
      tracks,
      sentBitrate: sum('sent'),
      receivedBitrate: sum('received'),
      availableBitrate: path === undefined ? 0 : number(path, 'availableOutgoingBitrate'),
      roundTripTime: path === undefined ? 0 : number(path, 'currentRoundTripTime'),
    };
  }
}

function number(entry: Entry | undefined, name: string): number {
  const value = entry?.[name];
  return typeof value === 'number' ? value : 0;
}

function text(entry: Entry | undefined, name: string): string {
  const value = entry?.[name];
  return typeof value === 'string' ? value : '';
}

function countersOf(entry: Entry, far: Entry | undefined): Counters {
  const inbound = entry.type === 'inbound-rtp';
  return {
    atMs: entry.timestamp,
    bytes: number(entry, inbound ? 'bytesReceived' : 'bytesSent'),
    packets: number(entry, inbound ? 'packetsReceived' : 'packetsSent'),
    lost: number(inbound ? entry : far, 'packetsLost'),
    frames: number(entry, inbound ? 'framesDecoded' : 'framesEncoded'),
    freezes: number(entry, 'freezeCount'),
    samples: number(entry, 'totalSamplesReceived'),
    concealed: number(entry, 'concealedSamples'),
  };
}

function figures(
  entry: Entry,
  far: Entry | undefined,
  codec: Entry | undefined,
  now: Counters,
  before: Counters | undefined,
): TrackStats {
  const inbound = entry.type === 'inbound-rtp';
  const seconds = before === undefined ? 0 : (now.atMs - before.atMs) / 1000;
  // Counters begin anew when a browser makes a stream anew.
  const grown = (name: keyof Counters): number => (before === undefined ? 0 : Math.max(0, now[name] - before[name]));
  const rate = (name: keyof Counters): number => (seconds > 0 ? grown(name) / seconds : 0);
  const lost = grown('lost');
  const expected = grown('packets') + (inbound ? lost : 0);
  return {
    kind: entry['kind'] === 'audio' ? 'audio' : 'video',
    direction: inbound ? 'received' : 'sent',
    mid: text(entry, 'mid'),
    rid: text(entry, 'rid'),
    ssrc: number(entry, 'ssrc'),
    codec: text(codec, 'mimeType').replace(/^.*\//, '').toLowerCase(),
    bitrate: rate('bytes') * 8,
    loss: expected > 0 ? Math.min(1, lost / expected) : 0,
    jitter: number(inbound ? entry : far, 'jitter'),
    roundTripTime: number(far, 'roundTripTime'),
    framerate: rate('frames'),
    width: number(entry, 'frameWidth'),
    height: number(entry, 'frameHeight'),
    freezes: grown('freezes'),
    concealed: grown('samples') > 0 ? Math.min(1, grown('concealed') / grown('samples')) : 0,
    limitedBy: text(entry, 'qualityLimitationReason'),
  };
}
