// The access token: given in the address after `#token=`, which is never sent to a server or typed in, and kept for this tab.

/** What a token says of itself; nobody has verified it here. */
export interface TokenClaims {
  readonly identity: string;
  readonly name: string;
  readonly room: string;
  readonly mayRename: boolean;
  readonly isAdmin: boolean;
  readonly expiresAtS: number | undefined;
}

const KEY = 'ion.token';

/** Reads a JWT's claims; undefined where it is none. */
export function claimsOf(token: string): TokenClaims | undefined {
  const [, payload, signature] = token.split('.');
  if (payload === undefined || signature === undefined) return undefined;
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (!isRecord(claims)) return undefined;
    const grants = isRecord(claims['video']) ? claims['video'] : {};
    return {
      identity: text(claims['sub']),
      name: text(claims['name']),
      room: text(grants['room']),
      mayRename: grants['canUpdateOwnMetadata'] === true,
      isAdmin: grants['roomAdmin'] === true,
      expiresAtS: typeof claims['exp'] === 'number' ? claims['exp'] : undefined,
    };
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** The token of this tab; empty without. */
export function savedToken(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given !== null) {
    sessionStorage.setItem(KEY, given);
    // Out of sight, and out of what is copied from the address bar.
    history.replaceState(null, '', location.pathname + location.search);
  }
  return sessionStorage.getItem(KEY) ?? '';
}

export function saveToken(token: string): void {
  if (token === '') sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, token);
}
