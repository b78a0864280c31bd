import type { Room, RoomStats } from '@ion-sfu/sdk';
import { type CSSProperties, type ReactNode, useState } from 'react';
import { useSize } from '../../hooks';
import { IconButton } from '../../ui/button';
import { type Grid, gridLayout, pageOf } from './layout';
import { TileView } from './tile';
import { type Tile, stageOf } from './tiles';
import style from './stage.module.css';

export type View = 'grid' | 'speaker';

interface Props {
  readonly room: Room;
  readonly tiles: readonly Tile[];
  readonly view: View;
  readonly stats: RoomStats | undefined;
  readonly lastSpeaker: string | undefined;
  readonly pinned: string | undefined;
  readonly onPin: (key: string) => void;
}

function sizes({ tileWidth, tileHeight }: Pick<Grid, 'tileWidth' | 'tileHeight'>): CSSProperties {
  return { '--tile-width': `${tileWidth}px`, '--tile-height': `${tileHeight}px` } as CSSProperties;
}

function GridView({ room, tiles, stats, pinned, onPin }: Props): ReactNode {
  const [ref, { width, height }] = useSize();
  const [page, setPage] = useState(0);
  const grid = gridLayout(tiles.length, width, height);
  const shown = Math.min(page, grid.pages - 1);
  const turn = (by: number) => (): void => {
    setPage(Math.min(grid.pages - 1, Math.max(0, shown + by)));
  };
  return (
    <div className={style['pages']}>
      <ul ref={ref} className={style['grid']} style={sizes(grid)} aria-label="Participants">
        {width > 0 &&
          pageOf(tiles, grid, shown).map((tile) => (
            <TileView key={tile.key} room={room} tile={tile} stats={stats} isPinned={tile.key === pinned} onPin={onPin} />
          ))}
      </ul>
      {grid.pages > 1 && (
        <nav className={style['turn']} aria-label="Pages of participants">
          <IconButton icon="previous" label="Page before" disabled={shown === 0} onClick={turn(-1)} />
          <span role="status">
            Page {shown + 1} of {grid.pages}
          </span>
          <IconButton icon="next" label="Next page" disabled={shown === grid.pages - 1} onClick={turn(1)} />
        </nav>
      )}
    </div>
  );
}

function SpeakerView({ room, tiles, stats, lastSpeaker, pinned, onPin }: Props): ReactNode {
  const large = stageOf(tiles, pinned, lastSpeaker);
  const others = tiles.filter((tile) => tile !== large);
  return (
    <div className={style['speaker']}>
      <ul className={style['large']} aria-label="On stage">
        {large !== undefined && (
          <TileView key={large.key} room={room} tile={large} stats={stats} isPinned={large.key === pinned} onPin={onPin} />
        )}
      </ul>
      {others.length > 0 && (
        // Scrolled by keyboard as well.
        <ul className={style['strip']} aria-label="Other participants" tabIndex={0}>
          {others.map((tile) => (
            <TileView key={tile.key} room={room} tile={tile} stats={stats} isPinned={false} onPin={onPin} />
          ))}
        </ul>
      )}
    </div>
  );
}

/** All tiles, in one of two ways. */
export function Stage(props: Props): ReactNode {
  return props.view === 'grid' ? <GridView {...props} /> : <SpeakerView {...props} />;
}
