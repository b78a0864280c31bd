import { surface } from './emitter.js';

/**
 * An immutable value that changes as a whole, in the shape that `useSyncExternalStore` and its like want. Changes are told at
 * most once per microtask, however many there were.
 */
export class Store<Snapshot> {
  #snapshot: Snapshot;
  #told = true;
  readonly #listeners = new Set<() => void>();

  constructor(initial: Snapshot) {
    this.#snapshot = initial;
  }

  /** Calls `listener` after each change, until the returned function is called. */
  readonly subscribe = (listener: () => void): (() => void) => {
    const entry = (): void => {
      listener();
    };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  };

  /** The value now: the same object until something changes. */
  readonly getSnapshot = (): Snapshot => this.#snapshot;

  /** Replaces the value. */
  set(next: Snapshot): void {
    if (Object.is(next, this.#snapshot)) return;
    this.#snapshot = next;
    if (!this.#told) return;
    this.#told = false;
    queueMicrotask(() => {
      this.#told = true;
      for (const listener of [...this.#listeners]) {
        try {
          listener();
        } catch (error) {
          surface(error);
        }
      }
    });
  }
}
