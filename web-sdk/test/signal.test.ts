import { describe, expect, it } from 'vitest';
import { type SignalEffect, type SignalInput, SignalMachine } from '../src/signal/machine.js';
import type { Joined } from '../src/wire/signal.js';

const JOINED = { session: 's3cret', pingIntervalMs: 5000, resumeWithinMs: 30_000 } as Joined;

/** A machine with a clock and a note of all that it wanted. */
class Bench {
  readonly machine = new SignalMachine(() => 0);
  nowMs = 0;

  do(input: SignalInput): SignalEffect[] {
    return this.machine.handle(input, this.nowMs);
  }

  says(message: object): SignalEffect[] {
    return this.do({ type: 'message', text: JSON.stringify(message) });
  }

  /** Lets time pass to the next timer. */
  tick(): SignalEffect[] {
    this.nowMs = this.machine.timerMs;
    return this.do({ type: 'timer' });
  }

  /** Joined, with the id of the join used up. */
  joined(afterMs = 0): this {
    this.do({ type: 'join', join: { room: 'r' } });
    const [sent] = sentBy(this.do({ type: 'opened', token: 't' }));
    this.nowMs += afterMs;
    this.says({ id: sent!['id'], type: 'joined', ...JOINED });
    return this;
  }

  event(seq: number, type = 'speakers'): SignalEffect[] {
    return this.says({ seq, type, speakers: [] });
  }
}

function sentBy(effects: SignalEffect[]): Record<string, unknown>[] {
  return effects.flatMap((one) => (one.type === 'send' ? [JSON.parse(one.text) as Record<string, unknown>] : []));
}

const types = (effects: SignalEffect[]): string[] => effects.map((one) => one.type);

describe('joining', () => {
  it('opens a socket, sends the token in the join, and tells what came', () => {
    const bench = new Bench();
    expect(types(bench.do({ type: 'join', join: { room: 'r' } }))).toEqual(['state', 'open']);
    const sent = sentBy(bench.do({ type: 'opened', token: 't' }));
    expect(sent).toMatchObject([{ type: 'join', protocol: 1, room: 'r', token: 't' }]);
    const effects = bench.says({ id: sent[0]!['id'], type: 'joined', ...JOINED });
    expect(effects).toMatchObject([
      { type: 'joined', again: false },
      { type: 'state', state: 'open' },
    ]);
  });

  it('ends with the reason of a refusal', () => {
    const bench = new Bench();
    bench.do({ type: 'join', join: {} });
    const [sent] = sentBy(bench.do({ type: 'opened', token: undefined }));
    const effects = bench.says({ id: sent!['id'], type: 'error', reason: 'tokenExpired', detail: 'It expired.' });
    expect(effects).toContainEqual({ type: 'ended', reason: 'tokenExpired', detail: 'It expired.' });
    expect(bench.machine.state).toBe('closed');
    expect(bench.machine.timerMs).toBe(Infinity);
  });

  it('comes back when an overloaded server says so', () => {
    const bench = new Bench();
    bench.do({ type: 'join', join: {} });
    const [sent] = sentBy(bench.do({ type: 'opened', token: undefined }));
    bench.says({ id: sent!['id'], type: 'error', reason: 'overloaded', detail: '', retryAfterMs: 3000 });
    expect(bench.machine.timerMs).toBe(3000);
    expect(types(bench.tick())).toEqual(['open']);
  });

  it('gives up when no server can be reached', () => {
    const bench = new Bench();
    bench.do({ type: 'join', join: {} });
    let effects: SignalEffect[] = [];
    for (let tries = 0; tries < 100 && bench.machine.state !== 'closed'; tries += 1) {
      bench.do({ type: 'closed' });
      effects = bench.tick();
    }
    expect(effects).toContainEqual({ type: 'ended', reason: 'network', detail: expect.any(String) as string });
  });

  it('does not wait for ever for a socket that opens and says nothing', () => {
    const bench = new Bench();
    bench.do({ type: 'join', join: {} });
    bench.do({ type: 'opened', token: undefined });
    expect(types(bench.tick())).toEqual(['close']);
    expect(types(bench.tick())).toEqual(['open']);
  });
});

describe('requests', () => {
  it('are answered by id, in any order', () => {
    const bench = new Bench().joined();
    const [one] = sentBy(bench.do({ type: 'request', key: 1, request: { type: 'leave' } }));
    const [other] = sentBy(bench.do({ type: 'request', key: 2, request: { type: 'leave' } }));
    expect(bench.says({ id: other!['id'], type: 'ok' })).toMatchObject([{ type: 'answer', key: 2 }]);
    expect(bench.says({ id: one!['id'], type: 'ok' })).toMatchObject([{ type: 'answer', key: 1 }]);
    expect(bench.says({ id: one!['id'], type: 'ok' })).toEqual([]);
  });

  it('are sent again after a resume, with the same id, and wait for a socket', () => {
    const bench = new Bench().joined();
    const [before] = sentBy(bench.do({ type: 'request', key: 1, request: { type: 'leave' } }));
    bench.do({ type: 'closed' });
    expect(sentBy(bench.do({ type: 'request', key: 2, request: { type: 'ping', at: 1 } }))).toEqual([]);
    bench.tick();
    const [resume] = sentBy(bench.do({ type: 'opened', token: 't' }));
    const again = sentBy(bench.says({ id: resume!['id'], type: 'resumed', nextSeq: 1 }));
    expect(again).toHaveLength(2);
    expect(again[0]).toEqual(before);
  });

  it('that nobody waits for are not sent again', () => {
    const bench = new Bench().joined();
    bench.do({ type: 'request', key: 1, request: { type: 'leave' } });
    bench.do({ type: 'forget', key: 1 });
    bench.do({ type: 'closed' });
    bench.tick();
    const [resume] = sentBy(bench.do({ type: 'opened', token: 't' }));
    expect(sentBy(bench.says({ id: resume!['id'], type: 'resumed', nextSeq: 1 }))).toEqual([]);
  });
});

describe('a lost socket', () => {
  it('is resumed after the last event that came', () => {
    const bench = new Bench().joined();
    bench.event(1);
    bench.event(2);
    expect(bench.do({ type: 'closed' })).toEqual([{ type: 'state', state: 'reconnecting' }]);
    expect(types(bench.tick())).toEqual(['open']);
    const [resume] = sentBy(bench.do({ type: 'opened', token: 't' }));
    expect(resume).toMatchObject({ type: 'resume', session: 's3cret', seq: 2 });
    bench.says({ id: resume!['id'], type: 'resumed', nextSeq: 3 });
    expect(bench.event(2)).toEqual([]);
    expect(types(bench.event(3))).toEqual(['event']);
  });

  it('whose missed events are gone takes the room event that skips', () => {
    const bench = new Bench().joined();
    bench.event(1);
    bench.do({ type: 'closed' });
    bench.tick();
    const [resume] = sentBy(bench.do({ type: 'opened', token: 't' }));
    bench.says({ id: resume!['id'], type: 'resumed', nextSeq: 40 });
    expect(types(bench.event(40, 'room'))).toEqual(['event']);
    expect(types(bench.event(41))).toEqual(['event']);
  });

  it('whose session is over joins again, and fails what was asked before', () => {
    const bench = new Bench().joined();
    bench.do({ type: 'request', key: 7, request: { type: 'leave' } });
    bench.do({ type: 'closed' });
    bench.tick();
    const [resume] = sentBy(bench.do({ type: 'opened', token: 'old' }));
    const effects = bench.says({ id: resume!['id'], type: 'error', reason: 'noSuchSession', detail: '' });
    expect(effects).toMatchObject([{ type: 'answer', key: 7, answer: { reason: 'noSuchSession' } }, { type: 'open' }]);
    const [join] = sentBy(bench.do({ type: 'opened', token: 'new' }));
    expect(join).toMatchObject({ type: 'join', token: 'new', room: 'r' });
    expect(bench.says({ id: join!['id'], type: 'joined', ...JOINED })).toMatchObject([{ type: 'joined', again: true }, { state: 'open' }]);
    expect(types(bench.event(1))).toEqual(['event']);
  });

  it('is tried for at growing intervals, and for two minutes', () => {
    const bench = new Bench().joined();
    const waits: number[] = [];
    bench.do({ type: 'closed' });
    while (bench.machine.state !== 'closed') {
      const fromMs = bench.nowMs;
      bench.tick();
      waits.push(bench.nowMs - fromMs);
      bench.do({ type: 'closed' });
    }
    expect(waits[0]).toBeLessThan(300);
    expect(Math.max(...waits)).toBeLessThanOrEqual(5000);
    expect(waits.slice(0, 5)).toEqual([...waits.slice(0, 5)].sort((one, other) => one - other));
    expect(bench.nowMs).toBe(120_000);
  });

  it('is tried for at once when the network is back', () => {
    const bench = new Bench().joined();
    bench.do({ type: 'closed' });
    expect(types(bench.do({ type: 'hurry' }))).toEqual(['open']);
  });

  it('is found by a gap in the events', () => {
    const bench = new Bench().joined();
    bench.event(1);
    expect(types(bench.event(3))).toEqual(['close', 'state']);
    bench.tick();
    expect(sentBy(bench.do({ type: 'opened', token: 't' }))).toMatchObject([{ type: 'resume', seq: 1 }]);
  });

  it('is found by silence, in spite of pings', () => {
    const bench = new Bench().joined();
    expect(sentBy(bench.tick())).toMatchObject([{ type: 'ping' }]);
    expect(bench.nowMs).toBe(5000);
    let effects: SignalEffect[] = [];
    while (!types(effects).includes('close')) effects = bench.tick();
    expect(bench.nowMs).toBe(15_000);
  });

  it('is found soon when it is in doubt', () => {
    const bench = new Bench().joined();
    expect(sentBy(bench.do({ type: 'probe' }))).toMatchObject([{ type: 'ping' }]);
    // The join was answered at once; the next socket is opened at once too.
    expect(types(bench.tick())).toEqual(['close', 'state', 'open']);
    expect(bench.nowMs).toBe(250);
    const far = new Bench().joined(300);
    far.do({ type: 'probe' });
    far.tick();
    expect(far.nowMs).toBe(300 + 4 * 300 + 250);
    const healthy = new Bench().joined();
    const [ping] = sentBy(healthy.do({ type: 'probe' }));
    healthy.says({ id: ping!['id'], type: 'pong', at: 0 });
    expect(healthy.machine.timerMs).toBe(5000);
  });
});

describe('the end', () => {
  it('of a kicked participant is final', () => {
    const bench = new Bench().joined();
    const effects = bench.says({ seq: 1, type: 'ended', reason: 'kicked', detail: 'Out.' });
    expect(types(effects)).toEqual(['event', 'close', 'state', 'ended']);
    expect(bench.do({ type: 'closed' })).toEqual([]);
    expect(bench.do({ type: 'hurry' })).toEqual([]);
  });

  it('of a server that stops is none', () => {
    const bench = new Bench().joined();
    expect(types(bench.says({ seq: 1, type: 'ended', reason: 'serverStopping', detail: '' }))).toEqual(['event']);
    expect(types(bench.do({ type: 'closed' }))).toEqual(['state']);
    expect(types(bench.tick())).toEqual(['open']);
  });
});

it('survives what is no message', () => {
  const bench = new Bench().joined();
  for (const text of ['', '{', 'null', '7', '[]', '{"id":"x"}', '{"seq":null,"type":"room"}', '{"id":99,"type":"ok"}']) {
    expect(bench.do({ type: 'message', text })).toEqual([]);
  }
  expect(bench.machine.state).toBe('open');
});
