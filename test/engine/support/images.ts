/**
 * Images made on the spot from one static busybox: nothing is pulled, so the suites run without a network.
 */
import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Image → `docker import --change` lines. All but `acme/bare` hold busybox with its applets. */
const images: Readonly<Record<string, readonly string[]>> = {
  'acme/one': ['EXPOSE 80/tcp', 'CMD ["httpd","-f","-p","80","-h","/www"]'],
  'acme/two': ['EXPOSE 80/tcp 443/tcp', 'CMD ["httpd","-f","-p","80","-h","/www"]'],
  'acme/udp': ['EXPOSE 53/tcp 53/udp', 'CMD ["sleep","1000000"]'],
  'acme/plain': ['CMD ["sleep","1000000"]'],
  /** Healthy as long as /tmp/sick does not exist. */
  'acme/health': [
    'EXPOSE 80/tcp',
    'CMD ["httpd","-f","-p","80","-h","/www"]',
    'HEALTHCHECK --interval=1s --timeout=2s --retries=1 CMD [ ! -e /tmp/sick ] && echo well || { echo sick; exit 1; }',
  ],
  /** No shell, nothing but /sleep and /true. */
  'acme/bare': ['CMD ["/sleep","1000000"]'],
};

/** busybox looks at its own name, so one binary under another name is that one program. */
const applets = [
  'sh',
  'sleep',
  'true',
  'false',
  'echo',
  'cat',
  'httpd',
  'kill',
  'ls',
  'ps',
  'nc',
  'touch',
  'rm',
  'setsid',
  'seq',
  'wget',
  'trap',
  'id',
  'printenv',
  'nslookup',
  'udhcpc',
  'nohup',
];

/** Makes the images that the engine behind `docker` does not have yet. */
export async function importImages(docker: (...args: string[]) => Promise<string>): Promise<void> {
  const present = new Set((await docker('images', '--format', '{{.Repository}}')).split('\n'));
  const wanted = Object.entries(images).filter(([name]) => !present.has(name));
  if (wanted.length === 0) return;
  const dir = await mkdtemp(join(tmpdir(), 'portolan-images-'));
  try {
    const busybox = (await run('sh', ['-c', 'command -v busybox'])).stdout.trim();
    await shellRoot(join(dir, 'full'), busybox);
    await mkdir(join(dir, 'bare', 'tmp'), { recursive: true });
    for (const applet of ['sleep', 'true']) {
      await copyFile(busybox, join(dir, 'bare', applet));
      await chmod(join(dir, 'bare', applet), 0o755);
    }
    for (const root of ['full', 'bare'])
      await run('tar', ['-C', join(dir, root), '-cf', join(dir, `${root}.tar`), '.']);
    for (const [name, changes] of wanted) {
      const tar = join(dir, name === 'acme/bare' ? 'bare.tar' : 'full.tar');
      await docker('import', ...changes.flatMap((change) => ['--change', change]), tar, `${name}:latest`);
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function shellRoot(root: string, busybox: string): Promise<void> {
  for (const folder of ['bin', 'tmp', 'www', 'etc', 'proc', 'dev'])
    await mkdir(join(root, folder), { recursive: true });
  await copyFile(busybox, join(root, 'bin/busybox'));
  await chmod(join(root, 'bin/busybox'), 0o755);
  // What HTTP checks of a container with httpd find.
  await writeFile(join(root, 'www/health'), 'well\n');
  for (const applet of applets) await symlink('busybox', join(root, 'bin', applet));
}
