// Publishes the camera over WHIP, and plays it back over WHEP.
import { IonError, playWhep, publishWhip } from '@ion-sfu/sdk';

const server = 'http://localhost:7880';
const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
const publisher = await publishWhip(`${server}/whip/demo`, media, { video: { codec: 'vp9' } });
publisher.on('state', (state) => {
  console.log('publisher is', state);
});

try {
  const { stream } = await playWhep(`${server}/whep/demo`, { signal: AbortSignal.timeout(10_000) });
  const video = document.createElement('video');
  Object.assign(video, { srcObject: stream, muted: true, autoplay: true });
  document.body.append(video);
} catch (error) {
  console.error(error instanceof IonError ? error.reason : error);
}
addEventListener('pagehide', () => void publisher.close());
