import { type ReactNode, useId } from 'react';
import { type Series, linePath, niceMax } from './plot-geometry';
import style from './plot.module.css';

const WIDTH = 600;
const HEIGHT = 140;

interface Props {
  readonly title: string;
  readonly series: readonly Series[];
  /** Values that fit in the plot's width. */
  readonly slots: number;
  /** How long that is, for people. */
  readonly span: string;
  readonly format: (value: number) => string;
  /** The top of the scale is not below this. */
  readonly leastMax: number;
}

/** Lines over time, with the newest values in words. */
export function Plot({ title, series, slots, span, format, leastMax }: Props): ReactNode {
  const id = useId();
  const max = niceMax(Math.max(0, ...series.flatMap(({ values }) => values)), leastMax);
  const now = series.map(({ label, values }) => `${label} ${format(values.at(-1) ?? 0)}`).join(', ');
  return (
    <figure className={style['plot']} aria-labelledby={id}>
      <figcaption id={id}>{title}</figcaption>
      <ul className={style['legend']}>
        {series.map(({ label, values }, at) => (
          <li key={label} data-series={at + 1}>
            {label} <b>{format(values.at(-1) ?? 0)}</b>
          </li>
        ))}
      </ul>
      <div className={style['frame']}>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title} over ${span}. Now: ${now}`}>
          {[0, 0.25, 0.5, 0.75, 1].map((share) => (
            <line key={share} x1="0" x2={WIDTH} y1={share * HEIGHT} y2={share * HEIGHT} className={style['rule']} vectorEffect="non-scaling-stroke" />
          ))}
          {series.map(({ label, values }, at) => (
            <path key={label} data-series={at + 1} d={linePath(values, max, slots, WIDTH, HEIGHT)} vectorEffect="non-scaling-stroke" />
          ))}
        </svg>
        <span className={style['top']}>{format(max)}</span>
        <span className={style['bottom']}>{format(0)}</span>
      </div>
      <p className={style['time']}>
        <span>{span} ago</span>
        <span>now</span>
      </p>
    </figure>
  );
}
