// What the plots show: rates over time, from successive looks at the server. Pure.
import type { RoomInfo, Status, TrackInfo } from '../../api';
import { pushed } from '../../ui/plot-geometry';

/** Time between two looks. */
export const LOOK_MS = 2000;
/** Looks that a plot shows. */
export const SLOTS = 91;
export const SPAN = '3 min';

export interface Rates {
  readonly received: readonly number[];
  readonly sent: readonly number[];
}

export interface Losses {
  /** Of what publishers sent us, and of what we sent to viewers; shares. */
  readonly fromPublishers: readonly number[];
  readonly toViewers: readonly number[];
}

export const NO_RATES: Rates = { received: [], sent: [] };
export const NO_LOSSES: Losses = { fromPublishers: [], toViewers: [] };

export function addRates(rates: Rates, now: Pick<RoomInfo, 'receivedBps' | 'sentBps'>): Rates {
  return { received: pushed(rates.received, now.receivedBps, SLOTS), sent: pushed(rates.sent, now.sentBps, SLOTS) };
}

/** All workers together. */
export function totals({ workers }: Status): Pick<RoomInfo, 'receivedBps' | 'sentBps'> {
  return workers.reduce(
    (sum, one) => ({ receivedBps: sum.receivedBps + one.receivedBps, sentBps: sum.sentBps + one.sentBps }),
    { receivedBps: 0, sentBps: 0 },
  );
}

export type Tracks = ReadonlyMap<string, TrackInfo>;

/** Share of the packets of a direction that was lost between two looks. */
export function lossBetween(before: Tracks, now: Tracks, isPublished: boolean): number {
  let [lost, expected] = [0, 0];
  for (const [key, track] of now) {
    const earlier = before.get(key);
    if (earlier === undefined || (track.direction === 'publisher') !== isPublished) continue;
    const newlyLost = Math.max(0, track.lost - earlier.lost);
    lost += newlyLost;
    // What arrived here is counted without what was lost; what was sent is counted with it.
    expected += Math.max(0, track.packets - earlier.packets) + (isPublished ? newlyLost : 0);
  }
  return expected === 0 ? 0 : Math.min(1, lost / expected);
}

export function addLosses(losses: Losses, before: Tracks, now: Tracks): Losses {
  return {
    fromPublishers: pushed(losses.fromPublishers, lossBetween(before, now, true), SLOTS),
    toViewers: pushed(losses.toViewers, lossBetween(before, now, false), SLOTS),
  };
}
