import type { AudioSlot, PublicationId } from '../wire/signal.js';

/** The tracks of a room's audio slots, and the publications that were given them. */
export class SlotTracks {
  readonly #tracks = new Map<PublicationId, MediaStreamTrack>();
  #given = new Map<PublicationId, MediaStreamTrack>();

  /** A slot is received as this track, or no longer. */
  set(slot: PublicationId, track: MediaStreamTrack | undefined): void {
    if (track === undefined) this.#tracks.delete(slot);
    else this.#tracks.set(slot, track);
  }

  /** What publications' tracks are to be from now on, of those that `heard` says are heard by slots: only what has changed. */
  moves(
    slots: readonly Readonly<AudioSlot>[],
    heard: (id: PublicationId) => boolean,
  ): (readonly [PublicationId, MediaStreamTrack | undefined])[] {
    const given = new Map<PublicationId, MediaStreamTrack>();
    for (const { publication, source } of slots) {
      const track = this.#tracks.get(publication);
      if (source !== undefined && track !== undefined && heard(source)) given.set(source, track);
    }
    const before = this.#given;
    this.#given = given;
    const gone = [...before.keys()].filter((id) => !given.has(id) && heard(id));
    const now = [...given].filter(([id, track]) => before.get(id) !== track);
    return [...gone.map((id) => [id, undefined] as const), ...now];
  }

  /** Nothing is received any more. */
  clear(): void {
    this.#tracks.clear();
    this.#given.clear();
  }
}
