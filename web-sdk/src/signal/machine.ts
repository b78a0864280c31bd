import type { ErrorReason } from '../errors.js';
import { type Answer, type Event, type Join, type Joined, PROTOCOL, type Reason, type Request } from '../wire/signal.js';

/**
 * Longest time from opening a socket to the answer to `join` or `resume`. Short attempts find a network that is back sooner, as the
 * kernel repeats what it sends at growing intervals; each third is long enough for slow networks.
 */
const ATTEMPT_MS = { short: 1000, long: 4000, longEvery: 3 };
/** How long the first join is tried before it fails. */
const FIRST_JOIN_MS = 12_000;
/** How long a lost session is tried for before the client gives up. */
const GIVE_UP_MS = 120_000;
/** A socket in doubt has this long to answer a ping: so many of its round trips and this much more, or `most` where none was measured. */
const PROBE = { roundTrips: 4, moreMs: 250, mostMs: 2500 };
/** Waits between attempts: the first is short, each is longer, none longer than this. */
const BACKOFF = { firstMs: 250, factor: 1.6, mostMs: 5000 };
/** Silence that ends a socket, in ping intervals. */
const SILENT_INTERVALS = 3;

/** Refusals of a join after which the same join may do. */
const TRANSIENT: ReadonlySet<Reason> = new Set<Reason>(['overloaded', 'rateLimited', 'serverStopping', 'tooSlow']);

/**
 * `connecting` until first joined, `reconnecting` while the socket is away, `closed` for good.
 */
export type SignalState = 'idle' | 'connecting' | 'open' | 'reconnecting' | 'closed';

/** What happens to the machine. */
export type SignalInput =
  | { readonly type: 'join'; readonly join: Omit<Join, 'protocol' | 'token'> }
  /** The socket that was asked for is open. */
  | { readonly type: 'opened'; readonly token: string | undefined }
  /** That socket is gone, or could not be opened. */
  | { readonly type: 'closed' }
  | { readonly type: 'message'; readonly text: string }
  /** To be sent now or when there is a socket again; `key` names it in `answer`. */
  | { readonly type: 'request'; readonly key: number; readonly request: Request }
  /** Nobody waits for the answer any more. */
  | { readonly type: 'forget'; readonly key: number }
  /** The socket may be dead: find out soon. */
  | { readonly type: 'probe' }
  /** The network has changed: do not wait any longer. */
  | { readonly type: 'hurry' }
  | { readonly type: 'timer' }
  | { readonly type: 'end'; readonly reason: ErrorReason; readonly detail: string };

/** What the machine wants done, in order. */
export type SignalEffect =
  /** Open a socket, in place of any other. */
  | { readonly type: 'open' }
  | { readonly type: 'close' }
  | { readonly type: 'send'; readonly text: string }
  | { readonly type: 'state'; readonly state: SignalState }
  /** `again`: the former session was over; this participant is a new one. */
  | { readonly type: 'joined'; readonly joined: Joined; readonly again: boolean }
  | { readonly type: 'event'; readonly event: Event }
  | { readonly type: 'answer'; readonly key: number; readonly answer: Answer }
  | { readonly type: 'ended'; readonly reason: ErrorReason; readonly detail: string };

type Phase = 'idle' | 'connecting' | 'greeting' | 'open' | 'waiting' | 'ended';

interface Pending {
  readonly id: number;
  readonly request: Request;
  sent: boolean;
}

/**
 * The session behind a socket: joins, resumes, sends again what was not answered, keeps alive. Pure: sockets, time and chance
 * come from outside.
 */
export class SignalMachine {
  readonly #random: () => number;
  #phase: Phase = 'idle';
  #state: SignalState = 'idle';
  #join: Omit<Join, 'protocol' | 'token'> = {};
  #joined: Joined | undefined;
  /** Secret of the session to resume; undefined when there is none. */
  #session: string | undefined;
  #seq = 0;
  #nextId = 1;
  #greetingId = 0;
  readonly #pending = new Map<number, Pending>();
  #attempts = 0;
  /** When the present phase is over: attempt, back-off. */
  #phaseEndsMs = Infinity;
  #givesUpMs = Infinity;
  #pingMs = Infinity;
  #heardMs = 0;
  #askedMs = 0;
  #roundTripMs: number | undefined;
  #probeEndsMs = Infinity;
  #effects: SignalEffect[] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  get state(): SignalState {
    return this.#state;
  }

  /** When a `timer` input is due. */
  get timerMs(): number {
    switch (this.#phase) {
      case 'open':
        return Math.min(this.#pingMs, this.#probeEndsMs, this.#heardMs + this.#silenceMs());
      case 'connecting':
      case 'greeting':
      case 'waiting':
        return Math.min(this.#phaseEndsMs, this.#givesUpMs);
      case 'idle':
      case 'ended':
        return Infinity;
    }
  }

  handle(input: SignalInput, nowMs: number): SignalEffect[] {
    this.#effects = [];
    if (this.#phase !== 'ended') this.#take(input, nowMs);
    return this.#effects;
  }

  #take(input: SignalInput, nowMs: number): void {
    switch (input.type) {
      case 'join':
        this.#join = input.join;
        this.#givesUpMs = nowMs + FIRST_JOIN_MS;
        this.#become('connecting');
        this.#open(nowMs);
        break;
      case 'opened':
        this.#greet(input.token, nowMs);
        break;
      case 'closed':
        this.#lost(nowMs);
        break;
      case 'message':
        this.#message(input.text, nowMs);
        break;
      case 'request':
        this.#pending.set(input.key, { id: this.#nextId++, request: input.request, sent: false });
        if (this.#phase === 'open') this.#sendPending();
        break;
      case 'forget':
        this.#pending.delete(input.key);
        break;
      case 'probe':
        if (this.#phase === 'open' && this.#probeEndsMs === Infinity) {
          this.#probeEndsMs = nowMs + this.#probeMs();
          this.#ping(nowMs);
        }
        break;
      case 'hurry':
        this.#attempts = 0;
        if (this.#phase === 'waiting') this.#open(nowMs);
        break;
      case 'timer':
        this.#timer(nowMs);
        break;
      case 'end':
        this.#end(input.reason, input.detail);
        break;
    }
  }

  #open(nowMs: number): void {
    this.#phase = 'connecting';
    const isLong = this.#session === undefined || this.#attempts % ATTEMPT_MS.longEvery === 0;
    this.#phaseEndsMs = nowMs + (isLong ? ATTEMPT_MS.long : ATTEMPT_MS.short);
    this.#effects.push({ type: 'open' });
  }

  #greet(token: string | undefined, nowMs: number): void {
    if (this.#phase !== 'connecting') return;
    this.#askedMs = nowMs;
    this.#phase = 'greeting';
    this.#greetingId = this.#nextId++;
    const request: Request =
      this.#session === undefined
        ? { type: 'join', ...this.#join, protocol: PROTOCOL, ...(token === undefined ? {} : { token }) }
        : { type: 'resume', session: this.#session, seq: this.#seq };
    this.#send(this.#greetingId, request);
  }

  #message(text: string, nowMs: number): void {
    const message = parse(text);
    if (message === undefined) return;
    this.#heardMs = nowMs;
    this.#probeEndsMs = Infinity;
    if (typeof message['seq'] === 'number') this.#event(message as unknown as { seq: number } & Event, nowMs);
    else if (typeof message['id'] === 'number') this.#answer(message as unknown as { id: number } & Answer, nowMs);
  }

  #event(event: { seq: number } & Event, nowMs: number): void {
    if (event.seq <= this.#seq) return;
    if (event.seq > this.#seq + 1 && event.type !== 'room') {
      // Something is missing: resuming brings it.
      this.#effects.push({ type: 'close' });
      this.#lost(nowMs);
      return;
    }
    this.#seq = event.seq;
    this.#effects.push({ type: 'event', event });
    if (event.type === 'ended' && !TRANSIENT.has(event.reason)) this.#end(event.reason, event.detail);
  }

  #answer(answer: { id: number } & Answer, nowMs: number): void {
    if (answer.type === 'pong') this.#roundTripMs = Math.max(0, nowMs - answer.at);
    if (answer.id === this.#greetingId) {
      this.#roundTripMs ??= nowMs - this.#askedMs;
      if (this.#phase === 'greeting') this.#greeted(answer, nowMs);
      return;
    }
    for (const [key, { id }] of this.#pending) {
      if (id !== answer.id) continue;
      this.#pending.delete(key);
      this.#effects.push({ type: 'answer', key, answer });
      return;
    }
  }

  #greeted(answer: Answer, nowMs: number): void {
    switch (answer.type) {
      case 'joined': {
        const again = this.#joined !== undefined;
        this.#joined = answer;
        this.#session = answer.session;
        this.#seq = 0;
        this.#opened(nowMs);
        this.#effects.push({ type: 'joined', joined: answer, again });
        this.#become('open');
        this.#sendPending();
        break;
      }
      case 'resumed':
        // A gap is closed by the `room` event that comes first.
        this.#seq = answer.nextSeq - 1;
        this.#opened(nowMs);
        this.#become('open');
        this.#sendPending();
        break;
      case 'error':
        this.#refused(answer.reason, answer.detail, answer.retryAfterMs, nowMs);
        break;
      case 'ok':
      case 'answer':
      case 'pong':
        this.#end('protocol', `The server greets with ${answer.type}.`);
        break;
    }
  }

  #refused(reason: Reason, detail: string, retryAfterMs: number | undefined, nowMs: number): void {
    if (reason === 'noSuchSession' && this.#session !== undefined) {
      // Requests were of the session that is over.
      this.#session = undefined;
      this.#failPending('noSuchSession', 'The session is over.');
      this.#open(nowMs);
    } else if (TRANSIENT.has(reason)) {
      this.#effects.push({ type: 'close' });
      this.#lost(nowMs, retryAfterMs);
    } else this.#end(reason, detail);
  }

  #opened(nowMs: number): void {
    this.#phase = 'open';
    this.#attempts = 0;
    this.#phaseEndsMs = Infinity;
    this.#givesUpMs = Infinity;
    this.#heardMs = nowMs;
    this.#probeEndsMs = Infinity;
    this.#pingMs = nowMs + this.#intervalMs();
  }

  /** The socket is gone: wait, then open another. */
  #lost(nowMs: number, retryAfterMs = 0): void {
    if (this.#phase === 'idle' || this.#phase === 'waiting') return;
    for (const one of this.#pending.values()) one.sent = false;
    if (this.#phase === 'open') {
      this.#givesUpMs = nowMs + GIVE_UP_MS;
      this.#become('reconnecting');
    }
    const grown = BACKOFF.firstMs * BACKOFF.factor ** this.#attempts;
    // Chance keeps the clients of a server that comes back apart.
    const waitMs = Math.min(grown, BACKOFF.mostMs) * (0.5 + this.#random() / 2);
    this.#attempts += 1;
    this.#phase = 'waiting';
    this.#phaseEndsMs = nowMs + Math.max(waitMs, retryAfterMs);
  }

  #timer(nowMs: number): void {
    if (nowMs >= this.#givesUpMs) {
      this.#end('network', 'The server cannot be reached.');
      return;
    }
    switch (this.#phase) {
      case 'connecting':
      case 'greeting':
        if (nowMs < this.#phaseEndsMs) break;
        this.#effects.push({ type: 'close' });
        this.#lost(nowMs);
        break;
      case 'waiting':
        if (nowMs >= this.#phaseEndsMs) this.#open(nowMs);
        break;
      case 'open':
        if (nowMs >= this.#probeEndsMs) {
          // It was found dead, and had not been refused: another can be had at once, if at all.
          this.#effects.push({ type: 'close' });
          this.#lost(nowMs);
          this.#open(nowMs);
        } else if (nowMs >= this.#heardMs + this.#silenceMs()) {
          this.#effects.push({ type: 'close' });
          this.#lost(nowMs);
        } else if (nowMs >= this.#pingMs) this.#ping(nowMs);
        break;
      case 'idle':
      case 'ended':
        break;
    }
  }

  #ping(nowMs: number): void {
    this.#pingMs = nowMs + this.#intervalMs();
    this.#send(this.#nextId++, { type: 'ping', at: Math.round(nowMs) });
  }

  #probeMs(): number {
    if (this.#roundTripMs === undefined) return PROBE.mostMs;
    return Math.min(PROBE.mostMs, PROBE.roundTrips * this.#roundTripMs + PROBE.moreMs);
  }

  #intervalMs(): number {
    return Math.max(1000, this.#joined?.pingIntervalMs ?? 10_000);
  }

  #silenceMs(): number {
    return this.#intervalMs() * SILENT_INTERVALS;
  }

  #sendPending(): void {
    for (const one of this.#pending.values()) {
      if (one.sent) continue;
      one.sent = true;
      this.#send(one.id, one.request);
    }
  }

  #send(id: number, request: Request): void {
    this.#effects.push({ type: 'send', text: JSON.stringify({ id, ...request }) });
  }

  #failPending(reason: Reason, detail: string): void {
    for (const key of this.#pending.keys()) this.#effects.push({ type: 'answer', key, answer: { type: 'error', reason, detail } });
    this.#pending.clear();
  }

  #become(state: SignalState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#effects.push({ type: 'state', state });
  }

  #end(reason: ErrorReason, detail: string): void {
    this.#phase = 'ended';
    this.#pending.clear();
    this.#effects.push({ type: 'close' });
    this.#become('closed');
    this.#effects.push({ type: 'ended', reason, detail });
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
