import type { ParticipantSnapshot, RoomSnapshot } from '@ion-sfu/sdk';
import { type ReactNode, type SubmitEvent, useId, useRef, useState } from 'react';
import { moderate } from '../../api';
import { Button, IconButton } from '../../ui/button';
import { TextField } from '../../ui/field';
import { Icon } from '../../ui/icon';
import { handOf, isSilent, nameOf, peopleOf, waitingOf } from './tiles';
import style from './panel.module.css';

interface Props {
  readonly snapshot: RoomSnapshot;
  readonly token: string;
  readonly fail: (error: unknown) => void;
}

interface OneProps extends Omit<Props, 'snapshot'> {
  readonly room: string;
  readonly person: ParticipantSnapshot;
}

/** What a moderator can do with somebody. */
function Moderation({ room, token, person, fail }: OneProps): ReactNode {
  const id = useId();
  const menu = useRef<HTMLDivElement>(null);
  const [target, setTarget] = useState('');
  const name = nameOf(person);
  const { identity } = person;
  const run = (action: Promise<unknown>): void => {
    menu.current?.hidePopover();
    action.catch(fail);
  };
  const isAudible = person.publications.some(({ kind, muted }) => kind === 'audio' && !muted);
  const move = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    run(moderate.move(token, room, identity, target.trim()));
  };
  return (
    <>
      <IconButton icon="more" kind="quiet" label={`Moderate ${name}`} popoverTarget={id} />
      <div ref={menu} id={id} popover="auto" className={style['actions']} role="group" aria-label={`Moderate ${name}`}>
        <Button
          icon="micOff"
          disabled={!isAudible}
          onClick={() => {
            run(moderate.mute(token, room, identity));
          }}
        >
          Mute
        </Button>
        <Button
          icon="leave"
          kind="danger"
          onClick={() => {
            run(moderate.kick(token, room, identity));
          }}
        >
          Remove from the room
        </Button>
        <form onSubmit={move}>
          <TextField
            label="Move to room"
            required
            maxLength={128}
            autoComplete="off"
            value={target}
            onChange={(event) => {
              setTarget(event.target.value);
            }}
          />
          <Button type="submit">Move</Button>
        </form>
      </div>
    </>
  );
}

function Waiting({ room, token, person, fail }: OneProps): ReactNode {
  const name = nameOf(person);
  return (
    <li>
      <span className={style['who']}>
        <b>{name}</b>
      </span>
      <Button
        kind="primary"
        aria-label={`Let in ${name}`}
        onClick={() => {
          moderate.admit(token, room, person.identity).catch(fail);
        }}
      >
        Let in
      </Button>
      <IconButton
        icon="close"
        kind="quiet"
        label={`Refuse ${name}`}
        onClick={() => {
          moderate.kick(token, room, person.identity).catch(fail);
        }}
      />
    </li>
  );
}

/** Who is here, those with a raised hand first; for moderators, who waits, and what can be done. */
export function PeoplePanel({ snapshot, token, fail }: Props): ReactNode {
  const people = [...peopleOf(snapshot)].sort((a, b) => (handOf(a) ?? Infinity) - (handOf(b) ?? Infinity) || 0);
  const waiting = waitingOf(snapshot);
  const room = snapshot.room.name;
  const isAdmin = snapshot.permissions.roomAdmin;
  return (
    <>
      {waiting.length > 0 && (
        <>
          <h3 className={style['heading']} id="waiting">
            Waiting to be let in
          </h3>
          <ul className={style['people']} aria-labelledby="waiting">
            {waiting.map((person) => (
              <Waiting key={person.id} room={room} token={token} person={person} fail={fail} />
            ))}
          </ul>
        </>
      )}
      <ul className={style['people']} aria-label="In the room" tabIndex={0}>
        {people.map((person) => (
          <li key={person.id}>
            {handOf(person) !== undefined && (
              <span role="img" aria-label="Hand raised" title="Hand raised">
                <Icon name="hand" />
              </span>
            )}
            <span className={style['who']}>
              <b>
                {nameOf(person)}
                {person.local && ' (you)'}
              </b>
              <small>{about(person)}</small>
            </span>
            <span role="img" aria-label={isSilent(person) ? 'Muted' : 'Can be heard'}>
              <Icon name={isSilent(person) ? 'micOff' : 'mic'} size={18} />
            </span>
            {isAdmin && !person.local && <Moderation room={room} token={token} person={person} fail={fail} />}
          </li>
        ))}
      </ul>
    </>
  );
}

function about({ kind, isAdmin, state, publications }: ParticipantSnapshot): string {
  const words: string[] = [];
  if (isAdmin) words.push('moderator');
  if (kind === 'whip') words.push('stream (WHIP)');
  if (kind === 'guest') words.push('from another room');
  if (publications.some(({ source }) => source === 'screen_share')) words.push('shares a screen');
  if (state === 'disconnected') words.push('reconnecting…');
  return words.join(', ');
}
