import { describe, expect, it } from 'vitest';
import { bitrateFor, preferAudio, preferVideo, videoEncodings } from '../src/media/codecs.js';

const HD = { width: 1280, height: 720, screen: false };
const codec = (mimeType: string): RTCRtpCodec => ({ mimeType, clockRate: 90_000 });

describe('video encodings', () => {
  it('are three streams for VP8 at 720p, smallest first', () => {
    const layers = videoEncodings(HD, 'vp8', {}, true);
    expect(layers.map((one) => one.rid)).toEqual(['q', 'h', 'f']);
    expect(layers.map((one) => one.scaleResolutionDownBy)).toEqual([4, 2, 1]);
    const sum = layers.reduce((total, one) => total + (one.maxBitrate ?? 0), 0);
    expect(Math.abs(sum - bitrateFor(1280, 720, 'vp8'))).toBeLessThan(3);
  });

  it('are one stream with layers inside for VP9 and AV1, where the browser can', () => {
    expect(videoEncodings(HD, 'vp9', {}, true)).toMatchObject([{ scalabilityMode: 'L3T3_KEY' }]);
    expect(videoEncodings(HD, 'av1', {}, false)).toEqual([{ maxBitrate: bitrateFor(1280, 720, 'av1') }]);
  });

  it('have as many layers as the picture is worth', () => {
    expect(videoEncodings({ ...HD, width: 640, height: 360 }, 'h264', {}, true)).toHaveLength(2);
    expect(videoEncodings({ ...HD, width: 320, height: 180 }, 'vp8', {}, true)).toHaveLength(1);
    expect(videoEncodings({ ...HD, width: 640, height: 360 }, 'vp9', {}, true)).toMatchObject([{ scalabilityMode: 'L2T3_KEY' }]);
  });

  it('keep a screen sharp: few frames in the small stream, no spatial layers inside', () => {
    const screen = { width: 1920, height: 1080, screen: true };
    const layers = videoEncodings(screen, 'vp8', { maxFramerate: 15 }, true);
    expect(layers.map((one) => one.maxFramerate)).toEqual([5, 15]);
    expect(videoEncodings(screen, 'av1', {}, true)).toMatchObject([{ scalabilityMode: 'L1T3' }]);
  });

  it('do as they are told', () => {
    expect(videoEncodings(HD, 'vp8', { simulcast: false, maxBitrate: 5 }, true)).toEqual([{ maxBitrate: 5 }]);
    expect(videoEncodings(HD, 'vp8', { scalabilityMode: 'L1T2' }, true)).toMatchObject([{ scalabilityMode: 'L1T2' }]);
  });
});

it('bitrates grow with the size, and thrifty codecs take less', () => {
  const sizes = [90, 180, 270, 360, 720, 1080, 2160, 4320].map((height) => bitrateFor((height * 16) / 9, height, 'vp8'));
  expect([...sizes].sort((one, other) => one - other)).toEqual(sizes);
  expect(bitrateFor(1280, 720, 'av1')).toBeLessThan(bitrateFor(1280, 720, 'vp9'));
});

describe('preferences', () => {
  const all = ['video/VP8', 'video/rtx', 'video/H264', 'video/VP9', 'video/red'].map(codec);
  const names = (codecs: RTCRtpCodec[]): string[] => codecs.map((one) => one.mimeType);

  it('put a codec first, or alone with what goes with it', () => {
    expect(names(preferVideo(all, 'vp9', false))).toEqual(['video/VP9', 'video/VP8', 'video/H264', 'video/rtx', 'video/red']);
    expect(names(preferVideo(all, 'vp9', true))).toEqual(['video/VP9', 'video/rtx', 'video/red']);
  });

  it('put RED before Opus, or leave it out', () => {
    const audio = ['audio/opus', 'audio/red', 'audio/PCMU'].map(codec);
    expect(names(preferAudio(audio, true))).toEqual(['audio/red', 'audio/opus', 'audio/PCMU']);
    expect(names(preferAudio(audio, false))).toEqual(['audio/opus', 'audio/PCMU']);
  });
});
