import type { ReactNode } from 'react';
import style from './meter.module.css';

/** A level from 0 to 1, as it is now. */
export function Meter({ label, value }: { label: string; value: number }): ReactNode {
  return (
    <div
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(value * 100)}
      className={style['meter']}
    >
      <div style={{ transform: `scaleX(${value.toFixed(3)})` }} />
    </div>
  );
}
