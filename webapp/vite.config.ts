import { defineConfig, loadEnv } from 'vite';

export default defineConfig(({ mode }) => {
  // Where `npm run dev` and `npm run preview` find a running Ion.
  const ion = loadEnv(mode, '.', 'ION_')['ION_URL'] ?? 'http://127.0.0.1:7880';
  const proxy = { '/v1': { target: ion, ws: true }, '/whip': ion, '/whep': ion };
  return {
    esbuild: { jsx: 'automatic' },
    server: { proxy },
    preview: { proxy },
    build: {
      target: 'es2022',
      cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
      // The policy allows no inline data but images.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
    },
  };
});
