import { type CallOptions, aborted, throwIfAborted } from '../async.js';
import { Emitter } from '../emitter.js';
import { type ErrorReason, IonError, ionError } from '../errors.js';
import { type Answer, type Event, type Join, type Joined, type OfferAnswer, type Pong, type Request, SUBPROTOCOL } from '../wire/signal.js';
import { type SignalEffect, type SignalInput, SignalMachine, type SignalState } from './machine.js';

/**
 * A token, or what fetches one: asked for each time that the room is joined, so that an expired one is replaced.
 */
export type TokenSource = string | (() => string | Promise<string>);

/**
 * Where and as whom to join.
 */
export interface SignalOptions {
  /** The server, `https://sfu.example.org`. */
  readonly url: string | URL;
  readonly token?: TokenSource | undefined;
}

/**
 * Events of a {@link SignalClient}.
 */
export interface SignalEvents {
  state: [state: SignalState];
  /** Joined; `again` when a former session was over, so that everything has to be told to the server anew. */
  joined: [joined: Joined, again: boolean];
  event: [event: Event];
  /** Over for good. */
  ended: [error: IonError];
}

/**
 * A request without its type.
 */
export type RequestBody<Type extends Request['type']> = Omit<Extract<Request, { type: Type }>, 'type'>;

/**
 * What a request is answered with; `undefined` where that is just "done".
 */
export type AnswerTo<Type extends Request['type']> = Type extends 'offer' ? OfferAnswer : Type extends 'ping' ? Pong : undefined;

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: IonError) => void;
}

/**
 * The signalling session: requests with answers, events, and a socket that is opened again when it is lost. Drives a
 * pure state machine over a `WebSocket`.
 */
export class SignalClient extends Emitter<SignalEvents> {
  readonly #options: SignalOptions;
  readonly #machine = new SignalMachine(Math.random);
  readonly #waiting = new Map<number, Waiting>();
  readonly #listening = new AbortController();
  #socket: WebSocket | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #nextKey = 1;
  #error: IonError | undefined;

  constructor(options: SignalOptions) {
    super();
    this.#options = options;
  }

  /** How the session is. */
  get state(): SignalState {
    return this.#machine.state;
  }

  /** Joins; call it once. Rejects with the server's reason, or `network`. */
  async join(join: Omit<Join, 'protocol' | 'token'>, options: CallOptions = {}): Promise<Joined> {
    const { signal } = options;
    throwIfAborted(signal);
    if (this.state !== 'idle') throw new IonError('wrongState', 'This client has joined already.');
    const joined = new Promise<Joined>((resolve, reject) => {
      this.once('joined', resolve);
      this.once('ended', reject);
    });
    const onAbort = (): void => {
      this.#take({ type: 'end', reason: 'aborted', detail: 'The call was given up.' });
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    // The network came back: do not wait out a back-off.
    const on = { signal: this.#listening.signal };
    globalThis.addEventListener('online', () => {
      this.#take({ type: 'hurry' });
      this.probe();
    }, on);
    this.#take({ type: 'join', join });
    try {
      return await joined;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Asks the server for something. Waits for a socket where there is none, and asks again when it was lost before the answer.
   * Rejects with the server's reason; `noSuchSession` when the session was over meanwhile.
   */
  async request<Type extends Request['type']>(
    type: Type,
    body: RequestBody<Type>,
    options: CallOptions = {},
  ): Promise<AnswerTo<Type>> {
    const { signal } = options;
    throwIfAborted(signal);
    if (this.#error !== undefined) throw new IonError('closed', 'The session is over.', { cause: this.#error });
    const key = this.#nextKey++;
    const onAbort = (): void => {
      this.#take({ type: 'forget', key });
      if (signal !== undefined) this.#waiting.get(key)?.reject(aborted(signal));
      this.#waiting.delete(key);
    };
    const answered = new Promise<Answer>((resolve, reject) => this.#waiting.set(key, { resolve, reject }));
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#take({ type: 'request', key, request: { ...body, type } as unknown as Request });
      const answer = await answered;
      if (answer.type === 'error') {
        throw new IonError(answer.reason, answer.detail, { retryAfterMs: answer.retryAfterMs });
      }
      return (answer.type === 'answer' || answer.type === 'pong' ? answer : undefined) as AnswerTo<Type>;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Finds out soon whether the socket still works. */
  probe(): void {
    this.#take({ type: 'probe' });
  }

  /** Leaves the room and ends. */
  async leave(options: CallOptions = {}): Promise<void> {
    try {
      if (this.state === 'open') await this.request('leave', {}, options);
    } catch (error) {
      // The end comes as an event too, and may overtake the answer.
      if (ionError(error).reason === 'aborted') throw error;
    } finally {
      this.close();
    }
  }

  /** Drops the socket without a word: the server keeps the session for a while. */
  close(): void {
    this.#take({ type: 'end', reason: 'closed', detail: 'The session was closed.' });
  }

  #take(input: SignalInput): void {
    const effects = this.#machine.handle(input, performance.now());
    clearTimeout(this.#timer);
    const { timerMs } = this.#machine;
    if (timerMs !== Infinity) {
      this.#timer = setTimeout(() => {
        this.#take({ type: 'timer' });
      }, Math.max(0, timerMs - performance.now()));
    }
    for (const effect of effects) this.#do(effect);
  }

  #do(effect: SignalEffect): void {
    switch (effect.type) {
      case 'open':
        void this.#open();
        break;
      case 'close':
        this.#drop();
        break;
      case 'send':
        this.#socket?.send(effect.text);
        break;
      case 'state':
        this.emit('state', effect.state);
        break;
      case 'joined':
        this.emit('joined', effect.joined, effect.again);
        break;
      case 'event':
        this.emit('event', effect.event);
        break;
      case 'answer':
        this.#waiting.get(effect.key)?.resolve(effect.answer);
        this.#waiting.delete(effect.key);
        break;
      case 'ended':
        this.#ended(effect.reason, effect.detail);
        break;
    }
  }

  #ended(reason: ErrorReason, detail: string): void {
    this.#listening.abort();
    const error = (this.#error ??= new IonError(reason, detail));
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.emit('ended', error);
  }

  async #open(): Promise<void> {
    this.#drop();
    const { token, url } = this.#options;
    let socket: WebSocket;
    let bearer: string | undefined;
    try {
      socket = new WebSocket(signalUrl(url), SUBPROTOCOL);
      this.#socket = socket;
      bearer = typeof token === 'function' ? await token() : token;
    } catch (error) {
      const { reason, message } = ionError(error, 'tokenMissing');
      this.#take({ type: 'end', reason, detail: message });
      return;
    }
    const current = (): boolean => this.#socket === socket;
    const opened = (): void => {
      if (current()) this.#take({ type: 'opened', token: bearer });
    };
    socket.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
      if (current() && typeof data === 'string') this.#take({ type: 'message', text: data });
    });
    socket.addEventListener('close', () => {
      if (!current()) return;
      this.#socket = undefined;
      this.#take({ type: 'closed' });
    });
    if (!current()) return;
    // The token may have taken longer than the socket.
    if (socket.readyState === WebSocket.OPEN) opened();
    else if (socket.readyState === WebSocket.CLOSED) this.#take({ type: 'closed' });
    else socket.addEventListener('open', opened);
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }
}

function signalUrl(server: string | URL): string {
  const base = new URL(server, typeof location === 'undefined' ? undefined : location.href);
  const url = new URL('/v1/signal', base);
  url.protocol = base.protocol.replace('http', 'ws');
  return url.href;
}
