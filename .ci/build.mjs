// Bundles the agent into one executable file, dist/portolan.js, so that starting it costs one read instead of
// hundreds of module resolutions, and so that the image needs no node_modules.
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { build } from 'esbuild';

const root = new URL('..', import.meta.url);
const { version } = JSON.parse(await readFile(new URL('package.json', root), 'utf8'));

/** The commit the bundle was made from; empty outside a git checkout. */
function revision() {
  try {
    return execFileSync('git', ['rev-parse', '--short=8', 'HEAD'], { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  } catch {
    return '';
  }
}

/**
 * dockerode loads SSH transport and BuildKit sessions (ssh2, protobuf, a second way to gRPC) whether or not they are
 * used. The agent refuses ssh:// endpoints and builds no images, and would carry them in memory all its life.
 */
const withoutUnusedDockerTransports = {
  name: 'without-unused-docker-transports',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]docker-modem[\\/]lib[\\/]ssh\.js$|[\\/]dockerode[\\/]lib[\\/]session\.js$/ }, () => ({
      contents: "module.exports = () => { throw new Error('left out of the bundle, see build.mjs'); };",
      loader: 'js',
    }));
  },
};

await mkdir(new URL('dist/', root), { recursive: true });
await build({
  absWorkingDir: root.pathname,
  entryPoints: ['src/main.ts'],
  outfile: 'dist/portolan.js',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: 'linked',
  legalComments: 'none',
  external: ['cpu-features'],
  loader: { '.node': 'empty' },
  plugins: [withoutUnusedDockerTransports],
  define: { PORTOLAN_VERSION: JSON.stringify(version), PORTOLAN_REVISION: JSON.stringify(revision()) },
  // CommonJS packages inside an ES module bundle expect these three names.
  banner: {
    js: [
      '#!/usr/bin/env node',
      // A small heap matters more to an agent on every host than peak throughput. The bundle's first statement, before
      // anything has made the heap grow; measured: 149 → 91 MB with Node.js 24 beside 30 containers.
      "import{setFlagsFromString as __portolanHeap}from'node:v8';__portolanHeap('--optimize-for-size');",
      "import{createRequire as __portolanRequire}from'node:module';",
      "import{fileURLToPath as __portolanPath}from'node:url';",
      'const require=__portolanRequire(import.meta.url);',
      'const __filename=__portolanPath(import.meta.url);',
      "const __dirname=__portolanPath(new URL('.',import.meta.url));",
    ].join('\n'),
  },
  logLevel: 'warning',
});
await chmod(new URL('dist/portolan.js', root), 0o755);
