import { describe, expect, it } from 'vitest';
import { iceFragment, iceSection, withIceOf } from '../src/http/fragment.js';
import { httpError, retryAfterMs } from '../src/http/problem.js';

const OFFER = [
  'v=0',
  'o=- 1 2 IN IP4 127.0.0.1',
  'a=group:BUNDLE 0 1',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=mid:0',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=mid:1',
  '',
].join('\r\n');

describe('SDP fragments', () => {
  it('carry candidates of the section that owns the transport', () => {
    const ice = iceSection(OFFER);
    expect(iceFragment(ice, ['candidate:1 1 udp 1 127.0.0.1 5000 typ host'], true).split('\r\n')).toEqual([
      'a=group:BUNDLE 0 1',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
      'a=mid:0',
      'a=ice-ufrag:abcd',
      'a=ice-pwd:0123456789012345678901',
      'a=candidate:1 1 udp 1 127.0.0.1 5000 typ host',
      'a=end-of-candidates',
      '',
    ]);
  });

  it('take the place of what an answer said', () => {
    const answer = 'v=0\r\na=ice-ufrag:old\r\na=ice-pwd:old\r\nm=audio 9 X 0\r\na=candidate:old\r\na=mid:0\r\n';
    const frag = 'a=ice-ufrag:new\r\na=ice-pwd:newpwd\r\nm=audio 9 X 0\r\na=candidate:new\r\n';
    expect(withIceOf(answer, frag)).toBe(
      'v=0\r\na=ice-ufrag:new\r\na=ice-pwd:newpwd\r\na=candidate:new\r\nm=audio 9 X 0\r\na=mid:0\r\n',
    );
    expect(() => withIceOf(answer, 'm=audio 9 X 0\r\n')).toThrow(/without new credentials/);
  });

  it('are refused without credentials', () => {
    expect(() => iceSection('v=0\r\nm=audio 9 X 0\r\na=mid:0\r\n')).toThrow(/ice-ufrag/);
  });
});

describe('refusals by HTTP', () => {
  it('say what the problem document says', async () => {
    const body = JSON.stringify({ type: 'https://example.org/full', title: 'Room is full', detail: 'Try later.' });
    const headers = { 'content-type': 'application/problem+json', 'retry-after': '7' };
    const error = await httpError(new Response(body, { status: 503, headers }));
    expect(error).toMatchObject({
      reason: 'overloaded',
      status: 503,
      type: 'https://example.org/full',
      message: 'Room is full: Try later. (HTTP 503)',
      retryAfterMs: 7000,
    });
  });

  it('tell why a token is refused', async () => {
    const body = JSON.stringify({ type: 'urn:ion:problem:token-revoked', title: 'The token was revoked' });
    const error = await httpError(new Response(body, { status: 401, headers: { 'content-type': 'application/problem+json' } }));
    expect(error).toMatchObject({ reason: 'tokenRevoked', status: 401 });
  });

  it('survive a broken document', async () => {
    const error = await httpError(new Response('{', { status: 401, headers: { 'content-type': 'application/json' } }));
    expect(error).toMatchObject({ reason: 'tokenInvalid', message: '{ (HTTP 401)' });
  });

  it('bound what the server may make us wait', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    expect(retryAfterMs('100000', now)).toBe(30_000);
    expect(retryAfterMs('0', now)).toBe(1000);
    expect(retryAfterMs('Thu, 01 Jan 2026 00:00:12 GMT', now)).toBe(12_000);
    expect(retryAfterMs('soon', now)).toBeUndefined();
  });
});
