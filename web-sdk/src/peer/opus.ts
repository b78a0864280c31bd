/** What the far end is made to ask of our Opus encoder, since browsers have no other switch for it. */
export interface OpusParameters {
  readonly dtx: boolean;
  readonly stereo: boolean;
}

/** The answer with `usedtx` and `stereo` in the Opus parameters of the sections named by MID. */
export function withOpus(answer: string, byMid: ReadonlyMap<string, OpusParameters>): string {
  if (byMid.size === 0) return answer;
  const sections = answer.split(/^(?=m=)/m);
  return sections.map((section) => inSection(section, byMid)).join('');
}

function inSection(section: string, byMid: ReadonlyMap<string, OpusParameters>): string {
  const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
  const wanted = mid === undefined ? undefined : byMid.get(mid);
  const payloadType = /^a=rtpmap:(\d+) opus\//im.exec(section)?.[1];
  if (wanted === undefined || payloadType === undefined) return section;
  const more = [...(wanted.dtx ? ['usedtx=1'] : []), ...(wanted.stereo ? ['stereo=1'] : [])];
  if (more.length === 0) return section;
  const line = new RegExp(`^(a=fmtp:${payloadType} )(.*?)\\r?$`, 'm');
  if (!line.test(section)) return section.replace(/^(a=rtpmap:.*opus\/.*?)(\r?)$/im, `$1\r\na=fmtp:${payloadType} ${more.join(';')}$2`);
  return section.replace(line, (_, start: string, parameters: string) => {
    const kept = parameters.split(';').filter((one) => !/^\s*(usedtx|stereo)=/.test(one));
    return `${start}${[...kept, ...more].join(';')}\r`;
  });
}
