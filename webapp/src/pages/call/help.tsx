import type { ReactNode } from 'react';
import { Dialog } from '../../ui/dialog';
import { SHORTCUTS } from './shortcuts';
import style from './help.module.css';

interface Props {
  readonly isOn: boolean;
  readonly setOn: (isOn: boolean) => void;
  readonly onClose: () => void;
}

/** The keys, and whether they work: single letters disturb those who speak to their computer. */
export function Help({ isOn, setOn, onClose }: Props): ReactNode {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl className={style['keys']}>
        {SHORTCUTS.map(({ key, about }) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{about}</dd>
          </div>
        ))}
        <div>
          <dt>
            <kbd>Esc</kbd>
          </dt>
          <dd>Close what is open</dd>
        </div>
      </dl>
      <label className={style['switch']}>
        <input
          type="checkbox"
          checked={isOn}
          onChange={(event) => {
            setOn(event.target.checked);
          }}
        />
        Single-letter shortcuts
      </label>
    </Dialog>
  );
}
