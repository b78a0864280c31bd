import { type VideoCodec, captureCamera, captureMicrophone, captureScreen, publishWhip } from '@ion-sfu/sdk';
import { type ReactNode, useState } from 'react';
import { explain, wantsToken } from '../errors';
import { useSaved, useStream } from '../hooks';
import { useDevices } from '../media/devices';
import { type Open, type Phase, useMediaSession } from '../media/session';
import { pathOf } from '../router';
import { figuresOf } from '../stats';
import { saveToken, savedToken } from '../token';
import { Button } from '../ui/button';
import { Alert, Select, TokenField } from '../ui/field';
import { Figures } from '../ui/figures';
import { Link } from '../ui/link';
import style from '../ui/player.module.css';
import { Shell } from '../ui/shell';
import { DeviceSelect } from '../ui/devices';

type Source = 'camera' | 'screen' | 'microphone';

const WORDS: Record<Phase, string> = {
  idle: 'Not on air.',
  starting: 'Connecting…',
  connecting: 'Connecting…',
  waiting: 'The server is busy. It starts by itself.',
  connected: 'On air.',
  disconnected: 'The connection was lost. Connecting again…',
  closed: 'Not on air.',
};

const CODECS: readonly VideoCodec[] = ['vp8', 'vp9', 'h264', 'av1'];

async function capture(source: Source, camera: string, microphone: string, signal: AbortSignal): Promise<MediaStream> {
  if (source === 'screen') return new MediaStream(await captureScreen({ content: 'motion', video: { frameRate: { ideal: 30 } } }, { signal }));
  const sound = await captureMicrophone(microphone === '' ? {} : { deviceId: microphone }, { signal });
  if (source === 'microphone') return new MediaStream([sound]);
  try {
    return new MediaStream([await captureCamera(camera === '' ? {} : { deviceId: camera }, { signal }), sound]);
  } catch (error) {
    sound.stop();
    throw error;
  }
}

/** Publishes a camera, a screen or a microphone to a room, over WHIP. */
export default function Broadcast({ room }: { room: string }): ReactNode {
  const { phase, stream, stats, error, start, stop } = useMediaSession();
  const [source, setSource] = useState<Source>('camera');
  const [camera, setCamera] = useSaved('ion.camera', '');
  const [microphone, setMicrophone] = useSaved('ion.microphone', '');
  const [codec, setCodec] = useState<VideoCodec>('vp8');
  const [token, setToken] = useState(savedToken);
  const devices = useDevices(stream !== undefined);
  const video = useStream(stream);
  const isIdle = phase === 'idle' || phase === 'closed';

  const open: Open = async ({ signal, waiting }) => {
    const media = await capture(source, camera, microphone, signal);
    const release = (): void => {
      for (const track of media.getTracks()) track.stop();
    };
    signal.addEventListener('abort', release);
    // The browser's own button ends sharing.
    media.getVideoTracks()[0]?.addEventListener('ended', stop);
    try {
      const session = await publishWhip(`/whip/${encodeURIComponent(room)}`, media, { token, signal, onRetry: waiting, video: { codec } });
      return { session, stream: media };
    } catch (reason) {
      release();
      throw reason;
    }
  };

  return (
    <Shell title={`Broadcast to ${room}`}>
      <div className={style['columns']}>
        <div className={style['side']}>
          <div className={`${style['stage']} ${source === 'camera' ? style['mirrored'] : ''}`}>
            <video ref={video} aria-label="What you publish" autoPlay playsInline muted />
            {phase === 'connected' ? (
              <span className={style['live']}>On air</span>
            ) : (
              <div className={style['notice']}>{WORDS[phase]}</div>
            )}
          </div>
          <p role="status" className="unseen">
            {WORDS[phase]}
          </p>
          <div className={style['row']}>
            {isIdle ? (
              <Button
                kind="primary"
                onClick={() => {
                  saveToken(token);
                  start(open);
                }}
              >
                Go live
              </Button>
            ) : (
              <Button kind="danger" onClick={stop}>
                Stop
              </Button>
            )}
            <Link to={pathOf({ page: 'watch', room })}>Watch page</Link>
          </div>
          {error !== undefined && <Alert>{explain(error)}</Alert>}
          {stats !== undefined && <Figures label="Statistics" figures={figuresOf(stats, 'sent')} />}
        </div>
        <form className={style['side']} aria-label="Settings">
          <Select
            label="Source"
            value={source}
            disabled={!isIdle}
            onChange={(event) => {
              setSource(event.target.value as Source);
            }}
          >
            <option value="camera">Camera and microphone</option>
            <option value="screen">Screen</option>
            <option value="microphone">Microphone only</option>
          </Select>
          {source === 'camera' && <DeviceSelect kind="videoinput" devices={devices} value={camera} onChange={setCamera} disabled={!isIdle} />}
          {source !== 'screen' && (
            <DeviceSelect kind="audioinput" devices={devices} value={microphone} onChange={setMicrophone} disabled={!isIdle} />
          )}
          {source !== 'microphone' && (
            <Select
              label="Video codec"
              value={codec}
              disabled={!isIdle}
              onChange={(event) => {
                setCodec(event.target.value as VideoCodec);
              }}
            >
              {CODECS.map((one) => (
                <option key={one} value={one}>
                  {one.toUpperCase()}
                </option>
              ))}
            </Select>
          )}
          {(wantsToken(error) || token !== '') && <TokenField value={token} onChange={setToken} />}
          <p className={style['note']}>
            OBS, FFmpeg and GStreamer publish to <code>{new URL(`/whip/${encodeURIComponent(room)}`, location.href).href}</code>
          </p>
        </form>
      </div>
    </Shell>
  );
}
