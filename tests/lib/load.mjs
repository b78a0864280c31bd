// The load generator: real WHIP and WHEP clients, as many as a scenario needs.
import { access } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Missing } from './scenario.mjs';

/**
 * Runs the load generator to its end.
 * @param {import('./scenario.mjs').Context} t @param {string[]} args
 * @param {string | null} [netns] where its clients are
 */
export async function load(t, args, netns = null) {
  const root = dirname(t.testsDir);
  const binary = join(t.binDir, 'ion-loadtest');
  await access(binary).catch(() => {
    throw new Missing(`there is no ${binary} (cargo build --release -p ion-loadtest)`);
  });
  const media = join(root, 'loadtest', 'media');
  await access(join(media, 'opus.ogg')).catch(() => {
    throw new Missing('there is no encoded media (make media)');
  });
  const child = t.child(binary, ['run', '--media', media, ...args], { netns });
  return { status: await child.wait(60_000), said: child.tail(20) };
}
