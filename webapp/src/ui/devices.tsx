import type { ReactNode } from 'react';
import { Select } from './field';

const NAMES: Record<MediaDeviceKind, string> = { videoinput: 'Camera', audioinput: 'Microphone', audiooutput: 'Speaker' };

interface Props {
  readonly kind: MediaDeviceKind;
  readonly devices: readonly MediaDeviceInfo[];
  /** A device's id; empty is the browser's choice. */
  readonly value: string;
  readonly onChange: (deviceId: string) => void;
  readonly disabled?: boolean;
}

/** A choice of devices of one kind. */
export function DeviceSelect({ kind, devices, value, onChange, disabled = false }: Props): ReactNode {
  const some = devices.filter((one) => one.kind === kind && one.deviceId !== 'default');
  // One that was chosen before and is not here now must not look chosen.
  const chosen = some.some(({ deviceId }) => deviceId === value) ? value : '';
  return (
    <Select
      label={NAMES[kind]}
      value={chosen}
      disabled={disabled}
      onChange={(event) => {
        onChange(event.target.value);
      }}
    >
      <option value="">Default</option>
      {some.map(({ deviceId, label }, at) => (
        <option key={deviceId} value={deviceId}>
          {label === '' ? `${NAMES[kind]} ${at + 1}` : label}
        </option>
      ))}
    </Select>
  );
}
