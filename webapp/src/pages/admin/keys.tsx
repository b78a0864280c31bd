import { HttpError } from '@ion-sfu/sdk';
import { type ReactNode, type SubmitEvent, useEffect, useState } from 'react';
import { type KeyInfo, type KeySecret, keys } from '../../api';
import { explain, isAborted } from '../../errors';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { Alert, TextField } from '../../ui/field';
import style from './admin.module.css';

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

interface Asked {
  readonly question: string;
  readonly action: string;
  readonly run: () => void;
}

function KeyTable({ list, ask, change }: { list: readonly KeyInfo[]; ask: (asked: Asked) => void; change: Changes }): ReactNode {
  return (
    <div className={style['scroll']} tabIndex={0} role="region" aria-label="Table of API keys">
      <table>
        <thead>
          <tr>
            <th scope="col">Key</th>
            <th scope="col">For</th>
            <th scope="col">Made</th>
            <th scope="col">
              <span className="unseen">What to do</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {list.map(({ key, label, fixed, createdAtS }) => (
            <tr key={key}>
              <th scope="row">
                <code>{key}</code>
              </th>
              <td>{label}</td>
              <td>{fixed ? 'in the settings' : DATE.format(createdAtS * 1000)}</td>
              <td className={style['actions']}>
                {!fixed && (
                  <>
                    <Button
                      aria-label={`Replace the secret of ${key}`}
                      onClick={() => {
                        const question = `Replace the secret of ${key}? Tokens that were signed with the present one are refused at once.`;
                        ask({ question, action: 'Replace', run: () => { change.rotate(key); } });
                      }}
                    >
                      New secret
                    </Button>
                    <Button
                      kind="danger"
                      aria-label={`Delete ${key}`}
                      onClick={() => {
                        ask({ question: `Delete ${key}? All its tokens are refused at once.`, action: 'Delete', run: () => { change.remove(key); } });
                      }}
                    >
                      Delete
                    </Button>
                  </>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface Changes {
  readonly rotate: (key: string) => void;
  readonly remove: (key: string) => void;
}

function NewKey({ onLabel }: { onLabel: (label: string) => void }): ReactNode {
  const [label, setLabel] = useState('');
  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    onLabel(label.trim());
    setLabel('');
  };
  return (
    <form className={style['new']} onSubmit={submit}>
      <TextField
        label="What the new key is for"
        required
        maxLength={256}
        autoComplete="off"
        value={label}
        onChange={(event) => {
          setLabel(event.target.value);
        }}
      />
      <Button type="submit">Make a key</Button>
    </form>
  );
}

function Secret({ secret, onClose }: { secret: KeySecret; onClose: () => void }): ReactNode {
  return (
    <Dialog title="The secret of the key" onClose={onClose}>
      <p>This is the only time that it is shown. Copy it now.</p>
      <dl className={style['secret']}>
        <dt>Key</dt>
        <dd>
          <code>{secret.key}</code>
        </dd>
        <dt>Secret</dt>
        <dd>
          <code>{secret.secret}</code>
        </dd>
      </dl>
      <p>
        <Button
          kind="primary"
          onClick={() => {
            void navigator.clipboard.writeText(secret.secret);
          }}
        >
          Copy the secret
        </Button>
      </p>
    </Dialog>
  );
}

/** API keys; nothing for those who may not see them. */
export function Keys({ token }: { token: string }): ReactNode {
  const [list, setList] = useState<readonly KeyInfo[]>();
  const [version, setVersion] = useState(0);
  const [error, setError] = useState<unknown>();
  const [secret, setSecret] = useState<KeySecret>();
  const [asked, setAsked] = useState<Asked>();
  useEffect(() => {
    const ending = new AbortController();
    keys.list(token, ending.signal).then(
      ({ keys: found }) => {
        setList(found);
      },
      (reason: unknown) => {
        if (isAborted(reason)) return;
        setList(undefined);
        if (!(reason instanceof HttpError && reason.status === 403)) setError(reason);
      },
    );
    return () => {
      ending.abort();
    };
  }, [token, version]);

  const run = (change: Promise<KeySecret | undefined>): void => {
    setAsked(undefined);
    setError(undefined);
    change.then((made) => {
      setSecret(made);
      setVersion((before) => before + 1);
    }, setError);
  };
  if (list === undefined && error === undefined) return null;
  return (
    <section className={style['section']} aria-labelledby="keys">
      <h2 id="keys">API keys</h2>
      {error !== undefined && <Alert>{explain(error)}</Alert>}
      {list !== undefined && (
        <>
          <KeyTable
            list={list}
            ask={setAsked}
            change={{
              rotate: (key) => { run(keys.rotate(token, key)); },
              remove: (key) => { run(keys.remove(token, key)); },
            }}
          />
          <NewKey onLabel={(label) => { run(keys.create(token, label)); }} />
        </>
      )}
      {secret !== undefined && <Secret secret={secret} onClose={() => { setSecret(undefined); }} />}
      {asked !== undefined && (
        <Dialog title="Are you sure?" onClose={() => { setAsked(undefined); }}>
          <p>{asked.question}</p>
          <p className={style['actions']}>
            <Button onClick={() => { setAsked(undefined); }}>Keep it</Button>
            <Button kind="danger" onClick={asked.run}>
              {asked.action}
            </Button>
          </p>
        </Dialog>
      )}
    </section>
  );
}
