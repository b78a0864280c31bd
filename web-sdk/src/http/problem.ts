import { type ErrorReason, IonError } from '../errors.js';

/** Bounds of what a `Retry-After` may make us wait. */
const RETRY_AFTER_MS = { least: 1000, most: 30_000 };

/** The part of `application/problem+json` (RFC 9457) that we read. */
interface ProblemBody {
  readonly type?: unknown;
  readonly title?: unknown;
  readonly detail?: unknown;
}

/**
 * A refusal by HTTP: what `application/problem+json` (RFC 9457) said, else the status line.
 */
export class HttpError extends IonError {
  /** The HTTP status. */
  readonly status: number;
  /** The problem's `type`, a stable URI; `about:blank` where the server named none. */
  readonly type: string;

  constructor(status: number, message: string, type = 'about:blank', retryAfterMs?: number) {
    super(TOKEN_PROBLEMS.get(type) ?? reasonOf(status), message, { retryAfterMs });
    this.status = status;
    this.type = type;
  }
}

/** Reads a refusal. */
export async function httpError(response: Response): Promise<HttpError> {
  const text = await response.text().catch(() => '');
  let body: ProblemBody = {};
  if ((response.headers.get('content-type') ?? '').includes('json')) {
    try {
      body = (JSON.parse(text) ?? {}) as ProblemBody;
    } catch {
      // A broken body is no reason to hide the status.
    }
  }
  const said = [body.title, body.detail].filter((part) => typeof part === 'string' && part !== '').join(': ');
  const message = said === '' ? text.slice(0, 200) || response.statusText : said;
  return new HttpError(
    response.status,
    `${message} (HTTP ${response.status})`,
    typeof body.type === 'string' ? body.type : undefined,
    retryAfterMs(response.headers.get('retry-after'), Date.now()),
  );
}

/** Problems that a status alone does not tell apart. */
const TOKEN_PROBLEMS: ReadonlyMap<string, ErrorReason> = new Map([
  ['urn:ion:problem:token-missing', 'tokenMissing'],
  ['urn:ion:problem:token-expired', 'tokenExpired'],
  ['urn:ion:problem:token-revoked', 'tokenRevoked'],
]);

function reasonOf(status: number): ErrorReason {
  switch (status) {
    case 401:
      return 'tokenInvalid';
    case 403:
      return 'forbidden';
    case 404:
    case 410:
      return 'notFound';
    case 409:
      return 'conflict';
    case 429:
      return 'rateLimited';
    case 503:
      return 'overloaded';
    default:
      return status >= 500 ? 'internal' : 'badMessage';
  }
}

/** What a `Retry-After` header (seconds or an HTTP date) asks for, within bounds. */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  if (Number.isNaN(ms)) return undefined;
  return Math.min(Math.max(ms, RETRY_AFTER_MS.least), RETRY_AFTER_MS.most);
}
