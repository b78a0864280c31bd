// Small hooks that several pages use.
import { type RefObject, useCallback, useEffect, useRef, useState, useSyncExternalStore } from 'react';

/** Shows a stream in an element. */
export function useStream(stream: MediaStream | undefined): RefObject<HTMLVideoElement | null> {
  const ref = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const element = ref.current;
    if (element !== null) element.srcObject = stream ?? null;
  }, [stream]);
  return ref;
}

/** Calls the newest `callback` each `ms`, at once too; not while `ms` is undefined. */
export function useInterval(callback: () => void, ms: number | undefined): void {
  const newest = useRef(callback);
  useEffect(() => {
    newest.current = callback;
  });
  useEffect(() => {
    if (ms === undefined) return undefined;
    newest.current();
    const timer = setInterval(() => {
      newest.current();
    }, ms);
    return () => {
      clearInterval(timer);
    };
  }, [ms]);
}

/** Size of an element's content, in CSS pixels. */
export function useSize(): [(element: Element | null) => void, { readonly width: number; readonly height: number }] {
  const [size, setSize] = useState({ width: 0, height: 0 });
  const observer = useRef<ResizeObserver>(undefined);
  const ref = useCallback((element: Element | null) => {
    observer.current?.disconnect();
    if (element === null) return;
    observer.current = new ResizeObserver(([entry]) => {
      if (entry !== undefined) setSize({ width: entry.contentRect.width, height: entry.contentRect.height });
    });
    observer.current.observe(element);
  }, []);
  return [ref, size];
}

/** Whether a media query holds. */
export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (listener: () => void) => {
      const list = matchMedia(query);
      list.addEventListener('change', listener);
      return () => {
        list.removeEventListener('change', listener);
      };
    },
    [query],
  );
  return useSyncExternalStore(subscribe, () => matchMedia(query).matches);
}

/** A setting that this browser keeps. */
export function useSaved(key: string, initial: string): [string, (value: string) => void] {
  const [value, setValue] = useState(() => localStorage.getItem(key) ?? initial);
  const save = useCallback(
    (next: string) => {
      localStorage.setItem(key, next);
      setValue(next);
    },
    [key],
  );
  return [value, save];
}
