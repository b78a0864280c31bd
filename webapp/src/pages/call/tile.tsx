import type { ParticipantSnapshot, PublicationSnapshot, Quality, Room, RoomStats } from '@ion-sfu/sdk';
import { type ReactNode, memo, useEffect, useRef } from 'react';
import { bitrate, initials, milliseconds, percent } from '../../format';
import { Icon } from '../../ui/icon';
import type { Tile } from './tiles';
import { handOf, isSilent, nameOf } from './tiles';
import style from './tile.module.css';

const QUALITY: Record<Quality, { bars: number; words: string }> = {
  unknown: { bars: 0, words: '' },
  lost: { bars: 0, words: 'Connection lost' },
  poor: { bars: 1, words: 'Poor connection' },
  good: { bars: 2, words: 'Good connection' },
  excellent: { bars: 3, words: 'Excellent connection' },
};

function TrackVideo({ room, publication, label }: { room: Room; publication: PublicationSnapshot; label: string }): ReactNode {
  const ref = useRef<HTMLVideoElement>(null);
  const { id, local, track } = publication;
  const ownTrack = local ? track : undefined;
  useEffect(() => {
    const element = ref.current;
    if (element === null) return undefined;
    // What is received fits the element's size.
    const remote = room.publication(id);
    if (remote !== undefined) return remote.attach(element);
    element.srcObject = ownTrack === undefined ? null : new MediaStream([ownTrack]);
    return undefined;
  }, [room, id, ownTrack]);
  return <video ref={ref} autoPlay playsInline muted aria-label={label} />;
}

/** Plays what somebody says; all the time, whatever is shown. */
export function TrackAudio({ room, publication, speaker }: { room: Room; publication: PublicationSnapshot; speaker: string }): ReactNode {
  const ref = useRef<HTMLAudioElement>(null);
  const { id } = publication;
  useEffect(() => {
    const element = ref.current;
    return element === null ? undefined : room.publication(id)?.attach(element);
  }, [room, id]);
  useEffect(() => {
    const element = ref.current;
    // Not in every browser; a speaker that is gone is the default one.
    if (element !== null && 'setSinkId' in element) void element.setSinkId(speaker).catch(() => undefined);
  }, [speaker]);
  return <audio ref={ref} autoPlay />;
}

function QualityMark({ quality }: { quality: Quality }): ReactNode {
  const { bars, words } = QUALITY[quality];
  if (words === '') return null;
  return (
    <span className={style['quality']} data-bars={bars} role="img" aria-label={words} title={words}>
      <i />
      <i />
      <i />
    </span>
  );
}

function StatLines({ stats, video }: { stats: RoomStats; video: PublicationSnapshot }): ReactNode {
  const mine = stats.tracks.filter(({ publication, bitrate: rate }) => publication === video.id && rate > 0);
  return (
    <ul className={style['stats']} aria-label="Statistics">
      {mine.length === 0 && <li>nothing flows</li>}
      {mine.map((one) => (
        <li key={one.ssrc}>
          {one.codec} {one.rid} {one.width > 0 && `${one.width}×${one.height}`} {Math.round(one.framerate)} fps
          <br />
          {bitrate(one.bitrate)}, loss {percent(one.loss)}
          {one.direction === 'received' && `, jitter ${milliseconds(one.jitter)}`}
        </li>
      ))}
    </ul>
  );
}

interface Props {
  readonly room: Room;
  readonly tile: Tile;
  readonly stats: RoomStats | undefined;
  readonly isPinned: boolean;
  readonly onPin: ((key: string) => void) | undefined;
}

function caption(participant: ParticipantSnapshot, isScreen: boolean): string {
  const name = participant.local ? `${nameOf(participant)} (you)` : nameOf(participant);
  return isScreen ? `Screen of ${name}` : name;
}

/** One picture of the call, with the name of who it is, and how they are. */
export const TileView = memo(function TileView({ room, tile, stats, isPinned, onPin }: Props): ReactNode {
  const { participant, video, isScreen } = tile;
  const title = caption(participant, isScreen);
  const isMirrored = participant.local && !isScreen;
  const classes = [style['tile'], participant.speaking && !isScreen ? style['speaking'] : '', isScreen ? style['screen'] : '', isMirrored ? style['mirrored'] : ''];
  return (
    <li className={classes.join(' ')} aria-label={title}>
      {video?.track !== undefined || video?.local === false ? (
        <TrackVideo room={room} publication={video} label={title} />
      ) : (
        <span className={style['avatar']} aria-hidden="true">
          {initials(nameOf(participant))}
        </span>
      )}
      {stats !== undefined && video !== undefined && <StatLines stats={stats} video={video} />}
      {!isScreen && handOf(participant) !== undefined && (
        <span className={style['hand']} role="img" aria-label="Hand raised" title="Hand raised">
          <Icon name="hand" />
        </span>
      )}
      <div className={style['caption']}>
        {!isScreen && isSilent(participant) && (
          <span role="img" aria-label="Muted" title="Muted">
            <Icon name="micOff" size={16} />
          </span>
        )}
        <span className={style['name']}>{title}</span>
        {participant.state === 'disconnected' && <span className={style['away']}>reconnecting…</span>}
        {!isScreen && <QualityMark quality={participant.quality} />}
      </div>
      {onPin !== undefined && (
        <button
          type="button"
          className={style['pin']}
          aria-pressed={isPinned}
          aria-label={isPinned ? `Unpin ${title}` : `Pin ${title}`}
          title={isPinned ? 'Unpin' : 'Pin'}
          onClick={() => {
            onPin(tile.key);
          }}
        >
          <Icon name="pin" size={18} />
        </button>
      )}
    </li>
  );
});
