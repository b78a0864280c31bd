// When to restart ICE, when to make a new connection, when to give up. Pure: told what happens, asked what to do.

/** ICE often heals by itself: wait this long before it is restarted. */
const GRACE_MS = 1000;
/** Time for a restart, or a new connection, to come up before the next step. */
const STEP_MS = 6000;
/** ICE restarts before a connection is made anew. */
const ICE_RESTARTS = 2;
/** New connections in a row that may fail, with the server at hand, before the room is given up. */
const NEW_CONNECTIONS = 6;

export type RecoveryInput =
  /** Whether requests reach the server. */
  | { readonly type: 'signal'; readonly open: boolean }
  /** `connectionState` of the present peer connection. */
  | { readonly type: 'media'; readonly state: RTCPeerConnectionState }
  /** Media that came steadily has stopped, or comes again: seconds before `media` says so. */
  | { readonly type: 'stalled'; readonly stalled: boolean }
  /** The server says that our transport is gone, or we are a new participant: nothing of the connection is worth keeping. */
  | { readonly type: 'lost' }
  | { readonly type: 'timer' };

export type RecoveryEffect =
  /** Find out whether the socket works, and say `signal` when it does: media is away, the network may be. */
  | { readonly type: 'probe' }
  | { readonly type: 'restartIce' }
  | { readonly type: 'newConnection' }
  | { readonly type: 'giveUp' };

export class Recovery {
  /** Not while the socket is in doubt: an offer that nobody gets would only make ICE forget a way that may heal. */
  #signal = false;
  /** `fresh`: a connection that was never up. */
  #media: 'fresh' | 'up' | 'down' | 'lost' = 'fresh';
  #dueMs = Infinity;
  #graceEndsMs = 0;
  #stalled = false;
  #restarts = 0;
  #connections = 0;

  /** Whether all is well. */
  get healthy(): boolean {
    return this.#signal && (this.#media === 'up' || (this.#media === 'fresh' && this.#connections === 0));
  }

  /** When a `timer` input is due. */
  get timerMs(): number {
    return this.#signal ? this.#dueMs : Infinity;
  }

  handle(input: RecoveryInput, nowMs: number): RecoveryEffect[] {
    switch (input.type) {
      case 'signal':
        return this.#signalIs(input.open, nowMs);
      case 'stalled':
        this.#stalled = input.stalled;
        return input.stalled && this.#media === 'up' && this.#signal ? [{ type: 'probe' }] : [];
      case 'media':
        return this.#mediaIs(input.state, nowMs);
      case 'lost':
        this.#media = 'lost';
        this.#graceEndsMs = nowMs;
        this.#dueMs = nowMs;
        return this.#step(nowMs);
      case 'timer':
        return this.#step(nowMs);
    }
  }

  #signalIs(open: boolean, nowMs: number): RecoveryEffect[] {
    const isBack = open && !this.#signal;
    this.#signal = open;
    // Socket and media were away together, so the network was, and may be another one now: ICE would find out too late.
    if (isBack && this.#stalled && this.#media === 'up') {
      this.#stalled = false;
      return [{ type: 'restartIce' }];
    }
    // A socket that came back may have been away for long: media that is still down needs help at once.
    if (open && (this.#media === 'down' || this.#media === 'lost')) this.#dueMs = Math.max(nowMs, this.#graceEndsMs);
    return this.#step(nowMs);
  }

  #mediaIs(state: RTCPeerConnectionState, nowMs: number): RecoveryEffect[] {
    switch (state) {
      case 'connected':
        this.#media = 'up';
        this.#stalled = false;
        this.#dueMs = Infinity;
        this.#restarts = 0;
        this.#connections = 0;
        return [];
      case 'connecting':
        if (this.#media === 'fresh' && this.#dueMs === Infinity) this.#dueMs = nowMs + STEP_MS * 2;
        return [];
      case 'disconnected':
        if (this.#media !== 'up') return [];
        this.#media = 'down';
        this.#signal = false;
        this.#graceEndsMs = nowMs + GRACE_MS;
        return [{ type: 'probe' }];
      case 'failed': {
        const wasUp = this.#media === 'up';
        this.#media = 'down';
        // What never came up will not by a restart.
        if (!wasUp && this.#restarts === 0 && this.#connections > 0) this.#restarts = ICE_RESTARTS;
        this.#signal = false;
        this.#graceEndsMs = nowMs;
        return [{ type: 'probe' }];
      }
      case 'new':
      case 'closed':
        return [];
    }
  }

  #step(nowMs: number): RecoveryEffect[] {
    if (!this.#signal || nowMs < this.#dueMs) return [];
    this.#dueMs = nowMs + STEP_MS;
    if (this.#media === 'down' && this.#restarts < ICE_RESTARTS) {
      this.#restarts += 1;
      return [{ type: 'restartIce' }];
    }
    if (this.#connections >= NEW_CONNECTIONS) {
      this.#dueMs = Infinity;
      return [{ type: 'giveUp' }];
    }
    this.#connections += 1;
    this.#restarts = 0;
    this.#media = 'fresh';
    this.#dueMs = nowMs + STEP_MS * 2;
    return [{ type: 'newConnection' }];
  }
}
