// Where tiles go. Pure: a number of tiles and a space go in, sizes come out.

/** Tiles on one page, at most. */
export const MOST_TILES = 49;
const GAP = 8;
/** Shape of a picture, width by height; where there is space left, a tile is higher, up to the second shape. */
const PICTURE = 16 / 9;
const HIGHEST = 4 / 3;
/** Tiles are not made narrower than this: there is another page instead. */
const LEAST_WIDTH = 132;

export interface Grid {
  readonly columns: number;
  readonly rows: number;
  readonly tileWidth: number;
  readonly tileHeight: number;
  /** Tiles on each page but the last. */
  readonly perPage: number;
  readonly pages: number;
}

/** The grid with the largest tiles that holds `count` of them, on as few pages as their least size allows. */
export function gridLayout(count: number, width: number, height: number): Grid {
  const tiles = Math.max(1, count);
  for (let perPage = Math.min(tiles, MOST_TILES); ; perPage -= 1) {
    const best = bestOf(perPage, width, height);
    const fits = best.tileWidth >= Math.min(LEAST_WIDTH, width);
    if (fits || perPage === 1) return { ...best, perPage, pages: Math.ceil(tiles / perPage) };
  }
}

function bestOf(count: number, width: number, height: number): Omit<Grid, 'perPage' | 'pages'> {
  let best = { columns: 1, rows: count, tileWidth: 0, tileHeight: 0 };
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const room = { width: (width - GAP * (columns - 1)) / columns, height: (height - GAP * (rows - 1)) / rows };
    const tileWidth = Math.floor(Math.min(room.width, room.height * PICTURE));
    if (tileWidth > best.tileWidth) best = { columns, rows, tileWidth, tileHeight: Math.floor(Math.min(room.height, tileWidth / HIGHEST)) };
  }
  return best;
}

/** The tiles of a page; pages that are not there any more are the last one. */
export function pageOf<Tile>(tiles: readonly Tile[], grid: Grid, page: number): readonly Tile[] {
  const start = Math.min(page, grid.pages - 1) * grid.perPage;
  return tiles.slice(start, start + grid.perPage);
}
