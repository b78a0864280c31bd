import type { TrackStats } from '@ion-sfu/sdk';
import { describe, expect, test } from 'vitest';
import type { TrackInfo } from '../src/api';
import { bitrate, duration, initials, percent } from '../src/format';
import { meterLevel } from '../src/media/devices';
import { SLOTS, addLosses, addRates, lossBetween, NO_LOSSES, NO_RATES } from '../src/pages/admin/history';
import { lossOf, mainVideo } from '../src/stats';
import { claimsOf } from '../src/token';
import { linePath, niceMax } from '../src/ui/plot-geometry';

describe('words for figures', () => {
  test.each([[0, '0 kbit/s'], [950_400, '950 kbit/s'], [1_250_000, '1.3 Mbit/s'], [12e9, '12.00 Gbit/s']])('%d bit/s', (bps, words) => {
    expect(bitrate(bps)).toBe(words);
  });
  test.each([[0, '0 %'], [0.0001, '< 0.1 %'], [0.005, '0.5 %'], [0.25, '25 %'], [1, '100 %']])('a share of %d', (share, words) => {
    expect(percent(share)).toBe(words);
  });
  test.each([[5.9, '5 s'], [60, '1 min'], [3700, '1 h 1 min'], [90_000, '1 d 1 h']])('%d seconds', (seconds, words) => {
    expect(duration(seconds)).toBe(words);
  });
  test.each([['Ann Lee', 'AL'], ['guest-1f2e', 'G1'], ['bob', 'B'], ['', '?'], ['😀 x', '😀X']])('initials of %j', (name, letters) => {
    expect(initials(name)).toBe(letters);
  });
});

describe('statistics', () => {
  const track = (about: Partial<TrackStats>): TrackStats =>
    ({ kind: 'video', direction: 'sent', bitrate: 1, loss: 0, width: 0, height: 0, ...about }) as TrackStats;

  test('the main video is the largest that flows', () => {
    const small = track({ width: 320, height: 180 });
    const large = track({ width: 640, height: 360 });
    const still = track({ width: 1280, height: 720, bitrate: 0 });
    expect(mainVideo([small, still, large], 'sent')).toBe(large);
    expect(mainVideo([still], 'sent')).toBe(still);
    expect(mainVideo([large], 'received')).toBeUndefined();
  });

  test('loss counts by what a stream carries', () => {
    expect(lossOf([track({ bitrate: 300, loss: 0.1 }), track({ bitrate: 100, loss: 0.5 })], 'sent')).toBeCloseTo(0.2);
    expect(lossOf([], 'sent')).toBe(0);
  });

  test('a meter goes from -60 dB to full scale', () => {
    expect(meterLevel(new Float32Array(4))).toBe(0);
    expect(meterLevel(Float32Array.of(1, -1, 1, -1))).toBe(1);
    expect(meterLevel(Float32Array.of(0.0001, -0.0001))).toBe(0);
    expect(meterLevel(Float32Array.of(0.0316, -0.0316))).toBeCloseTo(0.5, 2);
  });
});

describe('plots', () => {
  test.each([[0, 10, 10], [11, 10, 20], [21, 10, 50], [50, 10, 50], [51, 10, 100], [3_400_000, 1e6, 5e6], [0.03, 0.02, 0.05]])('the scale of %d, at least %d', (value, least, max) => {
    expect(niceMax(value, least)).toBeCloseTo(max);
  });
  test('the newest value is at the right edge', () => {
    expect(linePath([0, 5, 10], 10, 11, 100, 50)).toBe('M80.0 50.0L90.0 25.0L100.0 0.0');
    expect(linePath([], 10, 11, 100, 50)).toBe('');
  });
  test('keep so many values', () => {
    let rates = NO_RATES;
    for (let at = 0; at < SLOTS + 5; at += 1) rates = addRates(rates, { receivedBps: at, sentBps: 0 });
    expect(rates.received).toHaveLength(SLOTS);
    expect(rates.received.at(-1)).toBe(SLOTS + 4);
  });
  test('loss is that of the last interval, by direction', () => {
    const track = (packets: number, lost: number, direction = 'publisher'): TrackInfo => ({ packets, lost, direction }) as TrackInfo;
    const before = new Map([['a', track(100, 50)], ['b', track(100, 0, 'viewer')]]);
    const now = new Map([['a', track(190, 60)], ['b', track(200, 25, 'viewer')], ['new', track(1, 1)]]);
    expect(lossBetween(before, now, true)).toBeCloseTo(0.1);
    expect(lossBetween(before, now, false)).toBeCloseTo(0.25);
    // A counter that begins anew.
    expect(lossBetween(now, before, true)).toBe(0);
    expect(addLosses(NO_LOSSES, before, now).toViewers).toEqual([0.25]);
  });
});

describe('tokens', () => {
  const jwt = (claims: unknown): string => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.y`;
  test('say who they are for', () => {
    const claims = claimsOf(jwt({ sub: 'ann', name: 'Änn', exp: 5, video: { room: 'r', canUpdateOwnMetadata: true } }));
    expect(claims).toEqual({ identity: 'ann', name: 'Änn', room: 'r', mayRename: true, isAdmin: false, expiresAtS: 5 });
  });
  test.each(['', 'ann', 'a.b.c', jwt([]).slice(2), jwt(null), jwt(3)])('%j is none', (token) => {
    expect(claimsOf(token)).toBeUndefined();
  });
});
