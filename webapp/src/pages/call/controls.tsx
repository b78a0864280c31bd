import type { RoomSnapshot } from '@ion-sfu/sdk';
import { type ReactNode, useId } from 'react';
import { useMedia } from '../../hooks';
import { IconButton } from '../../ui/button';
import type { IconName } from '../../ui/icon';
import { type Action, keyOf } from './shortcuts';
import type { View } from './stage';
import { handOf } from './tiles';
import style from './controls.module.css';

interface Props {
  readonly snapshot: RoomSnapshot;
  readonly view: View;
  readonly panel: 'chat' | 'people' | undefined;
  readonly withStats: boolean;
  readonly unread: number;
  readonly waiting: number;
  readonly act: (action: Action) => void;
  readonly leave: () => void;
}

interface Control {
  readonly action: Action;
  readonly icon: IconName;
  readonly label: string;
  readonly kind?: 'plain' | 'off';
  readonly pressed?: boolean;
  readonly badge?: number;
}

/** Whether our publication from a source is live. */
function isLive({ local }: RoomSnapshot, source: string): boolean {
  return local?.publications.some((one) => one.source === source && !one.muted) ?? false;
}

function deviceControls(snapshot: RoomSnapshot): Control[] {
  const [mic, camera] = [isLive(snapshot, 'microphone'), isLive(snapshot, 'camera')];
  return [
    { action: 'microphone', icon: mic ? 'mic' : 'micOff', kind: mic ? 'plain' : 'off', label: mic ? 'Mute' : 'Unmute' },
    { action: 'camera', icon: camera ? 'camera' : 'cameraOff', kind: camera ? 'plain' : 'off', label: camera ? 'Turn the camera off' : 'Turn the camera on' },
  ];
}

function moreControls({ snapshot, view, withStats }: Props): Control[] {
  const { local, permissions } = snapshot;
  const sharing = isLive(snapshot, 'screen_share');
  const hand = local !== undefined && handOf(local) !== undefined;
  const controls: Control[] = [];
  if (permissions.canPublish && 'getDisplayMedia' in navigator.mediaDevices) {
    controls.push({ action: 'screen', icon: 'screen', pressed: sharing, label: sharing ? 'Stop sharing the screen' : 'Share a screen' });
  }
  if (permissions.canUpdateOwnMetadata) {
    controls.push({ action: 'hand', icon: 'hand', pressed: hand, label: hand ? 'Lower your hand' : 'Raise your hand' });
  }
  controls.push(
    { action: 'view', icon: view === 'grid' ? 'speaker' : 'grid', label: view === 'grid' ? 'Show the speaker' : 'Show the grid' },
    { action: 'stats', icon: 'stats', pressed: withStats, label: 'Statistics' },
    { action: 'settings', icon: 'settings', label: 'Devices' },
    { action: 'help', icon: 'help', label: 'Keyboard shortcuts' },
  );
  return controls;
}

/** The bar under the call. On a narrow screen the less used part is in a popover. */
export function Controls(props: Props): ReactNode {
  const { snapshot, panel, unread, waiting, act, leave } = props;
  const isNarrow = useMedia('(max-width: 44rem)');
  const menu = useId();
  const draw = ({ action, ...rest }: Control): ReactNode => (
    <IconButton
      key={action}
      {...rest}
      data-action={action}
      shortcut={keyOf(action)}
      onClick={() => {
        act(action);
      }}
    />
  );
  const panels: Control[] = [
    { action: 'chat', icon: 'chat', pressed: panel === 'chat', badge: unread, label: 'Chat' },
    { action: 'people', icon: 'people', pressed: panel === 'people', badge: waiting, label: 'People' },
  ];
  return (
    <section aria-label="Call controls" className={style['bar']}>
      {snapshot.permissions.canPublish && deviceControls(snapshot).map(draw)}
      {!isNarrow && moreControls(props).map(draw)}
      {panels.map(draw)}
      {isNarrow && (
        <>
          <IconButton icon="more" label="More" popoverTarget={menu} />
          <div id={menu} popover="auto" className={style['menu']} role="group" aria-label="More">
            {moreControls(props).map(draw)}
          </div>
        </>
      )}
      <IconButton icon="leave" kind="danger" label="Leave" onClick={leave} />
    </section>
  );
}
