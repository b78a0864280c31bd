/**
 * Calls listeners by event name. A listener that throws breaks nothing: the others are called, the emitting code goes on, and
 * the error surfaces as an uncaught one (`reportError`).
 */
export class Emitter<Events extends { [K in keyof Events]: readonly unknown[] }> {
  readonly #listeners = new Map<keyof Events, Set<(...args: never) => void>>();

  /** Calls `listener` for each event `name`, until the returned function is called or `signal` is aborted. */
  on<Name extends keyof Events>(
    name: Name,
    listener: (...args: Events[Name]) => void,
    options: { signal?: AbortSignal } = {},
  ): () => void {
    const { signal } = options;
    if (signal?.aborted === true) return () => undefined;
    // Wrapped, so that the same function may listen twice, and is gone once for each.
    const entry = (...args: Events[Name]): void => {
      listener(...args);
    };
    let all = this.#listeners.get(name);
    if (all === undefined) this.#listeners.set(name, (all = new Set()));
    all.add(entry);
    const off = (): void => {
      all.delete(entry);
      signal?.removeEventListener('abort', off);
    };
    signal?.addEventListener('abort', off, { once: true });
    return off;
  }

  /** Calls `listener` for the next event `name` only. */
  once<Name extends keyof Events>(
    name: Name,
    listener: (...args: Events[Name]) => void,
    options: { signal?: AbortSignal } = {},
  ): () => void {
    const off = this.on(
      name,
      (...args) => {
        off();
        listener(...args);
      },
      options,
    );
    return off;
  }

  /** Tells all listeners. For the owner of the emitter. */
  protected emit<Name extends keyof Events>(name: Name, ...args: Events[Name]): void {
    // A copy: who is added or removed meanwhile counts from the next event on.
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        (listener as (...args: Events[Name]) => void)(...args);
      } catch (error) {
        surface(error);
      }
    }
  }

  /** Forgets every listener. */
  protected removeAllListeners(): void {
    this.#listeners.clear();
  }
}

/** Shows an error of foreign code as an uncaught one, outside of our own stack. */
export function surface(error: unknown): void {
  if (typeof reportError === 'function') reportError(error);
  else
    queueMicrotask(() => {
      throw error;
    });
}
