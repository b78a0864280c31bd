import type { ButtonHTMLAttributes, ReactNode } from 'react';
import { Icon, type IconName } from './icon';
import style from './button.module.css';

type Native = Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'className' | 'children' | 'aria-label' | 'aria-pressed'>;

interface Props extends Native {
  readonly kind?: 'plain' | 'primary' | 'danger' | 'quiet';
  readonly icon?: IconName;
  readonly children: ReactNode;
}

/** A button with words. */
export function Button({ kind = 'plain', icon, children, type = 'button', ...rest }: Props): ReactNode {
  return (
    <button type={type} className={`${style['button']} ${style[kind]}`} {...rest}>
      {icon !== undefined && <Icon name={icon} />}
      <span>{children}</span>
    </button>
  );
}

interface IconProps extends Native {
  readonly icon: IconName;
  /** What it does, for those who do not see the picture, and as a hint. */
  readonly label: string;
  readonly kind?: 'plain' | 'danger' | 'quiet' | 'off';
  /** For what is on or off. */
  readonly pressed?: boolean;
  readonly badge?: number;
  /** The key that does the same. */
  readonly shortcut?: string;
}

/** A button with a picture. */
export function IconButton({ icon, label, kind = 'plain', pressed, badge = 0, shortcut, type = 'button', ...rest }: IconProps): ReactNode {
  const count = badge > 9 ? '9+' : badge;
  return (
    <button
      type={type}
      className={`${style['button']} ${style['iconic']} ${style[kind]}`}
      aria-label={badge > 0 ? `${label}: ${count} new` : label}
      aria-pressed={pressed}
      aria-keyshortcuts={shortcut}
      title={shortcut === undefined ? label : `${label} (${shortcut})`}
      {...rest}
    >
      <Icon name={icon} />
      {badge > 0 && (
        <span className={style['badge']} aria-hidden="true">
          {count}
        </span>
      )}
    </button>
  );
}
