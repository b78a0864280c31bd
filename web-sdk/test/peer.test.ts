import { describe, expect, it } from 'vitest';
import { withOpus } from '../src/peer/opus.js';
import { type Section, planReceiving } from '../src/peer/sections.js';
import { StallMeter } from '../src/room/stall.js';
import { Recovery, type RecoveryEffect, type RecoveryInput } from '../src/room/recovery.js';
import { StatsMeter } from '../src/stats.js';

const receiving = (kind: 'audio' | 'video', publication?: string): Section => ({ kind, use: { side: 'receive', publication } });
const video = (publication: string): { publication: string; kind: 'video' } => ({ publication, kind: 'video' });

describe('receiving sections', () => {
  it('are added, kept, freed and used again', () => {
    expect(planReceiving([], [video('PB_1')])).toEqual({ free: [], reuse: [], add: [video('PB_1')] });
    const one = receiving('video', 'PB_1');
    expect(planReceiving([one], [video('PB_1')])).toEqual({ free: [], reuse: [], add: [] });
    expect(planReceiving([one], [])).toEqual({ free: [one], reuse: [], add: [] });
    const spare = receiving('video');
    expect(planReceiving([spare], [video('PB_2')])).toEqual({ free: [], reuse: [{ section: spare, publication: 'PB_2' }], add: [] });
  });

  it('change hands in one offer', () => {
    const one = receiving('video', 'PB_1');
    expect(planReceiving([one], [video('PB_2')])).toEqual({ free: [], reuse: [{ section: one, publication: 'PB_2' }], add: [] });
  });

  it('are of a kind, and senders are left alone', () => {
    const audio = receiving('audio');
    const sender: Section = { kind: 'video', use: { side: 'send', cid: undefined } };
    expect(planReceiving([audio, sender], [video('PB_1')])).toEqual({ free: [], reuse: [], add: [video('PB_1')] });
  });

  it('are one for each publication, however often it is named', () => {
    const [one, other] = [receiving('video', 'PB_1'), receiving('video', 'PB_1')];
    expect(planReceiving([one, other], [video('PB_1'), video('PB_1')])).toEqual({ free: [other], reuse: [], add: [] });
  });
});

describe('Opus parameters of an answer', () => {
  const section = (mid: string, fmtp = 'a=fmtp:111 minptime=10;useinbandfec=1\r\n'): string =>
    `m=audio 9 UDP/TLS/RTP/SAVPF 63 111\r\na=mid:${mid}\r\na=rtpmap:63 red/48000/2\r\na=rtpmap:111 opus/48000/2\r\n${fmtp}`;

  it('are set in the section named, and nowhere else', () => {
    const answer = `v=0\r\n${section('0')}${section('1')}`;
    const out = withOpus(answer, new Map([['1', { dtx: true, stereo: true }]]));
    expect(out).toBe(`v=0\r\n${section('0')}${section('1', 'a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1;stereo=1\r\n')}`);
  });

  it('are added where there are none', () => {
    const out = withOpus(section('0', ''), new Map([['0', { dtx: true, stereo: false }]]));
    expect(out).toContain('a=rtpmap:111 opus/48000/2\r\na=fmtp:111 usedtx=1\r\n');
  });

  it('are left as they are without a wish', () => {
    expect(withOpus(section('0'), new Map())).toBe(section('0'));
    expect(withOpus(section('0'), new Map([['0', { dtx: false, stereo: false }]]))).toBe(section('0'));
  });
});

describe('recovery', () => {
  class Bench {
    readonly recovery = new Recovery();
    nowMs = 0;

    do(...inputs: RecoveryInput[]): RecoveryEffect['type'][] {
      return inputs.flatMap((input) => this.recovery.handle(input, this.nowMs)).map(({ type }) => type);
    }

    media(state: RTCPeerConnectionState): RecoveryEffect['type'][] {
      return this.do({ type: 'media', state });
    }

    tick(): RecoveryEffect['type'][] {
      this.nowMs = this.recovery.timerMs;
      return this.do({ type: 'timer' });
    }

    up(): this {
      this.do({ type: 'signal', open: true }, { type: 'media', state: 'connecting' }, { type: 'media', state: 'connected' });
      return this;
    }
  }

  it('leaves a healthy connection alone, and a lost socket to the socket', () => {
    const bench = new Bench().up();
    expect(bench.recovery.healthy).toBe(true);
    expect(bench.recovery.timerMs).toBe(Infinity);
    expect(bench.do({ type: 'signal', open: false })).toEqual([]);
    expect(bench.recovery.healthy).toBe(false);
    expect(bench.do({ type: 'signal', open: true })).toEqual([]);
    expect(bench.recovery.healthy).toBe(true);
  });

  it('probes the socket, and restarts ICE when media does not heal by itself', () => {
    const bench = new Bench().up();
    expect(bench.media('disconnected')).toEqual(['probe']);
    expect(bench.recovery.healthy).toBe(false);
    // Nothing is offered before the socket has answered, nor before media had time to heal.
    expect(bench.recovery.timerMs).toBe(Infinity);
    expect(bench.do({ type: 'signal', open: true })).toEqual([]);
    expect(bench.tick()).toEqual(['restartIce']);
    expect(bench.nowMs).toBe(1000);
    expect(bench.media('connected')).toEqual([]);
    expect(bench.recovery.healthy).toBe(true);
    expect(bench.recovery.timerMs).toBe(Infinity);
  });

  it('waits for the socket, and then does not wait any longer', () => {
    const bench = new Bench().up();
    bench.media('disconnected');
    bench.do({ type: 'signal', open: false });
    expect(bench.recovery.timerMs).toBe(Infinity);
    bench.nowMs = 20_000;
    expect(bench.media('failed')).toEqual(['probe']);
    expect(bench.do({ type: 'signal', open: true })).toEqual(['restartIce']);
  });

  it('does nothing when media healed while the socket was away', () => {
    const bench = new Bench().up();
    bench.media('disconnected');
    bench.do({ type: 'signal', open: false });
    bench.media('connected');
    expect(bench.do({ type: 'signal', open: true })).toEqual([]);
    expect(bench.recovery.healthy).toBe(true);
  });

  it('restarts ICE when socket and media were away together, before ICE knows', () => {
    const bench = new Bench().up();
    const stalled = (is: boolean): string[] => bench.do({ type: 'stalled', stalled: is });
    expect(stalled(true)).toEqual(['probe']);
    // The socket answers: it is the media alone, and ICE's business.
    expect(bench.do({ type: 'signal', open: true })).toEqual([]);
    bench.do({ type: 'signal', open: false });
    expect(bench.do({ type: 'signal', open: true })).toEqual(['restartIce']);
    expect(bench.recovery.healthy).toBe(true);
    // Media that came again while the socket was away needs nothing.
    expect(stalled(true)).toEqual(['probe']);
    bench.do({ type: 'signal', open: false });
    expect(stalled(false)).toEqual([]);
    expect(bench.do({ type: 'signal', open: true })).toEqual([]);
  });

  it('makes a new connection when restarts do not help, several times, then gives up', () => {
    const bench = new Bench().up();
    bench.media('failed');
    const done: string[] = bench.do({ type: 'signal', open: true });
    while (bench.recovery.timerMs !== Infinity) done.push(...bench.tick());
    expect(done.slice(0, 3)).toEqual(['restartIce', 'restartIce', 'newConnection']);
    expect(done.filter((one) => one === 'newConnection')).toHaveLength(6);
    expect(done.at(-1)).toBe('giveUp');
  });

  it('makes a new connection at once when the server has lost the old one', () => {
    const bench = new Bench().up();
    expect(bench.do({ type: 'lost' })).toEqual(['newConnection']);
    const away = new Bench().up();
    away.do({ type: 'signal', open: false });
    expect(away.do({ type: 'lost' })).toEqual([]);
    expect(away.do({ type: 'signal', open: true })).toEqual(['newConnection']);
  });
});

describe('a stall', () => {
  const looks = (text: string): string => {
    const meter = new StallMeter();
    const said = { true: '!', false: '.', undefined: ' ' };
    return Array.from(text, (one) => said[String(meter.look(one === 'x')) as keyof typeof said]).join('').trimEnd();
  };

  it('is told once, when what came steadily stops, and when it comes again', () => {
    expect(looks('xxxxxxxxxx---')).toBe('            !');
    expect(looks('xxxxx-xxxxxx-xx---------x')).toBe(`${' '.repeat(17)}!${' '.repeat(6)}.`);
  });

  it('is none where little came', () => {
    expect(looks('x--x---x---x---x---x---')).toBe('');
    expect(looks('-------xxxxx------------')).toBe('');
  });
});

describe('statistics', () => {
  const report = (atMs: number, bytes: number, packets: number, lost: number, frames: number): Map<string, unknown> =>
    new Map<string, unknown>([
      ['c', { id: 'c', type: 'codec', timestamp: atMs, mimeType: 'video/VP8' }],
      ['p', { id: 'p', type: 'candidate-pair', timestamp: atMs, nominated: true, state: 'succeeded', currentRoundTripTime: 0.02 }],
      ['i', {
        id: 'i', type: 'inbound-rtp', timestamp: atMs, kind: 'video', mid: '1', ssrc: 7, codecId: 'c',
        bytesReceived: bytes, packetsReceived: packets, packetsLost: lost, framesDecoded: frames, frameWidth: 640, frameHeight: 360,
      }],
    ]);

  it('are rates over the interval', () => {
    const meter = new StatsMeter();
    expect(meter.update(report(1000, 1000, 10, 0, 5)).tracks).toMatchObject([{ bitrate: 0, framerate: 0, loss: 0 }]);
    const stats = meter.update(report(3000, 251_000, 100, 10, 65));
    expect(stats).toMatchObject({ receivedBitrate: 1_000_000, sentBitrate: 0, roundTripTime: 0.02, atMs: 3000 });
    expect(stats.tracks).toMatchObject([
      { direction: 'received', mid: '1', codec: 'vp8', bitrate: 1_000_000, framerate: 30, loss: 0.1, width: 640, height: 360 },
    ]);
  });

  it('do not go below nothing when counters begin anew', () => {
    const meter = new StatsMeter();
    meter.update(report(1000, 1000, 10, 5, 5));
    expect(meter.update(report(2000, 0, 0, 0, 0)).tracks).toMatchObject([{ bitrate: 0, framerate: 0, loss: 0 }]);
  });
});
