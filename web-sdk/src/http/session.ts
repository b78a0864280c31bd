import { type CallOptions, abortable, deadline, sleep, throwIfAborted } from '../async.js';
import { Emitter } from '../emitter.js';
import { IonError, ionError } from '../errors.js';
import { type IceSection, iceFragment, iceSection, withIceOf } from './fragment.js';
import { HttpError, httpError } from './problem.js';

/** An ICE `disconnected` often heals by itself: wait this long before a restart is asked for. */
const DISCONNECTED_GRACE_MS = 2000;
/** ICE restarts in a row that may fail before the session is given up. */
const MAX_RESTARTS = 5;
/** Longest wait for one answer to a PATCH or DELETE. */
const REQUEST_TIMEOUT_MS = 10_000;
const DELETE_TIMEOUT_MS = 1000;
/** Wait before the same POST again where the server named none. */
const RETRY_MS = 2000;
/** Candidates found within this time go in one PATCH. */
const TRICKLE_DELAY_MS = 50;

const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';

/**
 * What WHIP and WHEP sessions have in common.
 */
export interface HttpSessionOptions extends CallOptions {
  /** Bearer token. */
  readonly token?: string | undefined;
  /** STUN and TURN servers; those that the server names (`Link: rel="ice-server"`) are used from the first ICE restart on. */
  readonly iceServers?: readonly RTCIceServer[] | undefined;
  /** Called before each wait that the server asked for (409: nobody publishes yet; 429, 503: busy). */
  readonly onRetry?: ((error: HttpError, waitMs: number) => void) | undefined;
}

/**
 * `connecting` until media can flow, `disconnected` while the session repairs itself, `closed` for good.
 */
export type HttpSessionState = 'connecting' | 'connected' | 'disconnected' | 'closed';

/**
 * Events of an {@link HttpSession}.
 */
export interface HttpSessionEvents {
  state: [state: HttpSessionState];
  /** An ICE restart was done. */
  restart: [];
  /** Something failed; the session goes on if it can. */
  error: [error: IonError];
  /** The session ended; with an error unless {@link HttpSession.close} was called. */
  close: [error: IonError | undefined];
}

/**
 * One WHIP (RFC 9725) or WHEP (draft-ietf-wish-whep-03) session: made by `publishWhip` and `playWhep`. Candidates are
 * trickled, and ICE is restarted when the connection is lost.
 */
export class HttpSession extends Emitter<HttpSessionEvents> {
  /** The peer connection, for statistics and for what this class does not cover. */
  readonly pc: RTCPeerConnection;
  readonly #endpoint: string;
  readonly #options: HttpSessionOptions;
  #state: HttpSessionState = 'connecting';
  /** The session's URL; undefined until the server made one. */
  #resource: string | undefined;
  #etag: string | undefined;
  #ice: IceSection | undefined;
  #candidates: string[] = [];
  #trickleTimer: ReturnType<typeof setTimeout> | undefined;
  #repairTimer: ReturnType<typeof setTimeout> | undefined;
  #restarts = 0;
  #restarting = false;

  /** For `publishWhip` and `playWhep`. @internal */
  constructor(endpoint: string | URL, options: HttpSessionOptions) {
    super();
    this.#endpoint = String(endpoint);
    this.#options = options;
    this.pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers: [...(options.iceServers ?? [])] });
    this.pc.addEventListener('icecandidate', ({ candidate }) => {
      this.#found(candidate);
    });
    this.pc.addEventListener('connectionstatechange', () => {
      this.#connectionChanged();
    });
  }

  /** The session's state. */
  get state(): HttpSessionState {
    return this.#state;
  }

  /** URL of the session at the server; undefined before it has one. */
  get resource(): string | undefined {
    return this.#resource;
  }

  /** Offers and takes the answer. @internal */
  async start(): Promise<this> {
    const { signal } = this.#options;
    try {
      throwIfAborted(signal);
      await this.pc.setLocalDescription();
      this.#ice = iceSection(this.#localSdp());
      const response = await this.#post();
      if (response.status === 406) await this.#answerCounterOffer(await response.text());
      else await this.pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
      throwIfAborted(signal);
      this.#trickleSoon();
      return this;
    } catch (error) {
      const reason = ionError(error, 'protocol');
      await this.#end(reason);
      throw reason;
    }
  }

  /** Asks for new ICE credentials (RFC 9725 section 4.3.3) and takes them over; the rest stays as negotiated. */
  async restartIce(options: CallOptions = {}): Promise<void> {
    const { pc } = this;
    const answer = pc.remoteDescription;
    if (this.#resource === undefined || this.#state === 'closed' || answer?.type !== 'answer') {
      throw new IonError('closed', 'There is no session to restart.');
    }
    this.#restarting = true;
    this.#candidates = [];
    try {
      await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
      this.#ice = iceSection(this.#localSdp());
      // A restart replaces whatever ICE session there is: "*" is what the RFC asks for.
      const response = await this.#patch(iceFragment(this.#ice, this.#take(), false), '*', options.signal);
      this.#etag = response.headers.get('etag') ?? this.#etag;
      await pc.setRemoteDescription({ type: 'answer', sdp: withIceOf(answer.sdp, await response.text()) });
      this.emit('restart');
    } catch (error) {
      if (pc.signalingState === 'have-local-offer') await pc.setLocalDescription({ type: 'rollback' });
      throw ionError(error, 'protocol');
    } finally {
      this.#restarting = false;
      this.#trickleSoon();
    }
  }

  /** Ends the session at both ends. Tracks that were published go on. Safe to call again, and while the page is being left. */
  async close(): Promise<void> {
    await this.#end(undefined);
  }

  /** Sends the offer until it is taken or refused for good. */
  async #post(): Promise<Response> {
    const { signal, onRetry } = this.#options;
    for (;;) {
      const response = await this.#request(this.#endpoint, 'POST', { 'Content-Type': SDP }, this.#localSdp(), signal);
      const offered = response.status === 406 && (response.headers.get('content-type') ?? '').startsWith(SDP);
      if (response.status === 201 || offered) {
        const location = response.headers.get('location');
        if (location === null) throw new IonError('protocol', 'The server did not say where the session is (no Location).');
        this.#resource = new URL(location, response.url).href;
        this.#etag = response.headers.get('etag') ?? undefined;
        return response;
      }
      const error = await httpError(response);
      if (![409, 429, 503].includes(response.status)) throw error;
      const waitMs = error.retryAfterMs ?? RETRY_MS;
      onRetry?.(error, waitMs);
      await sleep(waitMs, signal);
    }
  }

  /** A player's offer was refused and the server made one of its own (draft-ietf-wish-whep-03 section 4.3). */
  async #answerCounterOffer(sdp: string): Promise<void> {
    const { pc } = this;
    await pc.setLocalDescription({ type: 'rollback' });
    await pc.setRemoteDescription({ type: 'offer', sdp });
    await pc.setLocalDescription();
    this.#ice = iceSection(this.#localSdp());
    const response = await this.#request(this.#resource ?? '', 'PATCH', { 'Content-Type': SDP }, this.#localSdp());
    if (!response.ok) throw await httpError(response);
  }

  #patch(body: string, ifMatch: string, signal?: AbortSignal): Promise<Response> {
    return this.#request(this.#resource ?? '', 'PATCH', { 'Content-Type': FRAGMENT, 'If-Match': ifMatch }, body, signal).then(
      async (response) => {
        if (!response.ok) throw await httpError(response);
        return response;
      },
    );
  }

  async #request(
    url: string,
    method: string,
    headers: Record<string, string>,
    body: string | undefined,
    signal?: AbortSignal,
  ): Promise<Response> {
    const { token } = this.#options;
    const limit = deadline(method === 'DELETE' ? DELETE_TIMEOUT_MS : REQUEST_TIMEOUT_MS, signal);
    if (token !== undefined && token !== '') headers['Authorization'] = `Bearer ${token}`;
    try {
      // keepalive lets a DELETE outlive the page.
      const init: RequestInit = { method, headers, signal: limit.signal, keepalive: method === 'DELETE' };
      if (body !== undefined) init.body = body;
      return await abortable(fetch(url, init), limit.signal);
    } catch (error) {
      throw ionError(error, 'network');
    } finally {
      limit.done();
    }
  }

  #localSdp(): string {
    return this.pc.localDescription?.sdp ?? '';
  }

  #found(candidate: RTCIceCandidate | null): void {
    this.#candidates.push(candidate === null || candidate.candidate === '' ? '' : candidate.candidate);
    this.#trickleSoon();
  }

  /** Candidates that wait, without the marks of the end. */
  #take(): string[] {
    const found = this.#candidates.filter((candidate) => candidate !== '');
    this.#candidates = this.#candidates.filter((candidate) => candidate === '');
    return found;
  }

  #trickleSoon(): void {
    if (this.#candidates.length === 0 || this.#trickleTimer !== undefined) return;
    this.#trickleTimer = setTimeout(() => {
      this.#trickleTimer = undefined;
      this.#trickle().catch((error: unknown) => {
        // The candidates of the offer may do: no reason to end anything.
        this.emit('error', ionError(error, 'network'));
      });
    }, TRICKLE_DELAY_MS);
  }

  async #trickle(): Promise<void> {
    // Not before there is a session, nor into one that is being restarted: `start` and `restartIce` call again.
    const answered = this.pc.signalingState === 'stable' && this.#resource !== undefined && !this.#restarting;
    if (!answered || this.#ice === undefined || this.#state === 'closed' || this.#candidates.length === 0) return;
    const end = this.#candidates.includes('');
    const found = this.#take();
    this.#candidates = [];
    await this.#patch(iceFragment(this.#ice, found, end), this.#etag ?? '*');
  }

  #connectionChanged(): void {
    clearTimeout(this.#repairTimer);
    switch (this.pc.connectionState) {
      case 'connected':
        this.#restarts = 0;
        this.#become('connected');
        break;
      case 'disconnected':
        this.#become('disconnected');
        this.#repairIn(DISCONNECTED_GRACE_MS);
        break;
      case 'failed':
        this.#become('disconnected');
        this.#repairIn(0);
        break;
      case 'new':
      case 'connecting':
      case 'closed':
        break;
    }
  }

  #repairIn(ms: number): void {
    this.#repairTimer = setTimeout(() => {
      void this.#repair();
    }, ms);
  }

  async #repair(): Promise<void> {
    if (this.#state === 'closed' || this.#restarting) return;
    this.#restarts += 1;
    if (this.#restarts > MAX_RESTARTS) {
      await this.#end(new IonError('media', 'The connection is lost, and could not be made again.'));
      return;
    }
    try {
      await this.restartIce();
    } catch (error) {
      const reason = ionError(error);
      const gone = reason instanceof HttpError && [401, 403, 404, 410].includes(reason.status);
      if (gone) await this.#end(reason);
      else {
        this.emit('error', reason);
        this.#repairIn(DISCONNECTED_GRACE_MS * this.#restarts);
      }
    }
  }

  #become(state: HttpSessionState): void {
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    this.emit('state', state);
  }

  async #end(error: IonError | undefined): Promise<void> {
    if (this.#state === 'closed') return;
    this.#become('closed');
    clearTimeout(this.#trickleTimer);
    clearTimeout(this.#repairTimer);
    this.emit('close', error);
    // DTLS is closed after the DELETE: closing first would end the session under it, and it would find nothing.
    if (this.#resource !== undefined) {
      await this.#request(this.#resource, 'DELETE', {}, undefined).catch(() => undefined);
    }
    this.pc.close();
  }
}
