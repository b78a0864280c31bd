// Sees that media which came steadily has stopped, seconds before ICE does.

/** Time between two looks, in milliseconds. */
const LOOK_MS = 100;
/** Of the last `looks`, so many have to have seen something new for media to come steadily. */
const STEADY = { looks: 10, moved: 8 };
/** Looks in a row that see nothing new. */
const QUIET_LOOKS = 3;

/** Pure: told whether each look saw something new. */
export class StallMeter {
  readonly #looks: boolean[] = [];
  #stalled = false;

  /** Says when media has stalled, and when it comes again. What comes now and then, as speech with pauses does, does not stall. */
  look(moved: boolean): boolean | undefined {
    if (this.#stalled) {
      if (!moved) return undefined;
      this.#stalled = false;
      this.#looks.length = 0;
      return false;
    }
    this.#looks.push(moved);
    if (this.#looks.length > STEADY.looks + QUIET_LOOKS) this.#looks.shift();
    const before = this.#looks.slice(0, -QUIET_LOOKS).filter(Boolean).length;
    if (before < STEADY.moved || this.#looks.slice(-QUIET_LOOKS).some(Boolean)) return undefined;
    this.#stalled = true;
    return true;
  }
}

/** Looks at a connection, by `newest`: the time of the newest packet, if one came after the time it is given. */
export class StallWatch {
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(newest: (afterMs: number) => number | undefined, tell: (stalled: boolean) => void) {
    const meter = new StallMeter();
    let lastMs = 0;
    this.#timer = setInterval(() => {
      const nowMs = newest(lastMs);
      lastMs = nowMs ?? lastMs;
      const stalled = meter.look(nowMs !== undefined);
      if (stalled !== undefined) tell(stalled);
    }, LOOK_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
