// The chat of a room. Pure.

export interface ChatMessage {
  readonly id: number;
  readonly from: string;
  readonly own: boolean;
  readonly text: string;
  readonly atMs: number;
}

export interface Chat {
  readonly messages: readonly ChatMessage[];
  /** Others' messages that came while nobody looked. */
  readonly unread: number;
  readonly isOpen: boolean;
}

export type ChatInput =
  | { readonly type: 'message'; readonly from: string; readonly own: boolean; readonly text: string; readonly atMs: number }
  | { readonly type: 'open'; readonly isOpen: boolean };

/** Messages that are kept, and characters of one. */
export const MOST_MESSAGES = 500;
export const MOST_CHARACTERS = 4000;
/** The topic of chat among data messages; the payload is the text, UTF-8. */
export const CHAT_TOPIC = 'chat';

export const NO_CHAT: Chat = { messages: [], unread: 0, isOpen: false };

export function chatReducer(chat: Chat, input: ChatInput): Chat {
  if (input.type === 'open') return { ...chat, isOpen: input.isOpen, unread: input.isOpen ? 0 : chat.unread };
  const { from, own, atMs } = input;
  const text = input.text.slice(0, MOST_CHARACTERS);
  if (text.trim() === '') return chat;
  const message = { id: (chat.messages.at(-1)?.id ?? 0) + 1, from, own, text, atMs };
  const unread = own || chat.isOpen ? chat.unread : chat.unread + 1;
  return { ...chat, messages: [...chat.messages, message].slice(-MOST_MESSAGES), unread };
}

export interface Piece {
  readonly text: string;
  readonly isLink: boolean;
}

/** Divides a text at its web addresses. The full stop or bracket after one is not part of it. */
export function linkPieces(text: string): readonly Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(/https?:\/\/[^\s<>"]+/g)) {
    const link = found.replace(/[.,;:!?)\]}']+$/, '');
    if (!URL.canParse(link)) continue;
    if (index > end) pieces.push({ text: text.slice(end, index), isLink: false });
    pieces.push({ text: link, isLink: true });
    end = index + link.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end), isLink: false });
  return pieces;
}
