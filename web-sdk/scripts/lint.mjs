// Every check that needs no test: types, rules, the public API against its report, the package's shape, the size of a bundle.
import { execFile, execFileSync } from 'node:child_process';
import { brotliCompressSync, constants } from 'node:zlib';
import { build } from 'esbuild';

/** Of everything that the package exports, minified, brotli. */
const SIZE_LIMIT_BYTES = 45_000;

process.chdir(new URL('..', import.meta.url).pathname);

/** @param {string} tool @param {string[]} args @returns {Promise<boolean>} */
const run = (tool, ...args) =>
  new Promise((resolve) => {
    execFile(`node_modules/.bin/${tool}`, args, (error, stdout, stderr) => {
      if (error) console.error(`== ${tool}\n${stdout}${stderr}`);
      resolve(!error);
    });
  });

const bundled = async () => {
  const { outputFiles } = await build({
    entryPoints: ['dist/index.js', 'dist/e2ee/worker.js'],
    bundle: true,
    minify: true,
    format: 'esm',
    write: false,
    outdir: 'out',
  });
  const sizes = outputFiles.map(({ contents }) => {
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11 };
    return brotliCompressSync(contents, { params }).length;
  });
  const size = sizes.reduce((sum, one) => sum + one, 0);
  const line = `sdk: ${size} bytes as brotli, of ${SIZE_LIMIT_BYTES}`;
  console.log(line);
  if (size > SIZE_LIMIT_BYTES) console.error(`${line}: too large`);
  return size <= SIZE_LIMIT_BYTES;
};

execFileSync('node', ['scripts/build.mjs'], { stdio: 'inherit' });
const results = await Promise.all([
  run('tsc', '-p', 'test/tsconfig.json'),
  run('eslint', '.'),
  run('api-extractor', 'run'),
  run('publint', '--strict'),
  bundled(),
]);
process.exitCode = results.every(Boolean) ? 0 : 1;
