import type { ReactNode } from 'react';
import style from './figures.module.css';

export interface Figure {
  readonly label: string;
  readonly value: string;
}

/** Live figures, each under its name. */
export function Figures({ label, figures }: { label: string; figures: readonly Figure[] }): ReactNode {
  return (
    <dl className={style['figures']} aria-label={label}>
      {figures.map((one) => (
        <div key={one.label}>
          <dt>{one.label}</dt>
          <dd>{one.value}</dd>
        </div>
      ))}
    </dl>
  );
}
