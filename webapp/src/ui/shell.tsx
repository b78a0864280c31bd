import { type ReactNode, useState } from 'react';
import { type Theme, applyTheme, savedTheme } from '../theme';
import { IconButton } from './button';
import { Link } from './link';
import style from './shell.module.css';

const NEXT: Record<Theme, Theme> = { system: 'light', light: 'dark', dark: 'system' };
const LOOK = { system: 'system', light: 'sun', dark: 'moon' } as const;

/** Changes between the system's colours, light and dark. */
export function ThemeButton(): ReactNode {
  const [theme, setTheme] = useState(savedTheme);
  return (
    <IconButton
      kind="quiet"
      icon={LOOK[theme]}
      label={`Colours: ${theme}. Change to ${NEXT[theme]}`}
      onClick={() => {
        applyTheme(NEXT[theme]);
        setTheme(NEXT[theme]);
      }}
    />
  );
}

/** Header, title and main part of every page but the call. */
export function Shell({ title, lead, children }: { title: string; lead?: string; children: ReactNode }): ReactNode {
  return (
    <div className={style['page']}>
      <a className={style['skip']} href="#main">
        To the content
      </a>
      <header className={style['header']}>
        <Link to="/" className={style['brand']}>
          <svg width="28" height="28" viewBox="0 0 32 32" aria-hidden="true">
            <circle cx="16" cy="16" r="4.5" fill="currentColor" />
            <ellipse cx="16" cy="16" rx="13" ry="5.5" fill="none" stroke="currentColor" strokeWidth="2.2" transform="rotate(-35 16 16)" />
          </svg>
          Ion
        </Link>
        <nav aria-label="Ion" className={style['nav']}>
          <Link to="/admin">Admin</Link>
          <a href="/docs">API</a>
        </nav>
        <ThemeButton />
      </header>
      <main id="main" tabIndex={-1} className={style['main']}>
        <div className={style['title']}>
          <h1 tabIndex={-1}>{title}</h1>
          {lead !== undefined && <p>{lead}</p>}
        </div>
        {children}
      </main>
    </div>
  );
}
