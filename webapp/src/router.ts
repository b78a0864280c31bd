// The app's addresses: which page a path is, and how to go to another without loading anything.
import { Store } from '@ion-sfu/sdk';
import { useSyncExternalStore } from 'react';

export type Route =
  | { readonly page: 'home' }
  | { readonly page: 'room'; readonly room: string }
  | { readonly page: 'watch'; readonly room: string }
  | { readonly page: 'broadcast'; readonly room: string }
  | { readonly page: 'admin' }
  | { readonly page: 'missing' };

/** What a path shows. */
export function routeOf(path: string): Route {
  const [page = '', encoded, ...more] = path.replace(/^\/|\/$/g, '').split('/');
  if (more.length > 0) return { page: 'missing' };
  if (encoded === undefined) {
    if (page === '') return { page: 'home' };
    return page === 'admin' ? { page } : { page: 'missing' };
  }
  const room = decoded(encoded);
  if (room === undefined || room === '') return { page: 'missing' };
  return page === 'room' || page === 'watch' || page === 'broadcast' ? { page, room } : { page: 'missing' };
}

/** The path of a route. */
export function pathOf(route: Exclude<Route, { page: 'missing' }>): string {
  switch (route.page) {
    case 'home':
      return '/';
    case 'admin':
      return '/admin';
    default:
      return `/${route.page}/${encodeURIComponent(route.room)}`;
  }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

interface Place {
  readonly path: string;
  /** Another one whenever a page is to begin anew. */
  readonly visit: number;
}

const store = new Store<Place>({ path: location.pathname, visit: 0 });

function arrive(): void {
  store.set({ path: location.pathname, visit: store.getSnapshot().visit + 1 });
}

addEventListener('popstate', arrive);

/** Goes to another page of the app. */
export function navigate(path: string): void {
  history.pushState(null, '', path);
  scrollTo(0, 0);
  arrive();
}

/** Gives the page that is shown another address. */
export function rename(path: string): void {
  history.replaceState(null, '', path);
  store.set({ path, visit: store.getSnapshot().visit });
}

/** Where the user is. */
export function usePlace(): Place {
  return useSyncExternalStore(store.subscribe, store.getSnapshot);
}
