import { Room, type RoomSnapshot } from '@ion-sfu/sdk';
import { type ReactNode, useState } from 'react';
import { Publisher } from '../media/publisher';
import { saveToken } from '../token';
import { Call } from './call/call';
import { type JoinChoice, Lobby } from './lobby';

interface Joined {
  readonly room: Room;
  readonly publisher: Publisher;
  readonly choice: JoinChoice;
}

/** The lobby of a room, then the call in it, then the lobby again. */
export default function RoomPage({ room: name }: { room: string }): ReactNode {
  const [joined, setJoined] = useState<Joined>();
  const [ended, setEnded] = useState<RoomSnapshot>();

  const join = async (choice: JoinChoice): Promise<void> => {
    const room = new Room();
    try {
      const { token } = choice;
      await room.connect(location.origin, { room: name, token, name: choice.name === '' ? undefined : choice.name });
    } catch (error) {
      void room.leave().catch(() => undefined);
      throw error;
    }
    saveToken(choice.token);
    setEnded(undefined);
    setJoined({ room, publisher: new Publisher(room, choice), choice });
  };

  if (joined === undefined) return <Lobby room={name} ended={ended} join={join} />;
  return (
    <Call
      {...joined}
      onEnded={(last) => {
        setEnded(last);
        setJoined(undefined);
      }}
    />
  );
}
