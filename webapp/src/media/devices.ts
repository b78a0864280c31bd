// Cameras, microphones and speakers, as they come and go; how loud a microphone is.
import { useEffect, useState } from 'react';

const LOOK_MS = 100;
const NONE: readonly MediaDeviceInfo[] = [];

/** The devices there are. `known` changes when the browser may tell more: names come only after a device was opened. */
export function useDevices(known: boolean): readonly MediaDeviceInfo[] {
  const [devices, setDevices] = useState(NONE);
  useEffect(() => {
    // Not on plain http from elsewhere, whatever the types say.
    const media = navigator.mediaDevices as MediaDevices | undefined;
    if (media === undefined) return undefined;
    let isGone = false;
    const look = (): void => {
      media.enumerateDevices().then(
        (found) => {
          if (!isGone) setDevices(found.filter(({ deviceId }) => deviceId !== ''));
        },
        () => undefined,
      );
    };
    look();
    media.addEventListener('devicechange', look);
    return () => {
      isGone = true;
      media.removeEventListener('devicechange', look);
    };
  }, [known]);
  return devices;
}

/** How full a meter is, 0 to 1, for samples of -1 to 1: from -60 dB to full scale. Pure. */
export function meterLevel(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  if (sum === 0) return 0;
  const decibels = 10 * Math.log10(sum / samples.length);
  return Math.min(1, Math.max(0, 1 + decibels / 60));
}

/** Level of a track, 0 to 1, looked at ten times a second. */
export function useLevel(track: MediaStreamTrack | undefined): number {
  const [level, setLevel] = useState(0);
  useEffect(() => {
    if (track === undefined) return undefined;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      setLevel(meterLevel(samples));
    }, LOOK_MS);
    return () => {
      clearInterval(timer);
      void context.close();
      setLevel(0);
    };
  }, [track]);
  return level;
}
