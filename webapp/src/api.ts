// The management API, as far as this app uses it: https://…/docs describes it. One function for each request.
import { HttpError } from '@ion-sfu/sdk';

/** A request with a token; rejects with an `HttpError` that has the server's words. */
export async function request<Body>(path: string, token: string, init: { method?: string; body?: unknown; signal?: AbortSignal } = {}): Promise<Body> {
  const { method = 'GET', body, signal } = init;
  const headers: Record<string, string> = { accept: 'application/json' };
  if (token !== '') headers['authorization'] = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  const response = await fetch(path, {
    method,
    headers,
    body: body === undefined ? null : JSON.stringify(body),
    signal: signal ?? null,
  });
  const text = await response.text();
  if (!response.ok) throw problem(response.status, text);
  return (text === '' ? undefined : JSON.parse(text)) as Body;
}

function problem(status: number, text: string): HttpError {
  try {
    const { title = '', detail = '', type = 'about:blank' } = JSON.parse(text) as { title?: string; detail?: string; type?: string };
    return new HttpError(status, detail === '' ? title : `${title}: ${detail}`, type);
  } catch {
    return new HttpError(status, `The server answered ${status}.`);
  }
}

/** Whether this server takes guests: `ion run --dev`. */
export async function takesGuests(signal: AbortSignal): Promise<boolean> {
  const response = await fetch('/v1/status', { signal });
  return response.status !== 401;
}

export interface RoomInfo {
  readonly name: string;
  readonly createdAtS: number;
  readonly publishers: number;
  readonly viewers: number;
  readonly tracks: number;
  readonly receivedBps: number;
  readonly sentBps: number;
}

export interface ParticipantInfo {
  readonly identity: string;
  readonly name: string;
  readonly role: string;
  readonly state: string;
  readonly joinedAtS: number;
  readonly rttMs: number | null;
  readonly tracks: number;
  readonly receivedBps: number;
  readonly sentBps: number;
  readonly worker: number;
}

export interface TrackInfo {
  readonly id: string;
  readonly kind: 'audio' | 'video';
  readonly codec: string;
  readonly direction: string;
  readonly viewers: number;
  readonly bitrateBps: number;
  readonly packets: number;
  readonly lost: number;
}

export interface WorkerStatus {
  readonly worker: number;
  readonly transports: number;
  readonly receivedPackets: number;
  readonly sentPackets: number;
  readonly receivedBps: number;
  readonly sentBps: number;
  readonly droppedPackets: number;
}

export interface Status {
  readonly version: string;
  readonly uptimeS: number;
  readonly ready: boolean;
  readonly rooms: number;
  readonly publishers: number;
  readonly viewers: number;
  readonly dataplane: { readonly pid: number; readonly uptimeS: number; readonly media: readonly string[] };
  readonly workers: readonly WorkerStatus[];
  readonly tables: readonly { readonly table: string; readonly used: number; readonly capacity: number }[];
}

const room = (name: string): string => `/v1/rooms/${encodeURIComponent(name)}`;
const participant = (name: string, identity: string): string => `${room(name)}/participants/${encodeURIComponent(identity)}`;

export const read = {
  status: (token: string, signal: AbortSignal): Promise<Status> => request('/v1/status', token, { signal }),
  rooms: (token: string, signal: AbortSignal): Promise<{ rooms: readonly RoomInfo[] }> => request('/v1/rooms', token, { signal }),
  participants: (token: string, name: string, signal: AbortSignal): Promise<{ participants: readonly ParticipantInfo[] }> =>
    request(`${room(name)}/participants`, token, { signal }),
  tracks: (token: string, name: string, identity: string, signal: AbortSignal): Promise<{ tracks: readonly TrackInfo[] }> =>
    request(`${participant(name, identity)}/tracks`, token, { signal }),
};

/** What moderators do in a call. Needs `roomAdmin` for the room. */
export const moderate = {
  admit: (token: string, name: string, identity: string): Promise<void> => request(`${participant(name, identity)}/admit`, token, { method: 'POST' }),
  kick: (token: string, name: string, identity: string): Promise<void> => request(participant(name, identity), token, { method: 'DELETE' }),
  move: (token: string, name: string, identity: string, target: string): Promise<void> =>
    request(`${participant(name, identity)}/move`, token, { method: 'POST', body: { to: target } }),
  /** All its sound; it may unmute itself. */
  mute: (token: string, name: string, identity: string): Promise<void> =>
    request(`${participant(name, identity)}/mute`, token, { method: 'POST', body: { kind: 'audio' } }),
};

export interface KeyInfo {
  readonly key: string;
  readonly label: string;
  /** From the settings: not changed over HTTP. */
  readonly fixed: boolean;
  readonly createdAtS: number;
}

export interface KeySecret extends KeyInfo {
  readonly secret: string;
}

const key = (name: string): string => `/v1/keys/${encodeURIComponent(name)}`;

/** API keys. Needs `serverAdmin`. */
export const keys = {
  list: (token: string, signal: AbortSignal): Promise<{ keys: readonly KeyInfo[] }> => request('/v1/keys?limit=100', token, { signal }),
  create: (token: string, label: string): Promise<KeySecret> => request('/v1/keys', token, { method: 'POST', body: { label } }),
  rotate: (token: string, name: string): Promise<KeySecret> => request(`${key(name)}/rotate`, token, { method: 'POST', body: {} }),
  remove: (token: string, name: string): Promise<undefined> => request(key(name), token, { method: 'DELETE' }),
};
