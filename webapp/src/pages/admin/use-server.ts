// Looks at the server again and again, while the page is seen.
import { HttpError } from '@ion-sfu/sdk';
import { useCallback, useEffect, useState } from 'react';
import { type ParticipantInfo, type RoomInfo, type Status, type TrackInfo, read } from '../../api';
import { isAborted } from '../../errors';
import { LOOK_MS, type Losses, NO_LOSSES, NO_RATES, type Rates, type Tracks, addLosses, addRates, totals } from './history';

/** Participants whose tracks are asked for, each with a request of its own. */
const MOST_ASKED = 40;

export interface Look {
  readonly status: Status;
  readonly rooms: readonly RoomInfo[];
  readonly rates: Rates;
}

export interface RoomLook {
  /** When, seconds since the Unix epoch. */
  readonly atS: number;
  readonly participants: readonly ParticipantInfo[];
  readonly tracks: Tracks;
  readonly rates: Rates;
  readonly losses: Losses;
}

export interface Seen<Value> {
  readonly value: Value | undefined;
  readonly error: unknown;
}

/** Calls `look` with what it gave before, again and again; not while the page is hidden. */
function useLooks<Value>(look: ((before: Value | undefined, signal: AbortSignal) => Promise<Value>) | undefined): Seen<Value> {
  const [seen, setSeen] = useState<Seen<Value>>({ value: undefined, error: undefined });
  useEffect(() => {
    if (look === undefined) return undefined;
    const ending = new AbortController();
    const { signal } = ending;
    let value: Value | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = async (): Promise<void> => {
      try {
        if (!document.hidden || value === undefined) value = await look(value, signal);
        if (!signal.aborted) setSeen({ value, error: undefined });
      } catch (error) {
        if (isAborted(error) || signal.aborted) return;
        setSeen({ value, error });
        // A refused token stays refused.
        if (error instanceof HttpError && (error.status === 401 || error.status === 403)) return;
      }
      timer = setTimeout(() => void again(), LOOK_MS);
    };
    void again();
    return () => {
      ending.abort();
      clearTimeout(timer);
      setSeen({ value: undefined, error: undefined });
    };
  }, [look]);
  return seen;
}

/** The server and its rooms. */
export function useServer(token: string): Seen<Look> {
  const look = useCallback(
    async (before: Look | undefined, signal: AbortSignal): Promise<Look> => {
      const [status, { rooms }] = await Promise.all([read.status(token, signal), read.rooms(token, signal)]);
      return { status, rooms, rates: addRates(before?.rates ?? NO_RATES, totals(status)) };
    },
    [token],
  );
  return useLooks(look);
}

/** One room: who is in it, and what flows. */
export function useRoomLook(token: string, room: string): Seen<RoomLook> {
  const look = useCallback(
    async (before: RoomLook | undefined, signal: AbortSignal): Promise<RoomLook> => {
      const { participants } = await read.participants(token, room, signal);
      const tracks = await tracksOf(token, room, participants, signal);
      const [receivedBps, sentBps] = [sum(participants, 'receivedBps'), sum(participants, 'sentBps')];
      return {
        atS: Date.now() / 1000,
        participants,
        tracks,
        rates: addRates(before?.rates ?? NO_RATES, { receivedBps, sentBps }),
        losses: before === undefined ? NO_LOSSES : addLosses(before.losses, before.tracks, tracks),
      };
    },
    [token, room],
  );
  return useLooks(look);
}

async function tracksOf(token: string, room: string, participants: readonly ParticipantInfo[], signal: AbortSignal): Promise<Tracks> {
  const identities = [...new Set(participants.map(({ identity }) => identity))].slice(0, MOST_ASKED);
  const lists = await Promise.all(
    identities.map(async (identity) => {
      // Who left meanwhile has none.
      const { tracks } = await read.tracks(token, room, identity, signal).catch((error: unknown) => {
        if (error instanceof HttpError && error.status === 404) return { tracks: [] as readonly TrackInfo[] };
        throw error;
      });
      return tracks.map((track) => [`${identity} ${track.direction} ${track.id}`, track] as const);
    }),
  );
  return new Map(lists.flat());
}

function sum(participants: readonly ParticipantInfo[], rate: 'receivedBps' | 'sentBps'): number {
  return participants.reduce((total, one) => total + one[rate], 0);
}
