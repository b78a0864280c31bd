// Geometry of a plot of values over time. Pure.

export interface Series {
  readonly label: string;
  readonly values: readonly number[];
}

/** The next 1, 2 or 5 times a power of ten that is not less than `value`; `least` where that is more. */
export function niceMax(value: number, least: number): number {
  if (value <= least) return least;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 5, 10].find((one) => one * power >= value) ?? 10;
  return step * power;
}

/** A line through values, the newest at the right edge; `slots` is how many there may be. */
export function linePath(values: readonly number[], max: number, slots: number, width: number, height: number): string {
  const step = width / (slots - 1);
  const first = width - (values.length - 1) * step;
  return values
    .map((value, at) => {
      const x = first + at * step;
      const y = height - (Math.min(value, max) / max) * height;
      return `${at === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`;
    })
    .join('');
}

/** `values` and one more, without the oldest beyond `slots`. */
export function pushed(values: readonly number[], value: number, slots: number): readonly number[] {
  return [...values, value].slice(-slots);
}
