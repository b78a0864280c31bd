import type { MouseEvent, ReactNode } from 'react';
import { navigate } from '../router';

/** A link inside the app: followed without loading, unless the user wants it elsewhere. */
export function Link({ to, className, children }: { to: string; className?: string | undefined; children: ReactNode }): ReactNode {
  const onClick = (event: MouseEvent): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a href={to} className={className} onClick={onClick}>
      {children}
    </a>
  );
}
