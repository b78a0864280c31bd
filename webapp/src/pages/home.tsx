import { type ReactNode, type SubmitEvent, useState } from 'react';
import { navigate, pathOf } from '../router';
import { Button } from '../ui/button';
import { TextField } from '../ui/field';
import { Shell } from '../ui/shell';
import style from './home.module.css';

const WAYS = [
  { page: 'room', action: 'Join a call', about: 'See and hear everybody in the room.' },
  { page: 'broadcast', action: 'Broadcast', about: 'Send a camera or a screen, over WHIP.' },
  { page: 'watch', action: 'Watch', about: 'Play what a room shows, over WHEP.' },
] as const;

/** Which room, and what to do there. */
export default function Home(): ReactNode {
  const [room, setRoom] = useState('');
  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const { submitter } = event.nativeEvent;
    const page = submitter instanceof HTMLButtonElement ? submitter.value : '';
    navigate(pathOf({ page: WAYS.find((way) => way.page === page)?.page ?? 'room', room: room.trim() }));
  };
  return (
    <Shell title="Calls and streams, straight from your own server" lead="Name a room. Whoever uses the same name is in the same room.">
      <form onSubmit={submit} className={style['form']}>
        <TextField
          label="Room"
          name="room"
          required
          maxLength={128}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          pattern="\s*[A-Za-z0-9_.~@:+=\|\-]+\s*"
          title="Letters, digits and _ . ~ @ : + = | -"
          placeholder="daily-standup"
          value={room}
          onChange={(event) => {
            setRoom(event.target.value);
          }}
        />
        <ul className={style['ways']}>
          {WAYS.map(({ page, action, about }) => (
            <li key={page}>
              <p>{about}</p>
              <Button type="submit" value={page} kind={page === 'room' ? 'primary' : 'plain'}>
                {action}
              </Button>
            </li>
          ))}
        </ul>
      </form>
    </Shell>
  );
}
