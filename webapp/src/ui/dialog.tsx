import { type ReactNode, useEffect, useId, useRef } from 'react';
import { IconButton } from './button';
import style from './dialog.module.css';

/** A native modal dialog: focus, Escape and the rest are the browser's. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }): ReactNode {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (dialog?.open === false) dialog.showModal();
    return () => {
      dialog?.close();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      className={style['dialog']}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        // On the backdrop, which is the dialog itself.
        if (event.target === ref.current) onClose();
      }}
    >
      <div className={style['body']}>
        <header>
          <h2 id={id}>{title}</h2>
          <IconButton icon="close" kind="quiet" label="Close" onClick={onClose} />
        </header>
        {children}
      </div>
    </dialog>
  );
}
