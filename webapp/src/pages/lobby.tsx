import type { RoomSnapshot } from '@ion-sfu/sdk';
import { type ReactNode, type SubmitEvent, useEffect, useMemo, useState } from 'react';
import { takesGuests } from '../api';
import { explain, wantsToken } from '../errors';
import { useSaved, useStream } from '../hooks';
import { useDevices, useLevel } from '../media/devices';
import { usePreview } from '../media/preview';
import { type TokenClaims, claimsOf, savedToken } from '../token';
import { Button, IconButton } from '../ui/button';
import { DeviceSelect } from '../ui/devices';
import { Alert, TextField, TokenField } from '../ui/field';
import { Meter } from '../ui/meter';
import player from '../ui/player.module.css';
import { Shell } from '../ui/shell';
import style from './lobby.module.css';

export interface JoinChoice {
  readonly name: string;
  readonly token: string;
  readonly camera: string;
  readonly microphone: string;
  readonly withCamera: boolean;
  readonly withMicrophone: boolean;
}

interface Props {
  readonly room: string;
  /** How the call before ended. */
  readonly ended: RoomSnapshot | undefined;
  readonly join: (choice: JoinChoice) => Promise<void>;
}

/** Whether to ask for a token: not where guests are taken, until one is refused. */
function useAsksForToken(refused: boolean): boolean {
  const [takes, setTakes] = useState(true);
  useEffect(() => {
    const ending = new AbortController();
    takesGuests(ending.signal).then(setTakes, () => undefined);
    return () => {
      ending.abort();
    };
  }, []);
  return !takes || refused;
}

function titleOf(room: string, ended: RoomSnapshot | undefined): string {
  if (ended === undefined) return `Join ${room}`;
  return ended.error === undefined ? `You left ${room}` : `You are not in ${room} any more`;
}

function hintOf(claims: TokenClaims | undefined, room: string): string | undefined {
  return claims === undefined || claims.room === '' || claims.room === room ? undefined : `This token is for the room ${claims.room}.`;
}

/** Looks at oneself, chooses devices and a name, and joins. */
export function Lobby({ room, ended, join }: Props): ReactNode {
  const [name, setName] = useSaved('ion.name', '');
  const [camera, setCamera] = useSaved('ion.camera', '');
  const [microphone, setMicrophone] = useSaved('ion.microphone', '');
  const [withCamera, setWithCamera] = useState(true);
  const [withMicrophone, setWithMicrophone] = useState(true);
  const [token, setToken] = useState(savedToken);
  const [isJoining, setIsJoining] = useState(false);
  const [error, setError] = useState<unknown>(ended?.error);
  const asksForToken = useAsksForToken(wantsToken(error)) || token !== '';
  const claims = claimsOf(token);

  // The call opens the devices for itself: the preview lets go of them before.
  const picture = usePreview('camera', camera, withCamera && !isJoining);
  const sound = usePreview('microphone', microphone, withMicrophone && !isJoining);
  const devices = useDevices(picture.track !== undefined || sound.track !== undefined);
  const stream = useMemo(() => (picture.track === undefined ? undefined : new MediaStream([picture.track])), [picture.track]);
  const video = useStream(stream);
  const level = useLevel(sound.track);

  // A token that names its holder, and does not let them change it, has the last word.
  const isNamed = claims !== undefined && claims.name !== '' && !claims.mayRename;
  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    setIsJoining(true);
    setError(undefined);
    const choice = { name: isNamed ? '' : name.trim(), token, camera, microphone, withCamera, withMicrophone };
    join(choice).catch((reason: unknown) => {
      setError(reason);
      setIsJoining(false);
    });
  };

  const deviceError: unknown = picture.error ?? sound.error;
  return (
    <Shell title={titleOf(room, ended)}>
      <div className={player['columns']}>
        <div className={`${player['stage']} ${player['mirrored']}`}>
          <video ref={video} aria-label="Your camera" autoPlay playsInline muted />
          {stream === undefined && (
            <div className={player['notice']}>{withCamera ? 'The camera starts…' : 'Your camera is off.'}</div>
          )}
          <div className={style['bar']}>
            <IconButton
              icon={withMicrophone ? 'mic' : 'micOff'}
              kind={withMicrophone ? 'plain' : 'off'}
              label={withMicrophone ? 'Turn the microphone off' : 'Turn the microphone on'}
              onClick={() => {
                setWithMicrophone(!withMicrophone);
              }}
            />
            <IconButton
              icon={withCamera ? 'camera' : 'cameraOff'}
              kind={withCamera ? 'plain' : 'off'}
              label={withCamera ? 'Turn the camera off' : 'Turn the camera on'}
              onClick={() => {
                setWithCamera(!withCamera);
              }}
            />
          </div>
        </div>
        <form className={player['side']} onSubmit={submit} aria-label={`Join ${room}`}>
          {isNamed ? (
            <p>
              You join as <strong>{claims.name}</strong>.
            </p>
          ) : (
            <TextField
              label="Your name"
              autoComplete="name"
              maxLength={64}
              value={name}
              onChange={(event) => {
                setName(event.target.value);
              }}
            />
          )}
          {asksForToken && <TokenField value={token} onChange={setToken} hint={hintOf(claims, room)} />}
          <DeviceSelect kind="videoinput" devices={devices} value={camera} onChange={setCamera} />
          <div className={style['sound']}>
            <DeviceSelect kind="audioinput" devices={devices} value={microphone} onChange={setMicrophone} />
            <Meter label="Level of the microphone" value={level} />
          </div>
          <Button type="submit" kind="primary" disabled={isJoining}>
            {isJoining ? 'Joining…' : ended === undefined ? 'Join' : 'Join again'}
          </Button>
          {error !== undefined && <Alert>{explain(error)}</Alert>}
          {deviceError !== undefined && <Alert>{explain(deviceError)} You can join without it.</Alert>}
        </form>
      </div>
    </Shell>
  );
}
