// Follows the elements that show a track: size in device pixels, and whether anybody can see them.
import { type Shown, needed, settleMs } from './bounds.js';

interface Watched {
  visible: boolean;
  width: number;
  height: number;
}

/** Tells when what its elements need has changed, and lasts. */
export class ElementWatch {
  readonly #elements = new Map<Element, Watched>();
  readonly #changed: (shown: Shown | undefined) => void;
  readonly #sizes: ResizeObserver | undefined;
  readonly #sights: IntersectionObserver | undefined;
  #told: Shown | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onVisibility = (): void => {
    this.#look();
  };

  constructor(changed: (shown: Shown | undefined) => void) {
    this.#changed = changed;
    if (typeof ResizeObserver === 'undefined' || typeof IntersectionObserver === 'undefined') return;
    this.#sizes = new ResizeObserver((entries) => {
      for (const { target, contentRect } of entries) {
        const one = this.#elements.get(target);
        if (one !== undefined) Object.assign(one, { width: contentRect.width, height: contentRect.height });
      }
      this.#look();
    });
    this.#sights = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const one = this.#elements.get(target);
        if (one !== undefined) one.visible = isIntersecting;
      }
      this.#look();
    });
    document.addEventListener('visibilitychange', this.#onVisibility);
  }

  add(element: Element): void {
    if (this.#sizes === undefined) return;
    // Counts as visible until the observer has looked.
    const { width, height } = element.getBoundingClientRect();
    this.#elements.set(element, { visible: true, width, height });
    this.#sizes.observe(element);
    this.#sights?.observe(element);
    this.#look();
  }

  delete(element: Element): void {
    this.#elements.delete(element);
    this.#sizes?.unobserve(element);
    this.#sights?.unobserve(element);
    this.#look();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#sizes?.disconnect();
    this.#sights?.disconnect();
    if (this.#sizes !== undefined) document.removeEventListener('visibilitychange', this.#onVisibility);
    this.#elements.clear();
  }

  #now(): Shown | undefined {
    const ratio = globalThis.devicePixelRatio;
    // Picture in picture is seen wherever its page is.
    const floating = document.pictureInPictureElement;
    const shown = [...this.#elements].map(([element, { width, height, visible }]) => ({
      width: width * ratio,
      height: height * ratio,
      visible: element === floating || (visible && !document.hidden),
    }));
    return needed(shown);
  }

  #look(): void {
    clearTimeout(this.#timer);
    const now = this.#now();
    if (JSON.stringify(now) === JSON.stringify(this.#told)) return;
    this.#timer = setTimeout(() => {
      this.#told = this.#now();
      this.#changed(this.#told);
    }, settleMs(this.#told, now));
  }
}
