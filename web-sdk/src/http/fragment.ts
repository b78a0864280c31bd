// SDP fragments of trickle ICE over HTTP (RFC 8840 section 9, RFC 9725 section 4.3). Pure functions on text.
import { IonError } from '../errors.js';

/** The ICE part of a description: who owns the transport, its credentials, and candidates. */
export interface IceSection {
  readonly group: string | undefined;
  /** The first m-line, which owns the bundled transport. */
  readonly media: string;
  readonly mid: string;
  readonly ufrag: string;
  readonly pwd: string;
}

/** Reads the ICE part of our own offer. */
export function iceSection(sdp: string): IceSection {
  const lines = sdp.split(/\r?\n/);
  const first = lines.findIndex((line) => line.startsWith('m='));
  const next = lines.findIndex((line, at) => at > first && line.startsWith('m='));
  const section = lines.slice(Math.max(first, 0), next === -1 ? undefined : next);
  const value = (name: string): string => {
    const line = section.find((one) => one.startsWith(`a=${name}:`)) ?? lines.find((one) => one.startsWith(`a=${name}:`));
    if (line === undefined) throw new IonError('protocol', `The description has no a=${name}.`);
    return line.slice(name.length + 3);
  };
  return {
    group: lines.find((line) => line.startsWith('a=group:BUNDLE')),
    media: section[0] ?? '',
    mid: value('mid'),
    ufrag: value('ice-ufrag'),
    pwd: value('ice-pwd'),
  };
}

/** A fragment with these candidates (`candidate:…` as browsers give them); `end` says that no more will come. */
export function iceFragment(ice: IceSection, candidates: readonly string[], end: boolean): string {
  return [
    ...(ice.group === undefined ? [] : [ice.group]),
    ice.media,
    `a=mid:${ice.mid}`,
    `a=ice-ufrag:${ice.ufrag}`,
    `a=ice-pwd:${ice.pwd}`,
    ...candidates.map((candidate) => `a=${candidate}`),
    ...(end ? ['a=end-of-candidates'] : []),
    '',
  ].join('\r\n');
}

/** An earlier answer with the credentials and candidates of a restart's fragment in the place of its own. */
export function withIceOf(answer: string, fragment: string): string {
  const found = fragment.split(/\r?\n/);
  const ufrag = found.find((line) => line.startsWith('a=ice-ufrag:'));
  const pwd = found.find((line) => line.startsWith('a=ice-pwd:'));
  if (ufrag === undefined || pwd === undefined) {
    throw new IonError('protocol', 'The server answered the ICE restart without new credentials.');
  }
  const candidates = found.filter((line) => line.startsWith('a=candidate:'));
  return answer
    .split(/\r?\n/)
    .filter((line) => candidates.length === 0 || !line.startsWith('a=candidate:'))
    .flatMap((line) => {
      if (line.startsWith('a=ice-ufrag:')) return [ufrag];
      if (line.startsWith('a=ice-pwd:')) return [pwd, ...candidates];
      return [line];
    })
    .join('\r\n');
}
