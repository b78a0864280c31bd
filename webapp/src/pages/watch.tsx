import { playWhep } from '@ion-sfu/sdk';
import { type ReactNode, useCallback, useEffect, useState } from 'react';
import { explain, wantsToken } from '../errors';
import { useStream } from '../hooks';
import { type Phase, useMediaSession } from '../media/session';
import { pathOf } from '../router';
import { figuresOf } from '../stats';
import { saveToken, savedToken } from '../token';
import { Button } from '../ui/button';
import { Alert, TokenField } from '../ui/field';
import { Figures } from '../ui/figures';
import { Link } from '../ui/link';
import style from '../ui/player.module.css';
import { Shell } from '../ui/shell';

const WORDS: Record<Phase, string> = {
  idle: 'Stopped.',
  starting: 'Connecting…',
  connecting: 'Connecting…',
  waiting: 'Nobody publishes yet. It starts by itself.',
  connected: 'Playing.',
  disconnected: 'The connection was lost. Connecting again…',
  closed: 'The stream has ended.',
};

/** Plays what a room's first publisher shows, over WHEP. */
export default function Watch({ room }: { room: string }): ReactNode {
  const { phase, stream, stats, error, start, stop } = useMediaSession();
  const [token, setToken] = useState(savedToken);
  const [muted, setMuted] = useState(true);
  const video = useStream(stream);

  const play = useCallback(
    (withToken: string) => {
      saveToken(withToken);
      start(({ signal, waiting }) => playWhep(`/whep/${encodeURIComponent(room)}`, { token: withToken, signal, onRetry: waiting }));
    },
    [room, start],
  );
  useEffect(() => {
    play(savedToken());
    return stop;
  }, [play, stop]);

  const isPlaying = phase === 'connected';
  return (
    <Shell title={`Watch ${room}`}>
      <div className={style['columns']}>
        <div className={style['side']}>
          <div className={style['stage']}>
            <video ref={video} aria-label={`What ${room} shows`} autoPlay playsInline muted={muted} controls={isPlaying} />
            {isPlaying ? <span className={style['live']}>Live</span> : <div className={style['notice']}>{WORDS[phase]}</div>}
          </div>
          <p role="status" className="unseen">
            {WORDS[phase]}
          </p>
          <div className={style['row']}>
            {phase === 'idle' || phase === 'closed' ? (
              <Button
                kind="primary"
                onClick={() => {
                  play(token);
                }}
              >
                Play
              </Button>
            ) : (
              <Button onClick={stop}>Stop</Button>
            )}
            <Button
              icon={muted ? 'soundOff' : 'sound'}
              onClick={() => {
                setMuted(!muted);
              }}
            >
              {muted ? 'Turn the sound on' : 'Turn the sound off'}
            </Button>
            <Link to={pathOf({ page: 'room', room })}>Join the room instead</Link>
          </div>
          {error !== undefined && <Alert>{explain(error)}</Alert>}
          {(wantsToken(error) || token !== '') && !isPlaying && <TokenField value={token} onChange={setToken} />}
        </div>
        <aside className={style['side']} aria-label="Statistics">
          {stats !== undefined && <Figures label="Statistics" figures={figuresOf(stats, 'received')} />}
          <p className={style['note']}>
            Any WHEP player plays this too: <code>{new URL(`/whep/${encodeURIComponent(room)}`, location.href).href}</code>
          </p>
        </aside>
      </div>
    </Shell>
  );
}
