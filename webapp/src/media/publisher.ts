// What the user sends in a call: camera, microphone and screen, each on or off, from the devices that were chosen.
import { type CallOptions, IonError, type LocalPublication, type Room, captureCamera, captureMicrophone } from '@ion-sfu/sdk';

export interface Choice {
  readonly camera: string;
  readonly microphone: string;
}

type Kind = keyof Choice;

const CAPTURE = { camera: captureCamera, microphone: captureMicrophone };

/** Turns devices on and off, and changes them. The state is the room's. */
export class Publisher {
  readonly #room: Room;
  #choice: Choice;
  /** One change of a device at a time. */
  readonly #busy = new Set<Kind | 'screen'>();

  constructor(room: Room, choice: Choice) {
    this.#room = room;
    this.#choice = choice;
  }

  /** Turns a device on or off. */
  async toggle(kind: Kind): Promise<void> {
    await this.#once(kind, async () => {
      const published = this.#room.local.publication(kind);
      if (published === undefined) await this.#publish(kind);
      else if (published.paused) await published.resume();
      else await published.pause();
    });
  }

  /** Turns a device on, if it is off. */
  async start(kind: Kind): Promise<void> {
    if (this.#room.local.publication(kind) === undefined) await this.toggle(kind);
  }

  /** Begins or ends sharing a screen. */
  async toggleScreen(): Promise<void> {
    await this.#once('screen', async () => {
      const shared = this.#room.local.publications.filter(({ source }) => source === 'screen_share' || source === 'screen_share_audio');
      if (shared.length > 0) await Promise.all(shared.map((one) => one.unpublish()));
      else await this.#room.local.publishScreen();
    });
  }

  /** Uses another device from now on. */
  async choose(kind: Kind, deviceId: string): Promise<void> {
    this.#choice = { ...this.#choice, [kind]: deviceId };
    const published = this.#room.local.publication(kind);
    // A device that is off is not opened: the next `resume` takes the new one.
    if (published === undefined || (published.paused && kind === 'camera')) return;
    await published.restart();
  }

  async #publish(kind: Kind): Promise<LocalPublication> {
    const capture = (constraints: MediaTrackConstraints | undefined, options: CallOptions): Promise<MediaStreamTrack> => {
      const deviceId = this.#choice[kind];
      return CAPTURE[kind]({ ...(deviceId === '' ? {} : { deviceId }), ...constraints }, options);
    };
    const track = await capture(undefined, {});
    try {
      return await this.#room.local.publish(track, { source: kind, capture });
    } catch (error) {
      track.stop();
      throw error;
    }
  }

  async #once(kind: Kind | 'screen', change: () => Promise<void>): Promise<void> {
    if (this.#busy.has(kind)) return;
    this.#busy.add(kind);
    try {
      await change();
    } catch (error) {
      if (!isWish(error, kind)) throw error;
    } finally {
      this.#busy.delete(kind);
    }
  }
}

/** Whether the user wanted it so: left meanwhile, or closed the browser's choice of screens. */
function isWish(error: unknown, kind: Kind | 'screen'): boolean {
  if (!(error instanceof IonError)) return false;
  const { reason, cause } = error;
  return reason === 'closed' || reason === 'aborted' || (kind === 'screen' && cause instanceof DOMException && cause.name === 'NotAllowedError');
}
