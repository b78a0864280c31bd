// Offers in plain text, for requests that no real client would make, and for ones that need no media.

const FINGERPRINT = Array.from({ length: 32 }, (_, at) => (at * 7 + 16).toString(16).toUpperCase().padStart(2, '0')).join(':');

/**
 * A sound offer of one video section, unless told otherwise.
 * @param {{direction?: string, codec?: string, sections?: number, candidates?: number}} [options]
 */
export function offer({ direction = 'sendonly', codec = 'VP8', sections = 1, candidates = 0 } = {}) {
  const mids = Array.from({ length: sections }, (_, at) => at);
  const lines = [
    'v=0',
    'o=- 4611731400430051336 2 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    `a=group:BUNDLE ${mids.join(' ')}`,
    'a=extmap-allow-mixed',
    `a=fingerprint:sha-256 ${FINGERPRINT}`,
    'a=setup:actpass',
    'a=ice-ufrag:abcd',
    'a=ice-pwd:abcdefghijklmnopqrstuvwx',
    ...mids.flatMap((mid) => [
      'm=video 9 UDP/TLS/RTP/SAVPF 96',
      'c=IN IP4 0.0.0.0',
      `a=mid:${mid}`,
      `a=${direction}`,
      'a=rtcp-mux',
      'a=rtcp-mux-only',
      `a=rtpmap:96 ${codec}/90000`,
      ...Array.from({ length: candidates }, (_, at) => `a=candidate:${at} 1 udp 2113937151 127.0.0.1 ${20_000 + (at % 40_000)} typ host`),
    ]),
  ];
  return `${lines.join('\r\n')}\r\n`;
}
