import { beforeAll, describe, expect, test, vi } from 'vitest';
import type * as Router from '../src/router';

describe('addresses', () => {
  let router: typeof Router;
  beforeAll(async () => {
    vi.stubGlobal('location', { pathname: '/' });
    vi.stubGlobal('addEventListener', () => undefined);
    router = await import('../src/router');
  });

  test.each([
    ['/', { page: 'home' }],
    ['', { page: 'home' }],
    ['/admin', { page: 'admin' }],
    ['/admin/', { page: 'admin' }],
    ['/room/demo', { page: 'room', room: 'demo' }],
    ['/watch/a%40b', { page: 'watch', room: 'a@b' }],
    ['/broadcast/x', { page: 'broadcast', room: 'x' }],
    ['/room', { page: 'missing' }],
    ['/room/', { page: 'missing' }],
    ['/room/a/b', { page: 'missing' }],
    ['/room/%', { page: 'missing' }],
    ['/nothing/x', { page: 'missing' }],
    ['/admin/x', { page: 'missing' }],
  ])('%s', (path, route) => {
    expect(router.routeOf(path)).toEqual(route);
  });

  test('go there and back', () => {
    for (const route of [{ page: 'home' }, { page: 'admin' }, { page: 'room', room: 'a|b=c' }] as const) {
      expect(router.routeOf(router.pathOf(route))).toEqual(route);
    }
  });
});
