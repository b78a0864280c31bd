import { IonError } from './errors.js';

/**
 * What every asynchronous method takes.
 */
export interface CallOptions {
  /** Gives the call up: it rejects with reason `aborted`. */
  readonly signal?: AbortSignal | undefined;
}

/** Rejects if `signal` is aborted already. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw aborted(signal);
}

export function aborted(signal: AbortSignal): IonError {
  const reason: unknown = signal.reason;
  if (reason instanceof IonError) return reason;
  if (reason instanceof Error && reason.name === 'TimeoutError') {
    return new IonError('timeout', 'Nothing came in time.', { cause: reason });
  }
  return new IonError('aborted', 'The call was given up.', { cause: reason });
}

/** `promise`, or a rejection as soon as `signal` is aborted. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      reject(aborted(signal));
    };
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', onAbort);
    });
  });
}

/** Waits. Rejects when `signal` is aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  throwIfAborted(signal);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await abortable(new Promise<void>((resolve) => (timer = setTimeout(resolve, ms))), signal);
  } finally {
    clearTimeout(timer);
  }
}

/** A signal that is aborted with any of `signals`, or after `ms`. `done` frees what it holds. */
export function deadline(
  ms: number,
  ...signals: readonly (AbortSignal | undefined)[]
): { readonly signal: AbortSignal; readonly done: () => void } {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new IonError('timeout', `Nothing came within ${ms} ms.`));
  }, ms);
  const offs: (() => void)[] = [];
  for (const signal of signals) {
    if (signal === undefined) continue;
    const onAbort = (): void => {
      controller.abort(signal.reason);
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    offs.push(() => {
      signal.removeEventListener('abort', onAbort);
    });
  }
  return {
    signal: controller.signal,
    done: () => {
      clearTimeout(timer);
      for (const off of offs) off();
    },
  };
}

/** Runs tasks one after the other. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(task: () => Promise<T>): Promise<T> {
    const next = this.#last.then(task, task);
    this.#last = next.catch(() => undefined);
    return next;
  }
}
