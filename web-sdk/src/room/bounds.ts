// How much of a publication to ask for: what the app says, and what its elements show. Pure.
import type { SubscriptionBounds } from '../wire/signal.js';

/**
 * Shorthand for layers: the lowest, the middle one, everything.
 */
export type VideoQuality = 'low' | 'medium' | 'high';

/** What the app asked for. */
export interface ManualBounds {
  readonly paused?: boolean | undefined;
  readonly quality?: VideoQuality | undefined;
  readonly maxTemporal?: number | undefined;
  readonly width?: number | undefined;
  readonly height?: number | undefined;
  readonly priority?: number | undefined;
}

/** An element that shows a track. */
export interface Shown {
  /** Device pixels. */
  readonly width: number;
  readonly height: number;
  readonly visible: boolean;
}

/** Growing is told soon, once an animation is over; shrinking and hiding only when it lasts, as layouts jump about. */
const GROW_DELAY_MS = 100;
const SHRINK_DELAY_MS = 500;
const HIDE_DELAY_MS = 1000;

/** The least that fills all elements; undefined where there are none, and so nothing to follow. */
export function needed(elements: readonly Shown[]): Shown | undefined {
  if (elements.length === 0) return undefined;
  const seen = elements.filter((one) => one.visible && one.width > 0 && one.height > 0);
  // Not rounded up: a layer that fills the element to the pixel is enough.
  const most = (pick: (one: Shown) => number): number => Math.round(Math.max(0, ...seen.map(pick)));
  return { width: most((one) => one.width), height: most((one) => one.height), visible: seen.length > 0 };
}

/** How long to wait before a change is told. */
export function settleMs(before: Shown | undefined, now: Shown | undefined): number {
  if (before === undefined || now === undefined) return 0;
  if (before.visible && !now.visible) return HIDE_DELAY_MS;
  if (now.visible && !before.visible) return 0;
  return now.width < before.width || now.height < before.height ? SHRINK_DELAY_MS : GROW_DELAY_MS;
}

/** What to tell the server. */
export function boundsOf(manual: ManualBounds, shown: Shown | undefined): SubscriptionBounds {
  const bounds: SubscriptionBounds = { paused: manual.paused === true || shown?.visible === false };
  if (manual.quality === 'low') bounds.maxSpatial = 0;
  if (manual.quality === 'medium') bounds.maxSpatial = 1;
  if (manual.maxTemporal !== undefined) bounds.maxTemporal = manual.maxTemporal;
  if (manual.priority !== undefined) bounds.priority = manual.priority;
  // Dimensions by hand hold where no element says otherwise; where both do, the smaller.
  const visible = shown?.visible === true ? shown : undefined;
  const least = (one: number | undefined, other: number | undefined): number | undefined =>
    one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
  const width = least(manual.width, visible?.width);
  const height = least(manual.height, visible?.height);
  if (width !== undefined) bounds.width = width;
  if (height !== undefined) bounds.height = height;
  return bounds;
}
