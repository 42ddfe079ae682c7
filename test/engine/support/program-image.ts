/** Images made of programs of this machine with the libraries they link, over busybox: nothing is pulled. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { repository } from './base-images.ts';
import type { TestEngine } from './dockerd.ts';

const run = promisify(execFile);

/**
 * @param options.programs names on the PATH, or paths
 * @param options.files path → text
 * @param options.changes lines of a Dockerfile
 */
export async function importPrograms(
  engine: TestEngine,
  image: string,
  options: {
    readonly programs: readonly string[];
    readonly files?: Readonly<Record<string, string>>;
    readonly changes?: readonly string[];
  },
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'portolan-programs-'));
  const root = join(dir, 'root');
  try {
    for (const folder of ['bin', 'etc', 'tmp', 'run', 'var', 'proc', 'sys', 'dev']) {
      await mkdir(join(root, folder), { recursive: true });
    }
    for (const program of ['busybox', ...options.programs]) {
      const from = (await run('sh', ['-c', `command -v ${program}`])).stdout.trim();
      await put(from, join(root, 'bin', basename(program)));
      // Fails for programs that link nothing.
      const { stdout } = await run('ldd', [from]).catch(() => ({ stdout: '' }));
      for (const [library] of stdout.matchAll(/\/[^ )]+/g)) await put(library, join(root, library));
    }
    for (const applet of (await run('busybox', ['--list'])).stdout.trim().split('\n')) {
      if (!existsSync(join(root, 'bin', applet))) await symlink('busybox', join(root, 'bin', applet));
    }
    for (const [path, text] of Object.entries(options.files ?? {})) {
      await mkdir(join(root, dirname(path)), { recursive: true });
      await writeFile(join(root, path), text);
    }
    await run('tar', ['-C', root, '-cf', join(dir, 'root.tar'), '.']);
    const changes = ['ENV PATH=/bin', ...(options.changes ?? [])].flatMap((line) => ['--change', line]);
    await engine.docker('import', ...changes, join(dir, 'root.tar'), image);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function put(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to);
  await chmod(to, 0o755);
}

/** The real Consul's binary, or the reason why there is none. Throws with CI=true. */
export async function realConsul(): Promise<{ readonly binary: string } | { readonly reason: string }> {
  try {
    const script = join(repository, 'test/bench/support/peer.sh');
    const { stdout } = await run('sh', [script], { timeout: 300_000 });
    return { binary: stdout.trim() };
  } catch (error) {
    const reason = `test/bench/support/peer.sh failed: ${(error as Error).message.trim()}`;
    if (process.env['CI'] === 'true') throw new Error(reason, { cause: error });
    console.log(`tests with a real Consul skipped: ${reason}`);
    return { reason };
  }
}
