// Figures for people. Pure.

/** Bit/s as `1.2 Mbit/s`. */
export function bitrate(bps: number): string {
  if (bps >= 1e9) return `${(bps / 1e9).toFixed(2)} Gbit/s`;
  if (bps >= 1e6) return `${(bps / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bps / 1e3)} kbit/s`;
}

/** A share from 0 to 1 as `0.5 %`. */
export function percent(share: number): string {
  const value = share * 100;
  if (value > 0 && value < 0.1) return '< 0.1 %';
  return `${value === 0 || value >= 10 ? Math.round(value) : value.toFixed(1)} %`;
}

/** Seconds as `20 ms`; nothing is known of 0. */
export function milliseconds(seconds: number): string {
  return seconds === 0 ? '–' : `${Math.round(seconds * 1000)} ms`;
}

/** Seconds as `3 min`, `2 h 5 min`, `4 d 3 h`. */
export function duration(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 1) return `${minutes} min`;
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** A count as `12,345`. */
export function count(value: number): string {
  return value.toLocaleString('en');
}

/** What stands for a person without a picture: up to two letters. */
export function initials(name: string): string {
  const words = name.split(/[\s._-]+/).filter((word) => word !== '');
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => String.fromCodePoint(word?.codePointAt(0) ?? 0x20));
  return letters.join('').trim().toUpperCase() || '?';
}
