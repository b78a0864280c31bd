import type { ReactNode } from 'react';

/** Paths on a grid of 24, drawn with lines. */
const PATHS = {
  mic: 'M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM6 11a6 6 0 0 0 12 0M12 17v4M9 21h6',
  micOff: 'M9 9v2a3 3 0 0 0 4.5 2.6M15 11V6a3 3 0 0 0-5.7-1.3M6 11a6 6 0 0 0 9.3 5M18 11a6 6 0 0 1-.5 2.4M12 17v4M9 21h6M4 4l16 16',
  camera: 'M3 7.5A1.5 1.5 0 0 1 4.5 6h9A1.5 1.5 0 0 1 15 7.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 3 16.5ZM15 10.5l6-3v9l-6-3',
  cameraOff: 'M8 6h5.5A1.5 1.5 0 0 1 15 7.5V12m0 4.5a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 3 16.5v-9A1.5 1.5 0 0 1 4.5 6M15 10.5l6-3v9l-3-1.5M3 3l18 18',
  screen: 'M4 5h16v11H4ZM9 20h6M12 16v4M12 13V8.5M9.5 11 12 8.5l2.5 2.5',
  chat: 'M4 5h16v11H9.5L5 20v-4H4Z',
  hand: 'M8 12V6.2a1.3 1.3 0 0 1 2.6 0V11M10.6 11V4.6a1.3 1.3 0 0 1 2.6 0V11M13.2 11V5.6a1.3 1.3 0 0 1 2.6 0V13M15.8 11.5V8.6a1.2 1.2 0 0 1 2.4 0V15a6 6 0 0 1-6 6h-.7a6 6 0 0 1-5-2.7L3.7 14a1.3 1.3 0 0 1 2-1.6L8 14.5V12',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20a6.5 6.5 0 0 1 13 0M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.2a6.5 6.5 0 0 1 3.5 5.8',
  leave: 'M10 4H5v16h5M15 8l4 4-4 4M19 12H9',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5',
  stats: 'M4 20V11M10 20V4M16 20v-6M21 20H3',
  grid: 'M4 4h7v7H4ZM13 4h7v7h-7ZM4 13h7v7H4ZM13 13h7v7h-7Z',
  speaker: 'M4 4h16v11H4ZM4 18h4v2H4ZM10 18h4v2h-4ZM16 18h4v2h-4Z',
  help: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.5v.1',
  close: 'M6 6l12 12M18 6 6 18',
  send: 'M4 12 20 4l-5 16-3.5-6.5ZM11.5 13.5 20 4',
  pin: 'M9 3h6l-1 6 3 3v2H7v-2l3-3ZM12 14v7',
  more: 'M5 11.5v1M4.5 12h1M12 11.5v1M11.5 12h1M19 11.5v1M18.5 12h1',
  link: 'M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.7 5.7l1-1',
  sun: 'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  moon: 'M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5Z',
  system: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 3v18M15 4v16M18 6v12',
  sound: 'M4 9.5h3.5L12 6v12l-4.5-3.5H4ZM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11',
  soundOff: 'M4 9.5h3.5L12 6v12l-4.5-3.5H4ZM16 9.5l5 5M21 9.5l-5 5',
  previous: 'M15 5l-7 7 7 7',
  next: 'M9 5l7 7-7 7',
} as const;

export type IconName = keyof typeof PATHS;

/** A picture beside words, or in a button that has a label. */
export function Icon({ name, size = 20 }: { name: IconName; size?: number }): ReactNode {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.8"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
