import { type ReactNode, type SubmitEvent, useEffect, useRef, useState } from 'react';
import { IconButton } from '../../ui/button';
import { type Chat, MOST_CHARACTERS, linkPieces } from './chat';
import style from './panel.module.css';

const TIME = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

interface Props {
  readonly chat: Chat;
  readonly mayWrite: boolean;
  readonly send: (text: string) => Promise<boolean>;
}

/** What was written, and a line to write. */
export function ChatPanel({ chat, mayWrite, send }: Props): ReactNode {
  const [text, setText] = useState('');
  const list = useRef<HTMLDivElement>(null);
  const { messages } = chat;
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [messages]);

  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    if (text.trim() === '') return;
    void send(text).then((sent) => {
      if (sent) setText('');
    });
  };
  return (
    <>
      <div ref={list} className={style['log']} role="log" aria-label="Messages" tabIndex={0}>
        <ol className={style['messages']}>
        {messages.length === 0 && <li className={style['empty']}>Nothing was written yet. Who joins later does not see what was before.</li>}
        {messages.map(({ id, from, own, text: said, atMs }) => (
          <li key={id} className={own ? style['own'] : ''}>
            <p className={style['from']}>
              <b>{from}</b> <time dateTime={new Date(atMs).toISOString()}>{TIME.format(atMs)}</time>
            </p>
            <p className={style['said']}>
              {linkPieces(said).map((piece, at) =>
                piece.isLink ? (
                  <a key={at} href={piece.text} target="_blank" rel="noopener noreferrer">
                    {piece.text}
                  </a>
                ) : (
                  piece.text
                ),
              )}
            </p>
          </li>
        ))}
        </ol>
      </div>
      {mayWrite && (
        <form onSubmit={submit} className={style['write']}>
          <input
            aria-label="Message"
            placeholder="Message to everybody"
            autoComplete="off"
            maxLength={MOST_CHARACTERS}
            value={text}
            onChange={(event) => {
              setText(event.target.value);
            }}
          />
          <IconButton type="submit" icon="send" label="Send" />
        </form>
      )}
    </>
  );
}
