// A viewer who cannot decode a publication says so to its publisher, who then sends another codec. Pure.
import type { VideoCodec } from '../media/codecs.js';
import type { PublicationId } from '../wire/signal.js';

/** Data messages of this topic are the SDK's own. */
export const FALLBACK_TOPIC = 'ion.codec';

/** What a viewer cannot receive, and what it could. */
export interface CannotDecode {
  readonly publication: PublicationId;
  readonly can: readonly VideoCodec[];
}

/** Reads such a message; undefined where it is none. */
export function parseCannotDecode(payload: Uint8Array): CannotDecode | undefined {
  try {
    const message = JSON.parse(new TextDecoder().decode(payload)) as Partial<CannotDecode> | null;
    const { publication, can } = message ?? {};
    return typeof publication === 'string' && Array.isArray(can) ? { publication, can } : undefined;
  } catch {
    return undefined;
  }
}

/** The codec to fall back to; undefined to stay. Nobody can ask for more than one step, or for a codec that the app did not name. */
export function fallbackFor(
  now: VideoCodec,
  backup: VideoCodec | false,
  can: readonly VideoCodec[],
): VideoCodec | undefined {
  return backup !== false && backup !== now && !can.includes(now) && can.includes(backup) ? backup : undefined;
}
