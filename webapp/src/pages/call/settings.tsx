import type { ReactNode } from 'react';
import { useSaved } from '../../hooks';
import { useDevices } from '../../media/devices';
import type { Publisher } from '../../media/publisher';
import { DeviceSelect } from '../../ui/devices';
import { Dialog } from '../../ui/dialog';

interface Props {
  readonly publisher: Publisher;
  readonly speaker: string;
  readonly setSpeaker: (deviceId: string) => void;
  readonly fail: (error: unknown) => void;
  readonly onClose: () => void;
}

/** Changes devices in the call. */
export function Settings({ publisher, speaker, setSpeaker, fail, onClose }: Props): ReactNode {
  const devices = useDevices(true);
  const [camera, setCamera] = useSaved('ion.camera', '');
  const [microphone, setMicrophone] = useSaved('ion.microphone', '');
  return (
    <Dialog title="Devices" onClose={onClose}>
      <DeviceSelect
        kind="videoinput"
        devices={devices}
        value={camera}
        onChange={(id) => {
          setCamera(id);
          publisher.choose('camera', id).catch(fail);
        }}
      />
      <DeviceSelect
        kind="audioinput"
        devices={devices}
        value={microphone}
        onChange={(id) => {
          setMicrophone(id);
          publisher.choose('microphone', id).catch(fail);
        }}
      />
      {'setSinkId' in HTMLMediaElement.prototype && <DeviceSelect kind="audiooutput" devices={devices} value={speaker} onChange={setSpeaker} />}
    </Dialog>
  );
}
