import { describe, expect, it } from 'vitest';
import { boundsOf, needed, settleMs } from '../src/room/bounds.js';
import { decodeData, encodeData, fromBase64, toBase64 } from '../src/room/data.js';
import { fallbackFor, parseCannotDecode } from '../src/room/fallback.js';
import { type RoomInput, type Told, find, findPublication, reduce } from '../src/room/reduce.js';
import { SlotTracks } from '../src/room/slots.js';
import { NO_ROOM, type RoomSnapshot } from '../src/room/snapshot.js';
import type { ParticipantInfo, PublicationInfo, Snapshot } from '../src/wire/signal.js';

function publication(id: string, participant: string, more: Partial<PublicationInfo> = {}): PublicationInfo {
  return {
    id,
    participant,
    kind: 'video',
    source: 'camera',
    name: '',
    codec: 'VP8',
    layers: [],
    scalabilityMode: '',
    encrypted: false,
    muted: false,
    paused: false,
    stream: 'av',
    version: 1,
    ...more,
  };
}

function participant(id: string, publications: PublicationInfo[] = []): ParticipantInfo {
  return {
    id,
    identity: id.toLowerCase(),
    name: '',
    kind: 'sdk',
    state: 'active',
    version: 1,
    metadata: '',
    attributes: {},
    joinedAtS: 0,
    isAdmin: false,
    publications,
  };
}

function wire(room: string, others: ParticipantInfo[]): Snapshot {
  const { permissions } = NO_ROOM;
  return {
    room: { name: room, metadata: '', attributes: {}, version: 1, lobby: false },
    me: participant('PA_1'),
    permissions: { ...permissions, canPublish: true, canPublishSources: [] },
    participants: others,
    subscriptions: [],
  };
}

/** Takes inputs one after the other. */
function run(...inputs: RoomInput[]): { snapshot: RoomSnapshot; told: Told[] } {
  let snapshot = NO_ROOM;
  const told: Told[] = [];
  for (const input of inputs) {
    const step = reduce(snapshot, input);
    snapshot = step.snapshot;
    told.push(...step.told);
  }
  return { snapshot, told };
}

const names = (told: readonly Told[]): string[] => told.map(([name]) => name);
const joined = (...others: ParticipantInfo[]): RoomInput => ({ type: 'joined', snapshot: wire('r', others) });
const track = { id: 't' } as MediaStreamTrack;

describe('the state of a room', () => {
  it('begins with who is there', () => {
    const { snapshot, told } = run(joined(participant('PA_2', [publication('PB_1', 'PA_2')]), participant('PA_3')));
    expect(snapshot.local).toMatchObject({ id: 'PA_1', local: true });
    expect(snapshot.remotes.map(({ id }) => id)).toEqual(['PA_2', 'PA_3']);
    expect(names(told)).toEqual(['participantJoined', 'published', 'participantJoined']);
  });

  it('follows arrivals, publications, tracks and departures, and tells of each', () => {
    const { snapshot, told } = run(
      joined(),
      { type: 'participantJoined', participant: participant('PA_2') },
      { type: 'published', publication: publication('PB_1', 'PA_2') },
      { type: 'subscriptions', subscriptions: [{ publication: 'PB_1', bounds: { paused: false }, rule: 'free' }] },
      { type: 'track', publication: 'PB_1', track },
      { type: 'publicationUpdated', publication: publication('PB_1', 'PA_2', { muted: true, version: 2 }) },
    );
    expect(names(told)).toEqual(['participantJoined', 'published', 'trackSubscribed', 'publicationUpdated']);
    expect(findPublication(snapshot, 'PB_1')?.[0]).toMatchObject({ muted: true, subscribed: true, track });
    const gone = reduce(snapshot, { type: 'participantLeft', participant: 'PA_2', reason: 'kicked' });
    expect(names(gone.told)).toEqual(['trackUnsubscribed', 'unpublished', 'participantLeft']);
    expect(gone.told.at(-1)).toMatchObject(['participantLeft', { id: 'PA_2' }, 'kicked']);
    expect(gone.snapshot.remotes).toEqual([]);
  });

  it('keeps what has not changed as the same object', () => {
    const { snapshot } = run(joined(participant('PA_2'), participant('PA_3')));
    const { snapshot: after } = reduce(snapshot, { type: 'qualityChanged', qualities: [{ participant: 'PA_3', quality: 'poor' }] });
    expect(after).not.toBe(snapshot);
    expect(find(after, 'PA_2')).toBe(find(snapshot, 'PA_2'));
    expect(find(after, 'PA_3')?.quality).toBe('poor');
    const { snapshot: same } = reduce(after, { type: 'subscriptions', subscriptions: [] });
    expect(same).toBe(after);
  });

  it('tells of a move as departures, the move, and arrivals; who came along stays', () => {
    const { snapshot } = run(joined(participant('PA_2', [publication('PB_1', 'PA_2')]), participant('PA_3')));
    const moved = wire('other', [participant('PA_3'), participant('PA_4')]);
    const { snapshot: after, told } = reduce(snapshot, { type: 'room', cause: 'moved', snapshot: moved });
    expect(names(told)).toEqual(['unpublished', 'participantLeft', 'moved', 'participantJoined']);
    expect(told[1]).toMatchObject(['participantLeft', { id: 'PA_2' }, 'moved']);
    expect(after.room.name).toBe('other');
  });

  it('knows who speaks, and how loud', () => {
    const { snapshot, told } = run(
      joined(participant('PA_2'), participant('PA_3')),
      { type: 'speakers', speakers: [{ participant: 'PA_3', level: 20 }, { participant: 'PA_1', level: 127 }] },
    );
    expect(told.at(-1)).toMatchObject(['speakers', [{ id: 'PA_3' }, { id: 'PA_1' }]]);
    expect(find(snapshot, 'PA_3')?.audioLevel).toBeCloseTo(0.1);
    expect(snapshot.local).toMatchObject({ speaking: true, audioLevel: 0 });
    const { snapshot: silent } = reduce(snapshot, { type: 'speakers', speakers: [] });
    expect(find(silent, 'PA_3')).toMatchObject({ speaking: false, audioLevel: 0 });
  });

  it('tells reconnecting and reconnected once each, and says why it closed', () => {
    const { told } = run(
      joined(),
      { type: 'status', status: 'connected' },
      { type: 'status', status: 'reconnecting' },
      { type: 'status', status: 'reconnecting' },
      { type: 'status', status: 'connected' },
      { type: 'status', status: 'closed' },
    );
    expect(names(told)).toEqual(['status', 'status', 'reconnecting', 'status', 'reconnected', 'status', 'closed']);
  });

  it('ignores what is about nobody, and events of a later server', () => {
    const { snapshot } = run(joined());
    for (const input of [
      { type: 'unpublished', participant: 'PA_9', publication: 'PB_9' },
      { type: 'participantLeft', participant: 'PA_9', reason: 'left' },
      { type: 'published', publication: publication('PB_9', 'PA_9') },
      { type: 'track', publication: 'PB_9', track },
      { type: 'somethingNew' },
    ]) {
      expect(reduce(snapshot, input as RoomInput)).toEqual({ snapshot, told: [] });
    }
  });
});

describe('audio slots', () => {
  const of = (id: string) => ({ id }) as MediaStreamTrack;
  const all = (): boolean => true;

  it('give the publications that have one its track, and tell what has changed only', () => {
    const slots = new SlotTracks();
    slots.set('S1', of('one'));
    slots.set('S2', of('two'));
    const now = [{ publication: 'S1', source: 'A' }, { publication: 'S2' }];
    expect(slots.moves(now, all)).toEqual([['A', of('one')]]);
    expect(slots.moves(now, all)).toEqual([]);
    const next = [{ publication: 'S1', source: 'B' }, { publication: 'S2', source: 'A' }];
    expect(slots.moves(next, all)).toEqual([['B', of('one')], ['A', of('two')]]);
    slots.set('S2', undefined);
    expect(slots.moves(next, all)).toEqual([['A', undefined]]);
    expect(slots.moves(next, (id) => id !== 'B')).toEqual([]);
    slots.clear();
    expect(slots.moves(next, all)).toEqual([]);
  });

  it('are known with the room, and as they change', () => {
    const before = wire('r', []);
    const audioSlots = [{ publication: 'S1' }];
    const { snapshot } = run({ type: 'joined', snapshot: { ...before, audioSlots } });
    expect(snapshot.audioSlots).toEqual(audioSlots);
    const slots = [{ publication: 'S1', source: 'A' }];
    expect(reduce(snapshot, { type: 'audioSlots', slots }).snapshot.audioSlots).toBe(slots);
    expect(run(joined()).snapshot.audioSlots).toEqual([]);
  });
});

describe('what to ask for', () => {
  it('is the largest visible element', () => {
    expect(needed([])).toBeUndefined();
    const small = { width: 160, height: 90, visible: true };
    const large = { width: 640.3, height: 360.2, visible: true };
    expect(needed([small, large])).toEqual({ width: 640, height: 360, visible: true });
    expect(needed([small, { ...large, visible: false }])).toEqual(small);
    expect(needed([{ ...large, visible: false }])).toMatchObject({ visible: false });
    expect(needed([{ ...large, width: 0 }])).toMatchObject({ visible: false });
  });

  it('changes soon when more is needed, later when less is', () => {
    const small = { width: 160, height: 96, visible: true };
    const large = { width: 640, height: 368, visible: true };
    expect(settleMs(undefined, small)).toBe(0);
    expect(settleMs(large, small)).toBeGreaterThan(settleMs(small, large));
    expect(settleMs(small, { ...small, visible: false })).toBeGreaterThan(0);
    expect(settleMs({ ...small, visible: false }, small)).toBe(0);
  });

  it('joins what the app says with what is seen', () => {
    const seen = { width: 320, height: 192, visible: true };
    expect(boundsOf({}, undefined)).toEqual({ paused: false });
    expect(boundsOf({}, seen)).toEqual({ paused: false, width: 320, height: 192 });
    expect(boundsOf({}, { ...seen, visible: false })).toEqual({ paused: true });
    expect(boundsOf({ paused: true, priority: 200 }, seen)).toMatchObject({ paused: true, priority: 200 });
    expect(boundsOf({ width: 160, height: 400 }, seen)).toMatchObject({ width: 160, height: 192 });
    expect(boundsOf({ quality: 'low', maxTemporal: 1 }, undefined)).toEqual({ paused: false, maxSpatial: 0, maxTemporal: 1 });
    expect(boundsOf({ quality: 'high' }, undefined)).toEqual({ paused: false });
  });
});

describe('data messages', () => {
  it('come out as they went in', () => {
    const payload = new Uint8Array([0, 1, 255]);
    const decoded = decodeData(encodeData({ topic: 'chat', to: ['vera'], from: 'PA_1' }, payload).buffer);
    expect(decoded).toEqual({ header: { topic: 'chat', from: 'PA_1' }, payload });
    expect(fromBase64(toBase64(payload))).toEqual(payload);
  });

  it('that are none are ignored', () => {
    for (const bytes of [[], [0], [0, 9, 123], [0, 1, 123], [0, 4, 110, 117, 108, 108]]) {
      expect(decodeData(new Uint8Array(bytes).buffer)).toBeUndefined();
    }
    expect(fromBase64('*')).toHaveLength(0);
  });
});

describe('a codec that somebody lacks', () => {
  it('gives way to the backup, and to nothing else', () => {
    expect(fallbackFor('av1', 'vp8', ['vp8', 'vp9'])).toBe('vp8');
    expect(fallbackFor('av1', 'h264', ['vp8', 'vp9'])).toBeUndefined();
    expect(fallbackFor('av1', false, ['vp8'])).toBeUndefined();
    // It can be decoded, so that something else is wrong.
    expect(fallbackFor('av1', 'vp8', ['vp8', 'av1'])).toBeUndefined();
    expect(fallbackFor('vp8', 'vp8', [])).toBeUndefined();
  });

  it('is told in a message that bears nonsense', () => {
    const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
    expect(parseCannotDecode(bytes('{"publication":"PB_1","can":["vp8"]}'))).toEqual({ publication: 'PB_1', can: ['vp8'] });
    for (const text of ['', 'null', '[]', '{"publication":1,"can":[]}', '{"publication":"PB_1"}']) {
      expect(parseCannotDecode(bytes(text))).toBeUndefined();
    }
  });
});
