import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { Serial, abortable, deadline, sleep } from '../src/async.js';
import { Emitter } from '../src/emitter.js';
import { IonError, ionError } from '../src/errors.js';
import { captureCamera } from '../src/media/capture.js';
import { Store } from '../src/store.js';
import { VERSION } from '../src/version.js';

interface Events {
  sum: [one: number, other: number];
  end: [];
}

class Bell extends Emitter<Events> {
  ring(one: number, other: number): void {
    this.emit('sum', one, other);
  }
}

describe('Emitter', () => {
  it('tells listeners until they unsubscribe', () => {
    const bell = new Bell();
    const heard: number[] = [];
    const off = bell.on('sum', (one, other) => heard.push(one + other));
    bell.ring(1, 2);
    off();
    off();
    bell.ring(3, 4);
    expect(heard).toEqual([3]);
  });

  it('calls the others when one listener throws, and surfaces the error', () => {
    const bell = new Bell();
    const surfaced = vi.fn();
    vi.stubGlobal('reportError', surfaced);
    const heard = vi.fn();
    const broken = new Error('broken listener');
    bell.on('sum', () => {
      throw broken;
    });
    bell.on('sum', heard);
    expect(() => {
      bell.ring(1, 1);
    }).not.toThrow();
    expect(heard).toHaveBeenCalledWith(1, 1);
    expect(surfaced).toHaveBeenCalledWith(broken);
    vi.unstubAllGlobals();
  });

  it('keeps the same function apart when it listens twice', () => {
    const bell = new Bell();
    const heard = vi.fn();
    const off = bell.on('sum', heard);
    bell.on('sum', heard);
    off();
    bell.ring(1, 1);
    expect(heard).toHaveBeenCalledTimes(1);
  });

  it('ends with a signal, and once is once', () => {
    const bell = new Bell();
    const heard = vi.fn();
    const controller = new AbortController();
    bell.on('sum', heard, { signal: controller.signal });
    bell.once('sum', heard);
    bell.ring(1, 1);
    controller.abort();
    bell.ring(1, 1);
    expect(heard).toHaveBeenCalledTimes(2);
  });

  it('does not call who is added while it tells', () => {
    const bell = new Bell();
    const late = vi.fn();
    bell.on('sum', () => bell.on('sum', late));
    bell.ring(1, 1);
    expect(late).not.toHaveBeenCalled();
  });
});

it('the version is the package\'s', () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')) as { version: string };
  expect(VERSION).toBe(version);
});

describe('Store', () => {
  it('tells once for several changes, and keeps its identity between them', async () => {
    const store = new Store({ count: 0 });
    const told = vi.fn();
    store.subscribe(told);
    store.set({ count: 1 });
    const last = { count: 2 };
    store.set(last);
    expect(store.getSnapshot()).toBe(last);
    await Promise.resolve();
    expect(told).toHaveBeenCalledTimes(1);
    store.set(last);
    await Promise.resolve();
    expect(told).toHaveBeenCalledTimes(1);
  });
});

describe('waiting', () => {
  it('gives up with the signal, by reason', async () => {
    const controller = new AbortController();
    const waiting = sleep(60_000, controller.signal);
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ name: 'IonError', reason: 'aborted' });
    await expect(abortable(new Promise(() => undefined), controller.signal)).rejects.toMatchObject({ reason: 'aborted' });
  });

  it('says timeout when time is up', async () => {
    const limit = deadline(1);
    await expect(abortable(new Promise(() => undefined), limit.signal)).rejects.toMatchObject({ reason: 'timeout' });
    limit.done();
  });

  it('runs tasks in order, whatever becomes of each', async () => {
    const serial = new Serial();
    const done: string[] = [];
    const first = serial.run(async () => {
      await sleep(5);
      done.push('first');
      throw new Error('no');
    });
    const second = serial.run(() => {
      done.push('second');
      return Promise.resolve(2);
    });
    await expect(first).rejects.toThrow('no');
    await expect(second).resolves.toBe(2);
    expect(done).toEqual(['first', 'second']);
  });
});

describe('errors', () => {
  it('keeps the cause, and passes its own on', () => {
    const cause = new TypeError('fetch failed');
    const error = ionError(cause, 'network');
    expect(error).toMatchObject({ reason: 'network', message: 'fetch failed', cause, retryable: true });
    expect(ionError(error)).toBe(error);
    expect(ionError(new DOMException('stop', 'AbortError')).reason).toBe('aborted');
    expect(new IonError('kicked', 'x').retryable).toBe(false);
  });
});

describe('a camera by its id', () => {
  it('is that one, and another only where it is gone', async () => {
    const asked: unknown[] = [];
    const track = { kind: 'video' };
    vi.stubGlobal('navigator', {
      mediaDevices: {
        getUserMedia: ({ video }: { video: MediaTrackConstraints }) => {
          asked.push(video.deviceId);
          const isGone = (video.deviceId as ConstrainDOMStringParameters | undefined)?.exact === 'gone';
          return isGone ? Promise.reject(new DOMException('', 'OverconstrainedError')) : Promise.resolve({ getTracks: () => [track] });
        },
      },
    });
    expect(await captureCamera({ deviceId: 'front' })).toBe(track);
    expect(await captureCamera({ deviceId: 'gone' })).toBe(track);
    expect(asked).toEqual([{ exact: 'front' }, { exact: 'gone' }, undefined]);
    vi.unstubAllGlobals();
  });
});
