import type { Room, RoomSnapshot } from '@ion-sfu/sdk';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { bitrate, milliseconds } from '../../format';
import { useSaved } from '../../hooks';
import type { Publisher } from '../../media/publisher';
import { Button, IconButton } from '../../ui/button';
import { Shell, ThemeButton } from '../../ui/shell';
import type { JoinChoice } from '../lobby';
import { ChatPanel } from './chat-panel';
import { Controls } from './controls';
import { Help } from './help';
import { PeoplePanel } from './people-panel';
import { Settings } from './settings';
import { type Action, shortcutOf } from './shortcuts';
import { Stage, type View } from './stage';
import { TrackAudio } from './tile';
import { handOf, peopleOf, tilesOf, waitingOf } from './tiles';
import { useChat, useEvents, useLastSpeaker, useLeaveAtEnd, useNotices, useRoom, useStats } from './use-call';
import panelStyle from './panel.module.css';
import style from './call.module.css';

interface Props {
  readonly room: Room;
  readonly publisher: Publisher;
  readonly choice: JoinChoice;
  readonly onEnded: (last: RoomSnapshot) => void;
}

type Panel = 'chat' | 'people' | undefined;

function useShortcuts(isOn: boolean, act: (action: Action) => void): void {
  const newest = useRef(act);
  useEffect(() => {
    newest.current = act;
  });
  useEffect(() => {
    if (!isOn) return undefined;
    const onKey = (event: KeyboardEvent): void => {
      const { target } = event;
      const isTyping = target instanceof HTMLElement && target.matches('input:not([type=checkbox]), textarea, select, dialog *');
      const action = shortcutOf(event, isTyping);
      if (action === undefined) return;
      event.preventDefault();
      newest.current(action);
    };
    document.addEventListener('keydown', onKey);
    return () => {
      document.removeEventListener('keydown', onKey);
    };
  }, [isOn]);
}

/** Everybody's sound. */
function Sounds({ room, snapshot, speaker }: { room: Room; snapshot: RoomSnapshot; speaker: string }): ReactNode {
  return snapshot.remotes.flatMap(({ publications }) =>
    publications
      .filter(({ kind }) => kind === 'audio')
      .map((publication) => <TrackAudio key={publication.id} room={room} publication={publication} speaker={speaker} />),
  );
}

/** Beside the call, or on a narrow screen in its place. */
function SidePanel({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }): ReactNode {
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    (panel.current?.querySelector('input') ?? panel.current?.querySelector('h2'))?.focus();
  }, []);
  return (
    <aside ref={panel} className={panelStyle['panel']} aria-label={title}>
      <header>
        <h2 tabIndex={-1}>{title}</h2>
        <IconButton icon="close" kind="quiet" label="Close" onClick={onClose} />
      </header>
      {children}
    </aside>
  );
}

/** The call itself. */
export function Call({ room, publisher, choice, onEnded }: Props): ReactNode {
  const snapshot = useRoom(room);
  const notices = useNotices();
  const { say, fail } = notices;
  useEvents(room, notices);
  useLeaveAtEnd(room);
  const { chat, tell, send } = useChat(room, notices);
  const stats = useStats(room);
  const lastSpeaker = useLastSpeaker(room);
  const [view, setView] = useState<View>('grid');
  const [panel, setPanel] = useState<Panel>();
  const [dialog, setDialog] = useState<'settings' | 'help'>();
  const [withStats, setWithStats] = useState(false);
  const [pinned, setPinned] = useState<string>();
  const [speaker, setSpeaker] = useSaved('ion.speaker', '');
  const [keys, setKeys] = useSaved('ion.shortcuts', 'on');
  const { status } = snapshot;

  const { withCamera, withMicrophone } = choice;
  useEffect(() => {
    if (!room.getSnapshot().permissions.canPublish) return;
    if (withMicrophone) publisher.start('microphone').catch(fail);
    if (withCamera) publisher.start('camera').catch(fail);
  }, [room, publisher, withCamera, withMicrophone, fail]);

  const ended = useRef(onEnded);
  useEffect(() => {
    ended.current = onEnded;
  });
  useEffect(() => {
    if (status === 'closed') ended.current(room.getSnapshot());
  }, [status, room]);

  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus();
  }, []);

  const leave = (): void => {
    void room.leave().catch(() => undefined);
  };
  const show = (next: Panel): void => {
    // Whoever closes a panel is back at the button that opened it.
    if (next === undefined && panel !== undefined) document.querySelector<HTMLElement>(`[data-action=${panel}]`)?.focus();
    setPanel(next);
    tell({ type: 'open', isOpen: next === 'chat' });
  };
  const raiseHand = async (): Promise<void> => {
    const { local } = room.getSnapshot();
    const isUp = local !== undefined && handOf(local) !== undefined;
    await room.local.update({ attributes: { hand: isUp ? '' : String(Date.now()) } });
    say(isUp ? 'Your hand is down.' : 'Your hand is up.');
  };
  const act = (action: Action): void => {
    switch (action) {
      case 'microphone':
      case 'camera':
        publisher.toggle(action).catch(fail);
        break;
      case 'screen':
        publisher.toggleScreen().catch(fail);
        break;
      case 'hand':
        raiseHand().catch(fail);
        break;
      case 'chat':
      case 'people':
        show(panel === action ? undefined : action);
        break;
      case 'view':
        setView(view === 'grid' ? 'speaker' : 'grid');
        break;
      case 'stats':
        setWithStats(!withStats);
        break;
      case 'settings':
      case 'help':
        setDialog(action);
        break;
    }
  };
  useShortcuts(keys === 'on' && status !== 'lobby', act);

  if (status === 'lobby') {
    return (
      <Shell title="Almost there" lead="A moderator of the room lets you in. Keep this page open.">
        <p role="status">Waiting in the lobby of {snapshot.room.name}…</p>
        <p>
          <Button onClick={leave}>Leave</Button>
        </p>
      </Shell>
    );
  }

  const people = peopleOf(snapshot).length;
  return (
    <div
      className={style['call']}
      onKeyDown={(event) => {
        if (event.key === 'Escape' && dialog === undefined) show(undefined);
      }}
    >
      <header className={style['top']}>
        <h1 ref={heading} tabIndex={-1}>{snapshot.room.name}</h1>
        <span className={style['quiet']}>{people === 1 ? 'only you' : `${people} people`}</span>
        {withStats && stats !== undefined && (
          <span className={style['quiet']}>
            ↑ {bitrate(stats.sentBitrate)} ↓ {bitrate(stats.receivedBitrate)} {milliseconds(stats.roundTripTime)}
          </span>
        )}
        <span className={style['space']} />
        <IconButton
          kind="quiet"
          icon="link"
          label="Copy the link to this room"
          onClick={() => {
            navigator.clipboard.writeText(location.origin + location.pathname).then(() => {
              say('The link was copied.');
            }, fail);
          }}
        />
        <ThemeButton />
      </header>
      <div role="status" className={style['banner']}>
        {status === 'reconnecting' && 'The connection was lost. Connecting again…'}
      </div>
      <div className={style['middle']} data-panel={panel ?? 'none'}>
        <main className={style['stage']}>
          <Stage
            room={room}
            tiles={tilesOf(snapshot)}
            view={view}
            stats={withStats ? stats : undefined}
            lastSpeaker={lastSpeaker}
            pinned={pinned}
            onPin={(key) => {
              setPinned(key === pinned ? undefined : key);
              setView('speaker');
            }}
          />
        </main>
        {panel !== undefined && (
          <SidePanel
            key={panel}
            title={panel === 'chat' ? 'Chat' : 'People'}
            onClose={() => {
              show(undefined);
            }}
          >
            {panel === 'chat' ? (
              <ChatPanel chat={chat} mayWrite={snapshot.permissions.canPublishData} send={send} />
            ) : (
              <PeoplePanel snapshot={snapshot} token={choice.token} fail={fail} />
            )}
          </SidePanel>
        )}
      </div>
      <Controls
        snapshot={snapshot}
        view={view}
        panel={panel}
        withStats={withStats}
        unread={chat.unread}
        waiting={waitingOf(snapshot).length}
        act={act}
        leave={leave}
      />
      <div className={style['notices']} role="log" aria-label="What happened">
        {notices.notices.map(({ id, text, isError }) => (
          <p key={id} className={isError ? style['error'] : ''}>
            {text}
          </p>
        ))}
      </div>
      <Sounds room={room} snapshot={snapshot} speaker={speaker} />
      {dialog === 'settings' && (
        <Settings
          publisher={publisher}
          speaker={speaker}
          setSpeaker={setSpeaker}
          fail={fail}
          onClose={() => {
            setDialog(undefined);
          }}
        />
      )}
      {dialog === 'help' && (
        <Help
          isOn={keys === 'on'}
          setOn={(isOn) => {
            setKeys(isOn ? 'on' : 'off');
          }}
          onClose={() => {
            setDialog(undefined);
          }}
        />
      )}
    </div>
  );
}
