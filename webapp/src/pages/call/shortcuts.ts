// Keys of the call. Pure.

export type Action = 'microphone' | 'camera' | 'screen' | 'hand' | 'chat' | 'people' | 'view' | 'stats' | 'settings' | 'help';

/** In the order of the help. */
export const SHORTCUTS: readonly { readonly key: string; readonly action: Action; readonly about: string }[] = [
  { key: 'M', action: 'microphone', about: 'Microphone on or off' },
  { key: 'V', action: 'camera', about: 'Camera on or off' },
  { key: 'S', action: 'screen', about: 'Share a screen, or stop' },
  { key: 'H', action: 'hand', about: 'Raise or lower your hand' },
  { key: 'C', action: 'chat', about: 'Open or close the chat' },
  { key: 'P', action: 'people', about: 'Open or close the list of people' },
  { key: 'G', action: 'view', about: 'Grid or speaker' },
  { key: 'T', action: 'stats', about: 'Statistics on or off' },
  { key: 'D', action: 'settings', about: 'Devices' },
  { key: '?', action: 'help', about: 'This list' },
];

export interface KeyPress {
  readonly key: string;
  readonly altKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly repeat: boolean;
}

/** What a key means. Not while somebody types, and not with a modifier: those are the browser's. */
export function shortcutOf(press: KeyPress, isTyping: boolean): Action | undefined {
  if (isTyping || press.altKey || press.ctrlKey || press.metaKey || press.repeat) return undefined;
  const key = press.key.toUpperCase();
  return SHORTCUTS.find((one) => one.key === key)?.action;
}

/** The key of an action. */
export function keyOf(action: Action): string {
  return SHORTCUTS.find((one) => one.action === action)?.key ?? '';
}
