/**
 * What building our own images takes where nothing can be pulled: stand-ins for the base images, under their names, and
 * the command line's plugins compose and buildx. Both are fetched once, into `.cache/`.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { startEngine, type TestEngine } from './dockerd.ts';

const run = promisify(execFile);

export const repository = resolve(import.meta.dirname, '../../..');
const cache = join(repository, '.cache');
const baseImagesDir = join(cache, 'base-images');
const pluginsDir = join(cache, 'docker-cli');
/** A group nothing on the machine is in: whoever gets at the socket has it from `--group-add`. */
const socketGroup = 24_242;
/** Downloads of some 80 MB (ms). */
const fetchLimitMs = 300_000;

/** Why the images cannot be built here; undefined when they can. Throws with CI=true. Fetches what is missing. */
export async function buildSkipReason(): Promise<string | undefined> {
  for (const [script, folder] of [
    ['base-images.sh', baseImagesDir],
    ['compose-plugin.sh', pluginsDir],
  ] as const) {
    try {
      await run('sh', [join(import.meta.dirname, script), folder], { timeout: fetchLimitMs });
    } catch (error) {
      const reason = `test/engine/support/${script} failed: ${(error as Error).message.trim()}`;
      if (process.env['CI'] === 'true') throw new Error(reason, { cause: error });
      console.log(`image tests skipped: ${reason}`);
      return reason;
    }
  }
  return undefined;
}

/** An engine of our own whose socket belongs to a group of its own, with the base images. */
export class BuildEngine {
  readonly engine: TestEngine;
  /** Path of the engine's socket. */
  readonly socket: string;

  private constructor(engine: TestEngine) {
    this.engine = engine;
    this.socket = engine.host.replace('unix://', '');
  }

  static async start(): Promise<BuildEngine> {
    const build = new BuildEngine(await startEngine({ own: true }));
    try {
      await chown(build.socket, 0, socketGroup);
      for (const image of ['node:24-bookworm-slim', 'busybox:1.36']) {
        await build.engine.docker('import', join(baseImagesDir, `${image.replace(':', '-')}.tar`), image);
      }
    } catch (error) {
      await build.engine.close();
      throw error;
    }
    return build;
  }

  /** What a user types: `stat -c %g /var/run/docker.sock`. */
  async socketGroup(): Promise<string> {
    return String((await stat(this.socket)).gid);
  }

  /** The docker command line with plugins and environment, in a folder; everything it wrote, also to stderr. */
  async cli(
    args: readonly string[],
    options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
  ): Promise<string> {
    const plugins = existsSync(join(pluginsDir, 'cli-plugins')) ? { DOCKER_CONFIG: pluginsDir } : {};
    const { stdout, stderr } = await run('docker', ['-H', this.engine.host, ...args], {
      cwd: options.cwd ?? repository,
      env: { ...process.env, ...plugins, ...options.env },
      maxBuffer: 64 << 20,
    });
    return (stdout + stderr).trim();
  }
}
