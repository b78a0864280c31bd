// A device that is tried out before the call.
import { captureCamera, captureMicrophone } from '@ion-sfu/sdk';
import { useEffect, useState } from 'react';
import { isAborted } from '../errors';

export interface Preview {
  readonly track: MediaStreamTrack | undefined;
  readonly error: unknown;
}

const NOTHING: Preview = { track: undefined, error: undefined };

/** Opens a device while it is wanted; `deviceId` empty is the browser's choice. */
export function usePreview(kind: 'camera' | 'microphone', deviceId: string, isWanted: boolean): Preview {
  const [preview, setPreview] = useState(NOTHING);
  useEffect(() => {
    if (!isWanted) return undefined;
    const ending = new AbortController();
    const { signal } = ending;
    const capture = kind === 'camera' ? captureCamera : captureMicrophone;
    capture(deviceId === '' ? {} : { deviceId }, { signal }).then(
      (track) => {
        signal.addEventListener('abort', () => {
          track.stop();
        });
        if (signal.aborted) track.stop();
        else setPreview({ track, error: undefined });
      },
      (error: unknown) => {
        if (!isAborted(error)) setPreview({ track: undefined, error });
      },
    );
    return () => {
      ending.abort();
      setPreview(NOTHING);
    };
  }, [kind, deviceId, isWanted]);
  return preview;
}
