// What a call's page keeps beside the room's own state: notices, chat, statistics, who spoke last.
import type { DataMessage, ParticipantId, ParticipantSnapshot, Room, RoomSnapshot, RoomStats } from '@ion-sfu/sdk';
import { type Dispatch, useCallback, useEffect, useReducer, useRef, useState, useSyncExternalStore } from 'react';
import { explain } from '../../errors';
import { pathOf, rename } from '../../router';
import { CHAT_TOPIC, type Chat, type ChatInput, NO_CHAT, chatReducer } from './chat';
import { handOf, nameOf } from './tiles';

export interface Notice {
  readonly id: number;
  readonly text: string;
  readonly isError: boolean;
}

const NOTICE_MS = 6000;
const MOST_NOTICES = 3;

/** The room, rendered again whenever it changes. */
export function useRoom(room: Room): RoomSnapshot {
  return useSyncExternalStore(room.subscribe, room.getSnapshot);
}

export interface Notices {
  readonly notices: readonly Notice[];
  readonly say: (text: string) => void;
  readonly fail: (error: unknown) => void;
}

/** Short messages that go by themselves. */
export function useNotices(): Notices {
  const [notices, setNotices] = useState<readonly Notice[]>([]);
  const last = useRef(0);
  const add = useCallback((text: string, isError: boolean) => {
    last.current += 1;
    const id = last.current;
    setNotices((before) => [...before, { id, text, isError }].slice(-MOST_NOTICES));
    setTimeout(() => {
      setNotices((before) => before.filter((one) => one.id !== id));
    }, NOTICE_MS);
  }, []);
  const say = useCallback(
    (text: string) => {
      add(text, false);
    },
    [add],
  );
  const fail = useCallback(
    (error: unknown) => {
      add(explain(error), true);
    },
    [add],
  );
  return { notices, say, fail };
}

/** Tells of what happens in the room. */
export function useEvents(room: Room, { say, fail }: Notices): void {
  useEffect(() => {
    const ending = new AbortController();
    const { signal } = ending;
    const hands = new Set<ParticipantId>();
    room.on('participantJoined', (one) => {
      if (one.kind !== 'whep') say(one.state === 'lobby' ? `${nameOf(one)} waits to be let in.` : `${nameOf(one)} joined.`);
    }, { signal });
    room.on('participantLeft', (one) => {
      if (one.kind !== 'whep') say(`${nameOf(one)} left.`);
    }, { signal });
    room.on('participantUpdated', (one) => {
      const isUp = handOf(one) !== undefined;
      if (isUp && !hands.has(one.id) && !one.local) say(`${nameOf(one)} raised a hand.`);
      if (isUp) hands.add(one.id);
      else hands.delete(one.id);
    }, { signal });
    room.on('admitted', () => {
      say('You were let in.');
    }, { signal });
    room.on('moved', ({ name }) => {
      rename(pathOf({ page: 'room', room: name }));
      say(`You were moved to ${name}.`);
    }, { signal });
    room.on('reconnected', () => {
      say('Connected again.');
    }, { signal });
    room.on('error', fail, { signal });
    room.on('subscriptionFailed', (_publication, error) => {
      fail(error);
    }, { signal });
    return () => {
      ending.abort();
    };
  }, [room, say, fail]);
}

/** The room's chat, and the way to write to it. */
export function useChat(room: Room, { say, fail }: Notices): { chat: Chat; tell: Dispatch<ChatInput>; send: (text: string) => Promise<boolean> } {
  const [chat, tell] = useReducer(chatReducer, NO_CHAT);
  const { isOpen } = chat;
  useEffect(
    () =>
      room.on('data', ({ topic, payload, from }: DataMessage) => {
        if (topic !== CHAT_TOPIC) return;
        const name = from === undefined ? 'The server' : nameOf(from);
        const text = new TextDecoder().decode(payload);
        tell({ type: 'message', from: name, own: false, text, atMs: Date.now() });
        if (!isOpen) say(`${name}: ${text.slice(0, 120)}`);
      }),
    [room, say, isOpen],
  );
  const send = async (text: string): Promise<boolean> => {
    try {
      await room.local.sendData(text, { topic: CHAT_TOPIC });
      tell({ type: 'message', from: 'You', own: true, text, atMs: Date.now() });
      return true;
    } catch (error) {
      fail(error);
      return false;
    }
  };
  return { chat, tell, send };
}

/** Rates of the connection, each two seconds. */
export function useStats(room: Room): RoomStats | undefined {
  const [stats, setStats] = useState<RoomStats>();
  useEffect(() => room.on('stats', setStats), [room]);
  return stats;
}

/** Who speaks, or spoke last, of the others. */
export function useLastSpeaker(room: Room): ParticipantId | undefined {
  const [speaker, setSpeaker] = useState<ParticipantId>();
  useEffect(
    () =>
      room.on('speakers', (speakers: readonly ParticipantSnapshot[]) => {
        const loudest = speakers.find(({ local }) => !local);
        if (loudest !== undefined) setSpeaker(loudest.id);
      }),
    [room],
  );
  return speaker;
}

/** Leaves when the call's page is left; not when React only mounts it again. */
export function useLeaveAtEnd(room: Room): void {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    clearTimeout(timer.current);
    return () => {
      timer.current = setTimeout(() => {
        void room.leave().catch(() => undefined);
      }, 0);
    };
  }, [room]);
}
