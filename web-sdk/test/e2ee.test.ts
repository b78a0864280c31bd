import { beforeEach, describe, expect, it } from 'vitest';
import { FrameSealer, KeyRing, clearBytes, materialOf, openFrame } from '../src/e2ee/frames.js';

const frame = (length: number): Uint8Array<ArrayBuffer> => Uint8Array.from({ length }, (_, at) => at % 251);
const key = (seed: number): Uint8Array<ArrayBuffer> => new Uint8Array(32).fill(seed);

describe('encrypted frames', () => {
  let ours: KeyRing;
  let theirs: KeyRing;

  beforeEach(async () => {
    [ours, theirs] = [new KeyRing(), new KeyRing()];
    await ours.set(0, key(1));
    await theirs.set(0, key(1));
  });

  it.each([1, 3, 10, 11, 1200])('of %i bytes come out as they went in, whatever is left clear', async (length) => {
    const sealer = new FrameSealer(ours);
    for (const clear of [clearBytes('audio', false), clearBytes('video', false), clearBytes('video', true)]) {
      const sealed = await sealer.seal(frame(length), clear);
      const head = Math.min(clear, length);
      expect(sealed.subarray(0, head)).toEqual(frame(length).subarray(0, head));
      expect(await openFrame(sealed, theirs)).toEqual(frame(length));
    }
  });

  it('hide the rest, and differ each time', async () => {
    const sealer = new FrameSealer(ours);
    const [one, other] = [await sealer.seal(frame(500), 10), await sealer.seal(frame(500), 10)];
    expect(one.subarray(10, 500)).not.toEqual(frame(500).subarray(10));
    expect(one.subarray(10, 500)).not.toEqual(other.subarray(10, 500));
  });

  it('are refused when any byte was changed', async () => {
    const sealed = await new FrameSealer(ours).seal(frame(40), 3);
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = sealed.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      await expect(openFrame(changed, theirs), `byte ${at}`).rejects.toMatchObject({ reason: 'encryption' });
    }
  });

  it('are refused when they are none, or when the key is another', async () => {
    for (const length of [0, 1, 2, 29, 31]) await expect(openFrame(frame(length), theirs)).rejects.toMatchObject({ reason: 'encryption' });
    const sealed = await new FrameSealer(ours).seal(frame(40), 3);
    await theirs.set(0, key(2));
    await expect(openFrame(sealed, theirs)).rejects.toMatchObject({ reason: 'encryption' });
  });

  it('never leave without a key', async () => {
    await expect(new FrameSealer(new KeyRing()).seal(frame(40), 3)).rejects.toMatchObject({ reason: 'encryption' });
  });

  it('follow a ratchet, which does not go back', async () => {
    const sealer = new FrameSealer(ours);
    const before = await sealer.seal(frame(40), 3);
    await ours.ratchet(0);
    await ours.ratchet(0);
    const after = await sealer.seal(frame(40), 3);
    expect(await openFrame(after, theirs)).toEqual(frame(40));
    await expect(openFrame(before, theirs)).rejects.toMatchObject({ reason: 'encryption' });
  });

  it('change keys by index, and those under way still open', async () => {
    const sealer = new FrameSealer(ours);
    const before = await sealer.seal(frame(40), 3);
    await ours.set(5, key(9));
    ours.current = 5;
    await theirs.set(5, key(9));
    const after = await sealer.seal(frame(40), 3);
    expect(await openFrame(after, theirs)).toEqual(frame(40));
    expect(await openFrame(before, theirs)).toEqual(frame(40));
  });
});

it('a passphrase gives the same key to all, another in another room', async () => {
  const one = await materialOf('secret', 'room');
  expect(one).toEqual(await materialOf('secret', 'room'));
  expect(one).not.toEqual(await materialOf('secret', 'other room'));
  expect(one).toHaveLength(32);
});
