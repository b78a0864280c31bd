import type { ReactNode } from 'react';
import { explain } from '../../errors';
import { bitrate, duration, percent } from '../../format';
import { Alert } from '../../ui/field';
import { Plot } from '../../ui/plot';
import { SLOTS, SPAN } from './history';
import { type RoomLook, useRoomLook } from './use-server';
import style from './admin.module.css';

function Participants({ room, look }: { room: string; look: RoomLook }): ReactNode {
  return (
    <div className={style['scroll']} tabIndex={0} role="region" aria-label={`Participants of ${room}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">Participant</th>
            <th scope="col">Role</th>
            <th scope="col">State</th>
            <th scope="col">Here for</th>
            <th scope="col">Round trip</th>
            <th scope="col">Tracks</th>
            <th scope="col">Received</th>
            <th scope="col">Sent</th>
            <th scope="col">Worker</th>
          </tr>
        </thead>
        <tbody>
          {look.participants.map((one, at) => (
            // One identity may have several sessions.
            <tr key={`${one.identity} ${one.role} ${at}`}>
              <th scope="row">{one.name === '' || one.name === one.identity ? one.identity : `${one.name} (${one.identity})`}</th>
              <td>{one.role}</td>
              <td>{one.state}</td>
              <td>{duration(Math.max(0, look.atS - one.joinedAtS))}</td>
              <td>{one.rttMs === null ? '–' : `${Math.round(one.rttMs)} ms`}</td>
              <td>{one.tracks}</td>
              <td>{bitrate(one.receivedBps)}</td>
              <td>{bitrate(one.sentBps)}</td>
              <td>{one.worker}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** One room: its participants, and plots of its bitrate and loss. */
export function RoomDetail({ room, token }: { room: string; token: string }): ReactNode {
  const { value, error } = useRoomLook(token, room);
  if (value === undefined) return error === undefined ? <p role="status">Looking…</p> : <Alert>{explain(error)}</Alert>;
  const { rates, losses } = value;
  return (
    <div className={style['detail']}>
      <h3>{room}</h3>
      <div className={style['plots']}>
        <Plot
          title="Bitrate"
          series={[
            { label: 'from publishers', values: rates.received },
            { label: 'to viewers', values: rates.sent },
          ]}
          slots={SLOTS}
          span={SPAN}
          format={bitrate}
          leastMax={1e6}
        />
        <Plot
          title="Loss"
          series={[
            { label: 'from publishers', values: losses.fromPublishers },
            { label: 'to viewers', values: losses.toViewers },
          ]}
          slots={SLOTS}
          span={SPAN}
          format={percent}
          leastMax={0.02}
        />
      </div>
      <Participants room={room} look={value} />
    </div>
  );
}
