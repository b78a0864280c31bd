import { type ReactNode, Suspense, lazy, useEffect, useRef } from 'react';
import { type Route, routeOf, usePlace } from './router';
import { Boundary } from './ui/boundary';
import { Shell } from './ui/shell';

const Home = lazy(() => import('./pages/home'));
const RoomPage = lazy(() => import('./pages/room'));
const Watch = lazy(() => import('./pages/watch'));
const Broadcast = lazy(() => import('./pages/broadcast'));
const Admin = lazy(() => import('./pages/admin/admin'));

function titleOf(route: Route): string {
  switch (route.page) {
    case 'home':
      return 'Ion';
    case 'room':
      return `${route.room} · Ion`;
    case 'watch':
      return `Watch ${route.room} · Ion`;
    case 'broadcast':
      return `Broadcast to ${route.room} · Ion`;
    case 'admin':
      return 'Admin · Ion';
    case 'missing':
      return 'No such page · Ion';
  }
}

function page(route: Route): ReactNode {
  switch (route.page) {
    case 'home':
      return <Home />;
    case 'room':
      return <RoomPage room={route.room} />;
    case 'watch':
      return <Watch room={route.room} />;
    case 'broadcast':
      return <Broadcast room={route.room} />;
    case 'admin':
      return <Admin />;
    case 'missing':
      return (
        <Shell title="No such page">
          <p>
            There is nothing at this address. <a href="/">To the start</a>
          </p>
        </Shell>
      );
  }
}

/** The whole app: one page at a time, under a boundary that keeps an error from leaving nothing. */
export function App(): ReactNode {
  const { path, visit } = usePlace();
  const route = routeOf(path);
  const title = titleOf(route);
  const first = useRef(true);
  useEffect(() => {
    document.title = title;
    // Whoever cannot see the page change hears its heading, as after a page load.
    if (!first.current) document.querySelector<HTMLElement>('h1')?.focus();
    first.current = false;
  }, [visit, title]);
  return (
    <Boundary key={visit}>
      <Suspense fallback={<p className="unseen">Loading…</p>}>{page(route)}</Suspense>
    </Boundary>
  );
}
