import type { PublicationId, SubscriptionBounds, SubscriptionChange } from '../wire/signal.js';

/** Changes made within this time go in one message. */
const COLLECT_MS = 20;

/** What was asked for of each publication; tells the server in batches, and all of it again after a new join. */
export class Wishes {
  readonly #all = new Map<PublicationId, { subscribed?: boolean; bounds?: SubscriptionBounds }>();
  readonly #fresh = new Set<PublicationId>();
  readonly #tell: (changes: SubscriptionChange[]) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(tell: (changes: SubscriptionChange[]) => void) {
    this.#tell = tell;
  }

  set(publication: PublicationId, wish: { readonly subscribed?: boolean; readonly bounds?: SubscriptionBounds }): void {
    const before = this.#all.get(publication);
    const now = { ...before, ...wish };
    if (JSON.stringify(before) === JSON.stringify(now)) return;
    this.#all.set(publication, now);
    this.#fresh.add(publication);
    this.#timer ??= setTimeout(() => {
      this.#flush();
    }, COLLECT_MS);
  }

  forget(publication: PublicationId): void {
    this.#all.delete(publication);
    this.#fresh.delete(publication);
  }

  /** Everything is to be told again. */
  again(): void {
    for (const one of this.#all.keys()) this.#fresh.add(one);
    this.#flush();
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const changes = [...this.#fresh].map((publication) => ({ publication, ...this.#all.get(publication) }));
    this.#fresh.clear();
    if (changes.length > 0) this.#tell(changes);
  }
}
