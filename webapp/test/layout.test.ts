import { describe, expect, test } from 'vitest';
import { MOST_TILES, gridLayout, pageOf } from '../src/pages/call/layout';

describe('the grid', () => {
  // [tiles, width, height, columns, rows, pages]
  test.each([
    [1, 1280, 720, 1, 1, 1],
    [2, 1280, 720, 2, 1, 1],
    [3, 1280, 720, 2, 2, 1],
    [4, 1280, 720, 2, 2, 1],
    [5, 1280, 720, 3, 2, 1],
    [9, 1280, 720, 3, 3, 1],
    [10, 1280, 720, 4, 3, 1],
    [16, 1280, 720, 4, 4, 1],
    [25, 1280, 720, 5, 5, 1],
    [49, 1280, 720, 7, 7, 1],
    [50, 1280, 720, 7, 7, 2],
    // A tall phone: one above the other.
    [1, 344, 600, 1, 1, 1],
    [2, 344, 600, 1, 2, 1],
    [4, 344, 600, 1, 4, 1],
    [6, 344, 600, 2, 3, 1],
    [8, 344, 600, 2, 4, 1],
    // A flat phone.
    [4, 740, 260, 2, 2, 1],
    [4, 740, 160, 4, 1, 1],
  ])('%i tiles in %i×%i are %i×%i', (count, width, height, columns, rows, pages) => {
    expect(gridLayout(count, width, height)).toMatchObject({ columns, rows, pages });
  });

  test('fits its space, and shows everybody, whatever the numbers', () => {
    for (const [width, height] of [[320, 480], [360, 640], [800, 300], [1280, 720], [3840, 1600], [1, 1], [0, 0]] as const) {
      for (let count = 0; count <= 120; count += 1) {
        const grid = gridLayout(count, width, height);
        const tiles = Array.from({ length: count }, (_, at) => at);
        expect(grid.perPage).toBeLessThanOrEqual(MOST_TILES);
        expect(grid.columns * grid.rows).toBeGreaterThanOrEqual(grid.perPage);
        expect(grid.columns * grid.tileWidth + (grid.columns - 1) * 8).toBeLessThanOrEqual(Math.max(width, (grid.columns - 1) * 8));
        expect(grid.rows * grid.tileHeight + (grid.rows - 1) * 8).toBeLessThanOrEqual(Math.max(height, (grid.rows - 1) * 8));
        const shown = Array.from({ length: grid.pages }, (_, page) => pageOf(tiles, grid, page)).flat();
        expect(shown).toEqual(tiles);
      }
    }
  });

  test('tiles are not made tiny: there is another page', () => {
    const grid = gridLayout(30, 344, 600);
    expect(grid.tileWidth).toBeGreaterThanOrEqual(132);
    expect(grid.pages).toBeGreaterThan(1);
  });

  test('a page that is no more is the last one', () => {
    const grid = gridLayout(60, 1280, 720);
    expect(pageOf(Array.from({ length: 60 }, (_, at) => at), grid, 9).at(-1)).toBe(59);
  });
});
