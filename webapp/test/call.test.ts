import type { ParticipantSnapshot, PublicationSnapshot, RoomSnapshot } from '@ion-sfu/sdk';
import { describe, expect, test } from 'vitest';
import { MOST_CHARACTERS, MOST_MESSAGES, NO_CHAT, chatReducer, linkPieces } from '../src/pages/call/chat';
import { SHORTCUTS, shortcutOf } from '../src/pages/call/shortcuts';
import { handOf, isSilent, peopleOf, stageOf, tilesOf, waitingOf } from '../src/pages/call/tiles';

function publication(id: string, about: Partial<PublicationSnapshot>): PublicationSnapshot {
  return { id, kind: 'video', source: 'camera', muted: false, paused: false, ...about } as PublicationSnapshot;
}

function participant(id: string, about: Partial<ParticipantSnapshot> = {}): ParticipantSnapshot {
  const base = { id, identity: id, name: '', kind: 'sdk', state: 'active', local: false, attributes: {}, publications: [] };
  return { ...base, ...about } as unknown as ParticipantSnapshot;
}

function room(remotes: ParticipantSnapshot[]): RoomSnapshot {
  return { local: participant('me', { local: true }), remotes } as unknown as RoomSnapshot;
}

describe('tiles', () => {
  const screen = publication('s', { source: 'screen_share' });
  const camera = publication('c', {});
  const ann = participant('ann', { publications: [camera, screen] });
  const bob = participant('bob', { publications: [publication('b', { muted: true })] });

  test('screens come first, ourselves last, everybody has one', () => {
    const tiles = tilesOf(room([bob, ann]));
    expect(tiles.map(({ key, video }) => [key, video?.id])).toEqual([['s', 's'], ['bob', undefined], ['ann', 'c'], ['me', undefined]]);
  });

  test('nobody sees who waits or only watches', () => {
    const snapshot = room([participant('w', { state: 'lobby' }), participant('v', { kind: 'whep' }), ann]);
    expect(peopleOf(snapshot).map(({ id }) => id)).toEqual(['ann', 'me']);
    expect(waitingOf(snapshot).map(({ id }) => id)).toEqual(['w']);
  });

  test.each([
    ['a pinned one', 'bob', undefined, 'bob'],
    ['else a screen', undefined, 'bob', 's'],
    ['else a screen, also when what was pinned is gone', 'gone', 'bob', 's'],
  ])('on stage is %s', (_, pinned, speaker, expected) => {
    expect(stageOf(tilesOf(room([ann, bob])), pinned, speaker)?.key).toBe(expected);
  });

  test('without screens on stage is who spoke last, else another, else ourselves', () => {
    const tiles = tilesOf(room([participant('x'), participant('y')]));
    expect(stageOf(tiles, undefined, 'y')?.key).toBe('y');
    expect(stageOf(tiles, undefined, 'gone')?.key).toBe('x');
    expect(stageOf(tilesOf(room([])), undefined, undefined)?.key).toBe('me');
  });

  test('the sound of a screen does not unmute its owner', () => {
    const sound = { kind: 'audio', source: 'screen_share_audio' } as const;
    expect(isSilent(participant('p', { publications: [publication('a', sound)] }))).toBe(true);
    expect(isSilent(participant('p', { publications: [publication('a', { ...sound, source: 'microphone' })] }))).toBe(false);
  });

  test.each([['1700000000000', 1_700_000_000_000], ['', undefined], ['up', undefined]])('a hand of %j', (hand, expected) => {
    expect(handOf({ attributes: { hand } })).toBe(expected);
  });
});

describe('chat', () => {
  const said = (text: string, own = false): Parameters<typeof chatReducer>[1] => ({ type: 'message', from: 'ann', own, text, atMs: 1 });

  test('counts what nobody has seen', () => {
    let chat = chatReducer(chatReducer(NO_CHAT, said('a')), said('b', true));
    expect(chat.unread).toBe(1);
    chat = chatReducer(chat, { type: 'open', isOpen: true });
    expect(chatReducer(chat, said('c')).unread).toBe(0);
  });

  test('is bounded, and keeps ids apart', () => {
    let chat = NO_CHAT;
    for (let at = 0; at < MOST_MESSAGES + 10; at += 1) chat = chatReducer(chat, said(`${at}`));
    expect(chat.messages).toHaveLength(MOST_MESSAGES);
    expect(new Set(chat.messages.map(({ id }) => id)).size).toBe(MOST_MESSAGES);
    expect(chatReducer(NO_CHAT, said('x'.repeat(9999))).messages[0]?.text).toHaveLength(MOST_CHARACTERS);
    expect(chatReducer(NO_CHAT, said(' \n'))).toBe(NO_CHAT);
  });

  test.each([
    ['no link', ['no link']],
    ['see https://a.example/b?c=1.', ['see ', '<https://a.example/b?c=1>', '.']],
    ['(https://a.example) and http://b.example', ['(', '<https://a.example>', ') and ', '<http://b.example>']],
    ['javascript:alert(1) https://', ['javascript:alert(1) https://']],
  ])('links of %j', (text, expected) => {
    expect(linkPieces(text).map((piece) => (piece.isLink ? `<${piece.text}>` : piece.text))).toEqual(expected);
  });
});

describe('shortcuts', () => {
  const press = { key: 'm', altKey: false, ctrlKey: false, metaKey: false, repeat: false };
  test.each([
    [press, false, 'microphone'],
    [{ ...press, key: 'M' }, false, 'microphone'],
    [{ ...press, key: '?' }, false, 'help'],
    [press, true, undefined],
    [{ ...press, ctrlKey: true }, false, undefined],
    [{ ...press, metaKey: true }, false, undefined],
    [{ ...press, repeat: true }, false, undefined],
    [{ ...press, key: 'q' }, false, undefined],
  ] as const)('%j, typing %j', (one, isTyping, expected) => {
    expect(shortcutOf(one, isTyping)).toBe(expected);
  });

  test('no key means two things', () => {
    expect(new Set(SHORTCUTS.map(({ key }) => key)).size).toBe(SHORTCUTS.length);
  });
});
