import { type CallOptions, abortable, throwIfAborted } from '../async.js';
import { deviceError, IonError } from '../errors.js';

/**
 * Constraints of a camera; without a word 720p at 30 frames per second.
 */
export type CameraConstraints = MediaTrackConstraints;

/**
 * How to share a screen.
 */
export interface ScreenConstraints {
  /** Also what sounds there, where the browser can. Default true. */
  readonly audio?: boolean | undefined;
  readonly video?: MediaTrackConstraints | undefined;
  /** `detail` for text (sharp), `motion` for film (fluid). Default `detail`. */
  readonly content?: 'detail' | 'motion' | undefined;
}

const CAMERA: MediaTrackConstraints = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
const MICROPHONE: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/**
 * Opens a camera. A plain `deviceId` means that one, or where it is not there any more, another.
 */
export async function captureCamera(constraints: CameraConstraints = {}, options: CallOptions = {}): Promise<MediaStreamTrack> {
  return named(constraints, async (wanted) => first(await userMedia({ video: { ...CAMERA, ...wanted } }, options)));
}

/**
 * Opens a microphone, with echo cancellation, noise suppression and gain control.
 */
export async function captureMicrophone(
  constraints: MediaTrackConstraints = {},
  options: CallOptions = {},
): Promise<MediaStreamTrack> {
  return named(constraints, async (wanted) => first(await userMedia({ audio: { ...MICROPHONE, ...wanted } }, options)));
}

/**
 * Lets the user choose a screen, window or tab. The first track is the picture; a second is its sound.
 */
export async function captureScreen(constraints: ScreenConstraints = {}, options: CallOptions = {}): Promise<MediaStreamTrack[]> {
  throwIfAborted(options.signal);
  const { audio = true, video = { frameRate: { ideal: 15 } }, content = 'detail' } = constraints;
  const asked = devices().getDisplayMedia({ audio, video });
  const stream = await given(asked, options);
  for (const track of stream.getVideoTracks()) track.contentHint = content;
  return [...stream.getVideoTracks(), ...stream.getAudioTracks()];
}

/** Browsers would weigh a plain `deviceId` against size and frame rate, and may open another device. */
async function named(constraints: MediaTrackConstraints, open: (wanted: MediaTrackConstraints) => Promise<MediaStreamTrack>): Promise<MediaStreamTrack> {
  const { deviceId, ...rest } = constraints;
  if (typeof deviceId !== 'string' || deviceId === '') return open(constraints);
  try {
    return await open({ ...rest, deviceId: { exact: deviceId } });
  } catch (error) {
    const isGone = error instanceof IonError && (error.cause as { name?: unknown } | undefined)?.name === 'OverconstrainedError';
    if (!isGone) throw error;
    return open(rest);
  }
}

async function userMedia(constraints: MediaStreamConstraints, options: CallOptions): Promise<MediaStream> {
  throwIfAborted(options.signal);
  return given(devices().getUserMedia(constraints), options);
}

async function given(asked: Promise<MediaStream>, { signal }: CallOptions): Promise<MediaStream> {
  try {
    return await abortable(asked, signal);
  } catch (error) {
    // A device that is given after all would stay on for nobody.
    if (signal?.aborted === true) void asked.then(stop, () => undefined);
    throw deviceError(error);
  }
}

function devices(): MediaDevices {
  const found = (navigator as Partial<Navigator>).mediaDevices;
  if (found === undefined) {
    throw new IonError('device', 'The browser gives no devices to this page: open it over https, or from http://localhost.');
  }
  return found;
}

function first(stream: MediaStream): MediaStreamTrack {
  const [track] = stream.getTracks();
  if (track === undefined) throw new IonError('device', 'The browser gave no track.');
  return track;
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}
