// Who and what is shown. Pure: a room's snapshot goes in, tiles come out.
import type { ParticipantSnapshot, PublicationSnapshot, RoomSnapshot } from '@ion-sfu/sdk';

export interface Tile {
  readonly key: string;
  readonly participant: ParticipantSnapshot;
  /** Its picture, if it has one now. */
  readonly video: PublicationSnapshot | undefined;
  readonly isScreen: boolean;
}

/** How a participant is called. */
export function nameOf({ name, identity }: Pick<ParticipantSnapshot, 'name' | 'identity'>): string {
  return name === '' ? identity : name;
}

/** Whether somebody is muted: publishes no sound now. */
export function isSilent(participant: ParticipantSnapshot): boolean {
  return !participant.publications.some(({ kind, source, muted, paused }) => kind === 'audio' && source !== 'screen_share_audio' && !muted && !paused);
}

/** When somebody raised a hand, in milliseconds; undefined where it is down. */
export function handOf({ attributes }: Pick<ParticipantSnapshot, 'attributes'>): number | undefined {
  const at = Number(attributes['hand'] ?? '');
  return at > 0 ? at : undefined;
}

/** Everybody in the room: ourselves last. Without those in the lobby, and those who only watch. */
export function peopleOf({ local, remotes }: RoomSnapshot): readonly ParticipantSnapshot[] {
  const others = remotes.filter(({ state, kind }) => state !== 'lobby' && kind !== 'whep');
  return local === undefined ? others : [...others, local];
}

/** Those who wait to be admitted. */
export function waitingOf({ remotes }: RoomSnapshot): readonly ParticipantSnapshot[] {
  return remotes.filter(({ state }) => state === 'lobby');
}

/** Screens first, then everybody. */
export function tilesOf(snapshot: RoomSnapshot): readonly Tile[] {
  const people = peopleOf(snapshot);
  const screens = people.flatMap((participant) =>
    participant.publications
      .filter(({ kind, source, muted }) => kind === 'video' && source === 'screen_share' && !muted)
      .map((video) => ({ key: video.id, participant, video, isScreen: true })),
  );
  const faces = people.map((participant) => {
    const video = participant.publications.find(({ kind, source, muted, paused }) => kind === 'video' && source !== 'screen_share' && !muted && !paused);
    return { key: participant.id, participant, video, isScreen: false };
  });
  return [...screens, ...faces];
}

/** What the speaker view shows large: what was pinned, a screen, who speaks or spoke last, else anybody but ourselves. */
export function stageOf(tiles: readonly Tile[], pinned: string | undefined, lastSpeaker: string | undefined): Tile | undefined {
  const others = tiles.filter(({ participant, isScreen }) => !participant.local && !isScreen);
  return (
    tiles.find(({ key }) => key === pinned) ??
    tiles.find(({ isScreen, participant }) => isScreen && !participant.local) ??
    others.find(({ participant }) => participant.id === lastSpeaker) ??
    others[0] ??
    tiles[0]
  );
}
