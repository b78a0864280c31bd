import { HttpError } from '@ion-sfu/sdk';
import { type ReactNode, type SubmitEvent, useState } from 'react';
import type { RoomInfo, Status } from '../../api';
import { explain } from '../../errors';
import { bitrate, count, duration, percent } from '../../format';
import { saveToken, savedToken } from '../../token';
import { Button } from '../../ui/button';
import { Alert, TokenField } from '../../ui/field';
import { Figures } from '../../ui/figures';
import { Plot } from '../../ui/plot';
import { Shell } from '../../ui/shell';
import { LOOK_MS, SLOTS, SPAN } from './history';
import { Keys } from './keys';
import { RoomDetail } from './room-detail';
import { type Look, useServer } from './use-server';
import style from './admin.module.css';

/** Asks for a token where the server does. */
function TokenForm({ refused, onToken }: { refused: boolean; onToken: (token: string) => void }): ReactNode {
  const [token, setToken] = useState('');
  const submit = (event: SubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    onToken(token);
  };
  return (
    <form className={style['token']} onSubmit={submit}>
      <p>
        This page needs a token: <code>ion token create --server-admin</code> makes one, which shows keys as well;{' '}
        <code>--list</code> is enough for the rest.
      </p>
      {refused && <Alert>The server does not accept this token.</Alert>}
      <TokenField value={token} onChange={setToken} hint="It stays in this tab." />
      <p>
        <Button type="submit" kind="primary">
          Show the server
        </Button>
      </p>
    </form>
  );
}

function Rooms({ rooms, chosen, choose }: { rooms: readonly RoomInfo[]; chosen: string | undefined; choose: (name: string) => void }): ReactNode {
  if (rooms.length === 0) return <p className={style['quiet']}>No room has anybody in it.</p>;
  return (
    <div className={style['scroll']} tabIndex={0} role="region" aria-label="Table of rooms">
      <table>
        <thead>
          <tr>
            <th scope="col">Room</th>
            <th scope="col">Publish</th>
            <th scope="col">Watch</th>
            <th scope="col">Tracks</th>
            <th scope="col">Received</th>
            <th scope="col">Sent</th>
          </tr>
        </thead>
        <tbody>
          {rooms.map((room) => (
            <tr key={room.name} className={room.name === chosen ? style['chosen'] : ''}>
              <th scope="row">
                <button
                  type="button"
                  className={style['choose']}
                  aria-expanded={room.name === chosen}
                  onClick={() => {
                    choose(room.name);
                  }}
                >
                  {room.name}
                </button>
              </th>
              <td>{room.publishers}</td>
              <td>{room.viewers}</td>
              <td>{room.tracks}</td>
              <td>{bitrate(room.receivedBps)}</td>
              <td>{bitrate(room.sentBps)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Workers({ status }: { status: Status }): ReactNode {
  return (
    <div className={style['scroll']} tabIndex={0} role="region" aria-label="Table of workers">
      <table>
        <thead>
          <tr>
            <th scope="col">Worker</th>
            <th scope="col">Transports</th>
            <th scope="col">Received</th>
            <th scope="col">Sent</th>
            <th scope="col">Packets in</th>
            <th scope="col">Packets out</th>
            <th scope="col">Dropped</th>
          </tr>
        </thead>
        <tbody>
          {status.workers.map((one) => (
            <tr key={one.worker}>
              <th scope="row">{one.worker}</th>
              <td>{count(one.transports)}</td>
              <td>{bitrate(one.receivedBps)}</td>
              <td>{bitrate(one.sentBps)}</td>
              <td>{count(one.receivedPackets)}</td>
              <td>{count(one.sentPackets)}</td>
              <td>{count(one.droppedPackets)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function summary({ status, rooms }: Look): { label: string; value: string }[] {
  const fullest = status.tables.reduce((most, one) => Math.max(most, one.capacity === 0 ? 0 : one.used / one.capacity), 0);
  return [
    { label: 'Rooms', value: count(rooms.length) },
    { label: 'Publishing', value: count(status.publishers) },
    { label: 'Watching', value: count(status.viewers) },
    { label: 'Fullest table', value: percent(fullest) },
    { label: 'Forwarding since', value: duration(status.dataplane.uptimeS) },
    { label: 'Version', value: status.version },
  ];
}

function Dashboard({ look, token }: { look: Look; token: string }): ReactNode {
  const [chosen, setChosen] = useState<string>();
  const { status, rooms, rates } = look;
  const open = rooms.some(({ name }) => name === chosen) ? chosen : undefined;
  return (
    <>
      <Figures label="Server" figures={summary(look)} />
      <Plot
        title="Media through this server"
        series={[
          { label: 'received', values: rates.received },
          { label: 'sent', values: rates.sent },
        ]}
        slots={SLOTS}
        span={SPAN}
        format={bitrate}
        leastMax={1e6}
      />
      <section className={style['section']} aria-labelledby="rooms">
        <h2 id="rooms">Rooms</h2>
        <Rooms
          rooms={rooms}
          chosen={open}
          choose={(name) => {
            setChosen(name === open ? undefined : name);
          }}
        />
        {open !== undefined && <RoomDetail key={open} room={open} token={token} />}
      </section>
      <section className={style['section']} aria-labelledby="workers">
        <h2 id="workers">Workers</h2>
        <Workers status={status} />
      </section>
      <Keys token={token} />
    </>
  );
}

/** Rooms, rates, workers and keys of the server. */
export default function Admin(): ReactNode {
  const [token, setToken] = useState(savedToken);
  const { value, error } = useServer(token);
  const isRefused = error instanceof HttpError && (error.status === 401 || error.status === 403);
  return (
    <Shell title="Server" lead={`What this Ion does now, looked at every ${LOOK_MS / 1000} seconds.`}>
      {isRefused ? (
        <TokenForm
          refused={token !== ''}
          onToken={(next) => {
            saveToken(next);
            setToken(next);
          }}
        />
      ) : (
        error !== undefined && <Alert>{explain(error)}</Alert>
      )}
      {value !== undefined && !isRefused && <Dashboard look={value} token={token} />}
    </Shell>
  );
}
