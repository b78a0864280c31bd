// The room's state as a pure function of what the server and this client say: (snapshot, input) → (snapshot, events).
import type { ErrorReason, IonError } from '../errors.js';
import type { Event, ParticipantInfo, PublicationInfo, RoomCause, Snapshot, Speaker, SubscriptionInfo } from '../wire/signal.js';
import type { RoomEvents } from './events.js';
import type { ParticipantSnapshot, PublicationSnapshot, RoomSnapshot, RoomStatus } from './snapshot.js';

/** An event to tell, as name and arguments. */
export type Told = { [Name in keyof RoomEvents]: readonly [Name, ...RoomEvents[Name]] }[keyof RoomEvents];

export type RoomInput =
  | Event
  | { readonly type: 'joined'; readonly snapshot: Snapshot }
  | { readonly type: 'status'; readonly status: RoomStatus; readonly error?: IonError | undefined }
  /** The server has taken our own track. */
  | { readonly type: 'localPublished'; readonly publication: PublicationInfo; readonly track: MediaStreamTrack | undefined }
  /** What is to be shown of a publication, our own or received; undefined ends it. */
  | { readonly type: 'track'; readonly publication: string; readonly track: MediaStreamTrack | undefined };

export interface Step {
  readonly snapshot: RoomSnapshot;
  readonly told: readonly Told[];
}

export function reduce(before: RoomSnapshot, input: RoomInput): Step {
  switch (input.type) {
    case 'joined':
      return everything(before, input.snapshot, 'resync');
    case 'room':
      return everything(before, input.snapshot, input.cause);
    case 'status':
      return status(before, input.status, input.error);
    case 'roomUpdated':
      return { snapshot: { ...before, room: input.room }, told: [['roomUpdated', input.room]] };
    case 'participantJoined':
    case 'participantUpdated':
      return participant(before, input.participant);
    case 'participantLeft':
      return left(before, input.participant, input.reason);
    case 'published':
    case 'publicationUpdated':
      return publication(before, input.publication, undefined);
    case 'localPublished':
      return publication(before, input.publication, input.track);
    case 'unpublished':
      return unpublished(before, input.participant, input.publication);
    case 'subscriptions':
      return { snapshot: subscribed(before, input.subscriptions), told: [] };
    case 'track':
      return track(before, input.publication, input.track);
    case 'permissionsChanged':
      return { snapshot: { ...before, permissions: input.permissions }, told: [['permissions', input.permissions]] };
    case 'speakers':
      return speakers(before, input.speakers);
    case 'audioSlots':
      return { snapshot: { ...before, audioSlots: input.slots }, told: [] };
    case 'qualityChanged':
      return input.qualities.reduce<Step>(
        (step, one) => {
          const snapshot = edit(step.snapshot, one.participant, (who) => ({ ...who, quality: one.quality }));
          const who = find(snapshot, one.participant);
          return { snapshot, told: who === undefined ? step.told : [...step.told, ['quality', who, one.quality]] };
        },
        { snapshot: before, told: [] },
      );
    case 'transportChanged':
      return { snapshot: { ...before, transport: input.transport }, told: [] };
    default:
      // `layersWatched`, `dataReceived` and `ended` are no state; what a later server says besides is ignored.
      return { snapshot: before, told: [] };
  }
}

const NO_BOUNDS: PublicationSnapshot['bounds'] = { paused: false };

/** Anybody in the room, ourselves too. */
export function find(snapshot: RoomSnapshot, id: string): ParticipantSnapshot | undefined {
  return snapshot.local?.id === id ? snapshot.local : snapshot.remotes.find((one) => one.id === id);
}

/** A publication and whose it is. */
export function findPublication(
  snapshot: RoomSnapshot,
  id: string,
): readonly [PublicationSnapshot, ParticipantSnapshot] | undefined {
  for (const who of snapshot.local === undefined ? snapshot.remotes : [snapshot.local, ...snapshot.remotes]) {
    const found = who.publications.find((one) => one.id === id);
    if (found !== undefined) return [found, who];
  }
  return undefined;
}

function status(before: RoomSnapshot, now: RoomStatus, error: IonError | undefined): Step {
  if (before.status === now) return { snapshot: before, told: [] };
  const told: Told[] = [['status', now]];
  if (now === 'reconnecting') told.push(['reconnecting']);
  if (before.status === 'reconnecting' && now === 'connected') told.push(['reconnected']);
  if (now === 'closed') told.push(['closed', error]);
  return { snapshot: { ...before, status: now, error }, told };
}

function everything(before: RoomSnapshot, now: Snapshot, cause: RoomCause): Step {
  const snapshot = subscribed(
    {
      ...before,
      room: now.room,
      permissions: now.permissions,
      local: made(now.me, true, before.local),
      remotes: now.participants.map((one) => made(one, false, find(before, one.id))),
      speakers: before.speakers.filter((id) => id === now.me.id || now.participants.some((one) => one.id === id)),
      audioSlots: now.audioSlots ?? [],
      transport: now.transport,
    },
    now.subscriptions,
  );
  const told: Told[] = [];
  const reason: ErrorReason = cause === 'moved' ? 'moved' : 'left';
  for (const one of before.remotes) {
    const after = find(snapshot, one.id);
    for (const gone of one.publications) {
      if (after?.publications.some(({ id }) => id === gone.id) !== true) told.push(...goneTold(gone, one));
    }
    if (after === undefined) told.push(['participantLeft', one, reason]);
  }
  if (cause === 'moved') told.push(['moved', now.room]);
  if (cause === 'admitted') told.push(['admitted', now.room]);
  for (const one of snapshot.remotes) {
    const earlier = find(before, one.id);
    if (earlier === undefined) told.push(['participantJoined', one]);
    for (const fresh of one.publications) {
      if (earlier?.publications.some(({ id }) => id === fresh.id) !== true) told.push(['published', fresh, one]);
    }
  }
  return { snapshot, told };
}

function participant(before: RoomSnapshot, info: ParticipantInfo): Step {
  const earlier = find(before, info.id);
  const now = made(info, before.local?.id === info.id, earlier);
  if (earlier === undefined) {
    const snapshot = { ...before, remotes: [...before.remotes, now] };
    const told: Told[] = [['participantJoined', now]];
    for (const one of now.publications) told.push(['published', one, now]);
    return { snapshot, told };
  }
  return { snapshot: edit(before, info.id, () => now), told: [['participantUpdated', now]] };
}

function left(before: RoomSnapshot, id: string, reason: ErrorReason): Step {
  const who = find(before, id);
  if (who === undefined || who.local) return { snapshot: before, told: [] };
  const snapshot = {
    ...before,
    remotes: before.remotes.filter((one) => one !== who),
    speakers: before.speakers.filter((one) => one !== id),
  };
  return { snapshot, told: [...who.publications.flatMap((one) => goneTold(one, who)), ['participantLeft', who, reason]] };
}

function publication(before: RoomSnapshot, info: PublicationInfo, ownTrack: MediaStreamTrack | undefined): Step {
  const earlier = findPublication(before, info.id)?.[0];
  const snapshot = edit(before, info.participant, (who) => {
    const now = publicationOf(info, who.local, earlier, ownTrack);
    return { ...who, publications: earlier === undefined ? [...who.publications, now] : who.publications.map((one) => (one === earlier ? now : one)) };
  });
  const found = findPublication(snapshot, info.id);
  if (found === undefined) return { snapshot, told: [] };
  return { snapshot, told: [[earlier === undefined ? 'published' : 'publicationUpdated', ...found]] };
}

function unpublished(before: RoomSnapshot, participantId: string, id: string): Step {
  const found = findPublication(before, id);
  if (found === undefined) return { snapshot: before, told: [] };
  const [gone, who] = found;
  const snapshot = edit(before, participantId, (one) => ({
    ...one,
    publications: one.publications.filter((other) => other !== gone),
  }));
  return { snapshot, told: goneTold(gone, who) };
}

function goneTold(gone: PublicationSnapshot, who: ParticipantSnapshot): Told[] {
  const told: Told[] = [];
  if (gone.track !== undefined && !gone.local) told.push(['trackUnsubscribed', gone.track, gone, who]);
  told.push(['unpublished', gone, who]);
  return told;
}

function track(before: RoomSnapshot, id: string, now: MediaStreamTrack | undefined): Step {
  const found = findPublication(before, id);
  if (found === undefined || found[0].track === now) return { snapshot: before, told: [] };
  const [earlier, owner] = found;
  const snapshot = edit(before, owner.id, (who) => ({
    ...who,
    publications: who.publications.map((one) => (one === earlier ? { ...one, track: now } : one)),
  }));
  const after = findPublication(snapshot, id);
  if (after === undefined || earlier.local) return { snapshot, told: [] };
  const told: Told[] = [];
  if (earlier.track !== undefined) told.push(['trackUnsubscribed', earlier.track, ...after]);
  if (now !== undefined) told.push(['trackSubscribed', now, ...after]);
  return { snapshot, told };
}

/** Notes what the server sends, by its complete list. */
function subscribed(before: RoomSnapshot, list: readonly SubscriptionInfo[]): RoomSnapshot {
  const byId = new Map(list.map((one) => [one.publication, one]));
  const remotes = before.remotes.map((who) => {
    const publications = who.publications.map((one) => {
      const now = byId.get(one.id);
      const rule = now?.rule ?? 'free';
      const same = one.subscribed === (now !== undefined) && one.rule === rule && JSON.stringify(one.bounds) === JSON.stringify(now?.bounds ?? NO_BOUNDS);
      return same ? one : { ...one, subscribed: now !== undefined, rule, bounds: now?.bounds ?? NO_BOUNDS };
    });
    return publications.every((one, at) => one === who.publications[at]) ? who : { ...who, publications };
  });
  return remotes.every((one, at) => one === before.remotes[at]) ? before : { ...before, remotes };
}

function speakers(before: RoomSnapshot, now: readonly Speaker[]): Step {
  const levels = new Map(now.map((one) => [one.participant, loudness(one.level)]));
  const heard = (who: ParticipantSnapshot): ParticipantSnapshot => {
    const audioLevel = levels.get(who.id) ?? 0;
    const speaking = levels.has(who.id);
    return who.audioLevel === audioLevel && who.speaking === speaking ? who : { ...who, audioLevel, speaking };
  };
  const snapshot = {
    ...before,
    local: before.local === undefined ? undefined : heard(before.local),
    remotes: before.remotes.map(heard),
    speakers: now.map((one) => one.participant),
  };
  const who = snapshot.speakers.flatMap((id) => find(snapshot, id) ?? []);
  return { snapshot, told: [['speakers', who]] };
}

/** -dBov (RFC 6464) as an amplitude: 0 is 1, 127 is silence. */
function loudness(level: number): number {
  return level >= 127 ? 0 : 10 ** (-level / 20);
}

function edit(before: RoomSnapshot, id: string, change: (who: ParticipantSnapshot) => ParticipantSnapshot): RoomSnapshot {
  if (before.local?.id === id) return { ...before, local: change(before.local) };
  if (!before.remotes.some((one) => one.id === id)) return before;
  return { ...before, remotes: before.remotes.map((one) => (one.id === id ? change(one) : one)) };
}

function made(info: ParticipantInfo, local: boolean, earlier: ParticipantSnapshot | undefined): ParticipantSnapshot {
  const { publications, ...rest } = info;
  return {
    ...rest,
    local,
    speaking: earlier?.speaking ?? false,
    audioLevel: earlier?.audioLevel ?? 0,
    quality: info.quality ?? earlier?.quality ?? 'unknown',
    publications: publications.map((one) => publicationOf(one, local, earlier?.publications.find(({ id }) => id === one.id), undefined)),
  };
}

function publicationOf(
  info: PublicationInfo,
  local: boolean,
  earlier: PublicationSnapshot | undefined,
  ownTrack: MediaStreamTrack | undefined,
): PublicationSnapshot {
  return {
    ...info,
    local,
    track: ownTrack ?? earlier?.track,
    subscribed: earlier?.subscribed ?? false,
    bounds: earlier?.bounds ?? NO_BOUNDS,
    rule: earlier?.rule ?? 'free',
  };
}
