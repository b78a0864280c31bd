import { type ComponentProps, type ReactNode, useId } from 'react';
import style from './field.module.css';

interface Common {
  readonly label: string;
  readonly hint?: string | undefined;
}

function Frame({ id, label, hint, children }: Common & { id: string; children: ReactNode }): ReactNode {
  return (
    <div className={style['field']}>
      <label htmlFor={id}>{label}</label>
      {children}
      {hint !== undefined && (
        <p id={`${id}-hint`} className={style['hint']}>
          {hint}
        </p>
      )}
    </div>
  );
}

/** A line of text with its label. */
export function TextField({ label, hint, ...rest }: Common & Omit<ComponentProps<'input'>, 'id'>): ReactNode {
  const id = useId();
  return (
    <Frame id={id} label={label} hint={hint}>
      <input id={id} aria-describedby={hint === undefined ? undefined : `${id}-hint`} {...rest} />
    </Frame>
  );
}

/** A choice with its label. */
export function Select({ label, hint, children, ...rest }: Common & Omit<ComponentProps<'select'>, 'id'>): ReactNode {
  const id = useId();
  return (
    <Frame id={id} label={label} hint={hint}>
      <select id={id} aria-describedby={hint === undefined ? undefined : `${id}-hint`} {...rest}>
        {children}
      </select>
    </Frame>
  );
}

/** The token, where a server asks for one. */
export function TokenField({ value, onChange, hint }: { value: string; onChange: (token: string) => void; hint?: string | undefined }): ReactNode {
  return (
    <TextField
      label="Token"
      hint={hint ?? 'From whoever invited you. It stays in this tab.'}
      type="password"
      autoComplete="off"
      spellCheck={false}
      maxLength={8192}
      value={value}
      onChange={(event) => {
        onChange(event.target.value.trim());
      }}
    />
  );
}

/** Something that failed. */
export function Alert({ children }: { children: ReactNode }): ReactNode {
  return (
    <p role="alert" className={style['alert']}>
      {children}
    </p>
  );
}
