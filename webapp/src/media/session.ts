// A WHIP or WHEP session as React sees it: started and stopped by the user, watched while it runs.
import { type ConnectionStats, type HttpSession, type HttpSessionState, StatsMeter } from '@ion-sfu/sdk';
import { useCallback, useEffect, useRef, useState } from 'react';
import { isAborted } from '../errors';
import { useInterval } from '../hooks';

export type Phase = 'idle' | 'starting' | 'waiting' | HttpSessionState;

export interface Running {
  readonly session: HttpSession;
  readonly stream: MediaStream;
}

/** Opens a session. `waiting` is called when the server asks to wait. */
export type Open = (options: { signal: AbortSignal; waiting: () => void }) => Promise<Running>;

export interface MediaSession {
  readonly phase: Phase;
  readonly stream: MediaStream | undefined;
  readonly stats: ConnectionStats | undefined;
  readonly error: unknown;
  readonly start: (open: Open) => void;
  readonly stop: () => void;
}

/** One session at a time; the last one ends with the page. */
export function useMediaSession(): MediaSession {
  const [phase, setPhase] = useState<Phase>('idle');
  const [running, setRunning] = useState<Running>();
  const [stats, setStats] = useState<ConnectionStats>();
  const [error, setError] = useState<unknown>();
  const ending = useRef<AbortController>(undefined);

  const stop = useCallback(() => {
    ending.current?.abort();
    ending.current = undefined;
    setPhase('idle');
    setRunning(undefined);
    setStats(undefined);
  }, []);

  const start = useCallback(
    (open: Open) => {
      stop();
      const controller = new AbortController();
      const { signal } = controller;
      ending.current = controller;
      setError(undefined);
      setPhase('starting');
      const failed = (reason: unknown): void => {
        if (ending.current !== controller) return;
        stop();
        if (!isAborted(reason)) setError(reason);
      };
      open({
        signal,
        waiting: () => {
          if (!signal.aborted) setPhase('waiting');
        },
      }).then((opened) => {
        const { session } = opened;
        if (signal.aborted) {
          void session.close();
          return;
        }
        signal.addEventListener('abort', () => void session.close());
        session.on('state', (state) => {
          if (!signal.aborted) setPhase(state);
        });
        session.on('close', (reason) => {
          failed(reason);
        });
        setPhase(session.state);
        setRunning(opened);
      }, failed);
    },
    [stop],
  );

  useEffect(() => {
    // Sends the DELETE also where the whole page is left.
    const end = (): void => ending.current?.abort();
    globalThis.addEventListener('pagehide', end);
    return () => {
      globalThis.removeEventListener('pagehide', end);
      end();
    };
  }, []);

  const meter = useRef(new StatsMeter());
  const session = running?.session;
  useEffect(() => {
    meter.current = new StatsMeter();
  }, [session]);
  useInterval(
    () => {
      void session?.pc.getStats().then((report) => {
        setStats(meter.current.update(report));
      });
    },
    session === undefined ? undefined : 1000,
  );

  return { phase, stream: running?.stream, stats: running === undefined ? undefined : stats, error, start, stop };
}
