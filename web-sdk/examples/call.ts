// A call in about thirty lines: joins a room, publishes camera and microphone, shows everybody, and chats in the console.
import { IonError, Room } from '@ion-sfu/sdk';

const query = new URLSearchParams(location.search);
const server = query.get('server') ?? 'http://localhost:7880';
const room = new Room();

room.on('trackSubscribed', (track, publication, participant) => {
  const element = document.createElement(track.kind === 'video' ? 'video' : 'audio');
  element.autoplay = true;
  element.title = participant.name || participant.identity;
  document.body.append(element);
  // The element's size decides which layer is received.
  room.publication(publication.id)?.attach(element);
  const off = room.on('trackUnsubscribed', (_track, gone) => {
    if (gone.id !== publication.id) return;
    element.remove();
    off();
  });
});
room.on('data', ({ payload, topic, from }) => {
  if (topic === 'chat') console.log(from?.identity, new TextDecoder().decode(payload));
});
room.on('closed', (error) => {
  document.title = error?.reason ?? 'left';
});

try {
  await room.connect(server, { token: query.get('token') ?? '', room: query.get('room') ?? 'demo' });
  await Promise.all([room.local.publishCamera(), room.local.publishMicrophone()]);
  await room.local.sendData('Hello!', { topic: 'chat' });
} catch (error) {
  document.title = error instanceof IonError ? error.reason : String(error);
}
