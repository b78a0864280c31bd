// Which m-section carries what: pure bookkeeping over sections, in place of transceivers.
import type { PublicationId } from '../wire/signal.js';

/**
 * Audio or video.
 */
export type MediaKind = 'audio' | 'video';

/** What a section is for. One that is free waits, inactive, for another use of its side. */
export type Use =
  | { readonly side: 'send'; readonly cid: string | undefined }
  | { readonly side: 'receive'; readonly publication: PublicationId | undefined };

export interface Section {
  readonly kind: MediaKind;
  use: Use;
}

/** A publication to receive. */
export interface Wanted {
  readonly publication: PublicationId;
  readonly kind: MediaKind;
}

/** What has to change so that each wanted publication has a section, and nothing else has. */
export interface Plan<S extends Section> {
  readonly free: readonly S[];
  readonly reuse: readonly { readonly section: S; readonly publication: PublicationId }[];
  readonly add: readonly Wanted[];
}

/** Plans the receiving sections. A section freed now is used again in the same offer. */
export function planReceiving<S extends Section>(sections: readonly S[], wanted: readonly Wanted[]): Plan<S> {
  const has = new Set<PublicationId>();
  const free: S[] = [];
  const spare: S[] = [];
  for (const section of sections) {
    if (section.use.side !== 'receive') continue;
    const { publication } = section.use;
    if (publication !== undefined && !has.has(publication) && wanted.some((one) => one.publication === publication)) {
      has.add(publication);
    } else {
      if (publication !== undefined) free.push(section);
      spare.push(section);
    }
  }
  const reuse: { section: S; publication: PublicationId }[] = [];
  const add: Wanted[] = [];
  for (const one of wanted) {
    if (has.has(one.publication)) continue;
    has.add(one.publication);
    const at = spare.findIndex(({ kind }) => kind === one.kind);
    const [section] = at === -1 ? [] : spare.splice(at, 1);
    if (section === undefined) add.push(one);
    else reuse.push({ section, publication: one.publication });
  }
  return { free: free.filter((one) => spare.includes(one)), reuse, add };
}
