// What the pages of single streams show of a connection. Pure.
import type { ConnectionStats, TrackStats } from '@ion-sfu/sdk';
import { bitrate, milliseconds, percent } from './format';
import type { Figure } from './ui/figures';

/** The largest video stream that carries something, else the first. */
export function mainVideo(tracks: readonly TrackStats[], direction: TrackStats['direction']): TrackStats | undefined {
  const video = tracks.filter((one) => one.kind === 'video' && one.direction === direction);
  const live = video.filter((one) => one.bitrate > 0);
  return (live.length > 0 ? live : video).reduce<TrackStats | undefined>(
    (best, one) => (best === undefined || one.width * one.height > best.width * best.height ? one : best),
    undefined,
  );
}

/** Loss over all streams of a direction, weighted by what they carry. */
export function lossOf(tracks: readonly TrackStats[], direction: TrackStats['direction']): number {
  const some = tracks.filter((one) => one.direction === direction && one.bitrate > 0);
  const total = some.reduce((sum, one) => sum + one.bitrate, 0);
  return total === 0 ? 0 : some.reduce((sum, one) => sum + one.loss * one.bitrate, 0) / total;
}

/** Bitrate, frame rate, loss and the like, of one direction. */
export function figuresOf(stats: ConnectionStats, direction: TrackStats['direction']): Figure[] {
  const video = mainVideo(stats.tracks, direction);
  const audio = stats.tracks.find((one) => one.kind === 'audio' && one.direction === direction);
  const rate = direction === 'sent' ? stats.sentBitrate : stats.receivedBitrate;
  const codecs = [video?.codec, audio?.codec].filter((codec) => codec !== undefined && codec !== '');
  return [
    { label: 'Bitrate', value: bitrate(rate) },
    { label: 'Frame rate', value: video === undefined ? '–' : `${Math.round(video.framerate)} fps` },
    { label: 'Picture', value: video === undefined || video.width === 0 ? '–' : `${video.width}×${video.height}` },
    { label: 'Loss', value: percent(lossOf(stats.tracks, direction)) },
    { label: 'Round trip', value: milliseconds(stats.roundTripTime) },
    { label: 'Codecs', value: codecs.length === 0 ? '–' : codecs.join(', ') },
  ];
}
