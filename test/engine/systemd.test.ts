// The shipped unit under a real systemd, in a container that has this machine's programs: when it counts as started,
// what a stop, a leave, a reload and a crash do, and that the agent works in its confinement.
import { execFile } from 'node:child_process';
import { copyFile, chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from '../helpers/wait.ts';
import { repository } from './support/base-images.ts';
import { engineSkipReason, startEngine, type TestEngine } from './support/dockerd.ts';

const run = promisify(execFile);
const systemd = '/usr/lib/systemd/systemd';
const units = '/usr/lib/systemd/system';
/** Of systemd's own units only those that ours needs; none of what they would start. */
const neededUnits = ['basic.target', 'sysinit.target', 'network-online.target', 'multi-user.target', 'shutdown.target'];

function skipReason(): string | undefined {
  const missing = [systemd, '/usr/bin/systemctl', '/usr/bin/systemd-notify'].find((path) => !existsSync(path));
  if (missing === undefined) return engineSkipReason({ own: true });
  if (process.env['CI'] === 'true') throw new Error(`no ${missing} here; install systemd`);
  console.log(`systemd tests skipped: no ${missing} here`);
  return missing;
}

/** Of each test, and of bringing everything up, on a machine that has other things to do (ms). */
const limitMs = 240_000;

describe.skipIf(skipReason() !== undefined)('under systemd', { timeout: limitMs }, () => {
  let engine: TestEngine;
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'portolan-systemd-'));
    engine = await startEngine({ own: true });
    await makeRoot();
    await run('tar', ['-C', join(dir, 'root'), '-cf', join(dir, 'root.tar'), '.']);
    await engine.docker('import', join(dir, 'root.tar'), 'stand-in/systemd');
    await engine.run(
      // Not --privileged, which asks for more than a container that runs tests may have to give.
      ...['--name', 'host', '--cap-add', 'ALL', '--cap-drop', 'SYS_RESOURCE'],
      ...['--security-opt', 'seccomp=unconfined', '--security-opt', 'apparmor=unconfined', '--cgroupns', 'private'],
      ...['--tmpfs', '/run', '--tmpfs', '/tmp', '--tmpfs', '/sys/fs/cgroup', '-t'],
      ...['-e', 'container=docker', '-v', '/usr:/usr:ro', '-v', `${dir}/local:/usr/local:ro`],
      ...['-v', `${dir}/units:${units}:ro`, 'stand-in/systemd', systemd],
    );
    let said = '';
    await waitUntil(
      () => `systemd to be up\n${said}`,
      async () => {
        said = await engine.docker('logs', 'host');
        return inside('systemctl', 'is-active', 'multi-user.target').catch(() => undefined);
      },
    );
  }, limitMs);

  afterAll(async () => {
    await engine?.close();
    await rm(dir, { recursive: true, force: true });
  });

  async function makeRoot(): Promise<void> {
    const root = join(dir, 'root');
    for (const folder of [
      'etc/systemd/system',
      'etc/portolan/config',
      'usr',
      'proc',
      'sys',
      'dev',
      'run',
      'tmp',
      'var/log',
    ]) {
      await mkdir(join(root, folder), { recursive: true });
    }
    for (const folder of ['bin', 'sbin', 'lib', 'lib64']) await symlink(`usr/${folder}`, join(root, folder));
    await symlink('../run', join(root, 'var/run'));
    const files = {
      'etc/passwd': 'root:x:0:0::/root:/bin/sh\nportolan:x:8500:8500::/var/lib/portolan:/bin/false\n',
      'etc/group': 'root:x:0:\nportolan:x:8500:\ndocker:x:999:\n',
      'etc/machine-id': `${'0123456789abcdef'.repeat(2)}\n`,
      'etc/portolan/portolan.env': 'PORTOLAN_ADVERTISE_ADDR=127.0.0.1\n',
      'etc/portolan/config/own.hcl': [
        'data_dir = "/var/lib/portolan"',
        'node_name = "quay"',
        'retry_join = ["127.0.0.1:9301"]',
        'retry_interval = "500ms"',
        'registrator { enabled = true }',
      ].join('\n'),
    };
    for (const [path, text] of Object.entries(files)) await writeFile(join(root, path), text);
    await copyFile(join(repository, 'deploy/portolan.service'), join(root, 'etc/systemd/system/portolan.service'));
    // No journal here, and no more files than the test itself may have.
    await mkdir(join(root, 'etc/systemd/system/portolan.service.d'));
    await writeFile(
      join(root, 'etc/systemd/system/portolan.service.d/test.conf'),
      '[Service]\nStandardOutput=append:/var/log/portolan.log\nStandardError=inherit\nLimitNOFILE=4096\n',
    );
    await mkdir(join(dir, 'local/bin'), { recursive: true });
    await mkdir(join(dir, 'local/lib/portolan'), { recursive: true });
    await copyFile(process.execPath, join(dir, 'local/bin/node'));
    await copyFile(join(repository, 'docker/portolan.sh'), join(dir, 'local/bin/portolan'));
    await chmod(join(dir, 'local/bin/portolan'), 0o755);
    await copyFile(join(repository, 'dist/portolan.js'), join(dir, 'local/lib/portolan/portolan.mjs'));
    await mkdir(join(dir, 'units'));
    for (const unit of neededUnits) await copyFile(join(units, unit), join(dir, 'units', unit));
    await symlink('multi-user.target', join(dir, 'units/default.target'));
  }

  const inside = (...command: readonly string[]): Promise<string> => engine.docker('exec', 'host', ...command);
  const log = (): Promise<string> => inside('cat', '/var/log/portolan.log').catch(() => '');
  const show = async (property: string): Promise<string> =>
    inside('systemctl', 'show', '--value', '-p', property, 'portolan');

  async function becomes(property: string, wanted: string): Promise<void> {
    let last = '';
    await waitUntil(
      () => `${property} to be ${wanted}, not ${last}`,
      async () => {
        last = await show(property);
        if (last !== wanted) last += `\n${(await log()).slice(-2000)}`;
        return last === wanted;
      },
    );
  }

  /** The state of the agent in the eyes of the one it has joined. */
  async function seenAs(status: string): Promise<void> {
    let last = '';
    await waitUntil(
      () => `the other member to see it ${status}\n${last}`,
      async () => {
        last = await inside('portolan', 'members', '-http-addr=127.0.0.1:9500').catch(String);
        return new RegExp(`^quay .* ${status} `, 'm').test(last);
      },
    );
  }

  test('the shipped configuration is valid, and so is the unit', async () => {
    const config = join(repository, 'deploy/portolan.hcl');
    const { stdout } = await run(process.execPath, [join(repository, 'dist/portolan.js'), 'validate', config]);
    expect(stdout).toContain('Configuration is valid!');
    expect(await inside('systemd-analyze', 'verify', '/etc/systemd/system/portolan.service')).toBe('');
    expect(await show('LoadState')).toBe('loaded');
  });

  test('it has started when it has joined, not before, and works meanwhile', async () => {
    await inside('systemctl', 'start', '--no-block', 'portolan');
    await waitUntil('the agent to answer', () => inside('portolan', 'info').catch(() => undefined));
    await waitUntil('a join that fails', async () => (await log()).includes('Join cluster failed, will retry'));
    expect(await show('ActiveState')).toBe('activating');
    await engine.docker(
      ...['exec', '-d', 'host', 'portolan', 'agent', '-dev', '-node=other', '-bind=127.0.0.1'],
      ...['-serf-lan-port=9301', '-serf-wan-port=9302', '-server-port=9300', '-http-port=9500', '-dns-port=-1'],
      '-grpc-port=-1',
    );
    await becomes('ActiveState', 'active');
    await seenAs('alive');
  });

  test('it runs confined, as its own user, with its own folder', async () => {
    const status = await inside('cat', `/proc/${await show('MainPID')}/status`);
    expect(status).toMatch(/^Uid:\t8500\t8500\t8500\t8500$/m);
    expect(status).toMatch(/^Groups:\t999 8500 $/m);
    expect(status).toMatch(/^CapBnd:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(await inside('stat', '-c', '%U %a', '/var/lib/portolan')).toBe('portolan 750');
    expect(await inside('ls', '/var/lib/portolan')).toContain('node-id');
  });

  test('the environment file is read, and reload reads the configuration again', async () => {
    expect(await log()).toContain('127.0.0.1 (from variable PORTOLAN_ADVERTISE_ADDR');
    const service = 'service { name = "tide" port = 80 }';
    await inside('sh', '-c', `echo '${service}' > /etc/portolan/config/tide.hcl`);
    await inside('systemctl', 'reload', 'portolan');
    await waitUntil('the new service', async () => (await inside('portolan', 'catalog', 'services')).includes('tide'));
    expect(await show('ActiveState')).toBe('active');
  });

  test('a crash is mended', async () => {
    const pid = await show('MainPID');
    await inside('kill', '-9', pid);
    await waitUntil('another process', async () => !['0', pid].includes(await show('MainPID')));
    await becomes('ActiveState', 'active');
    await seenAs('alive');
  });

  test('a stop is a leave', async () => {
    await inside('systemctl', 'stop', 'portolan');
    expect([await show('ActiveState'), await show('Result')]).toEqual(['inactive', 'success']);
    expect(await log()).toContain('Graceful exit completed');
    await seenAs('left');
  });

  test('after a leave by command it stays down', async () => {
    await inside('systemctl', 'start', 'portolan');
    await seenAs('alive');
    await inside('portolan', 'leave');
    await becomes('ActiveState', 'inactive');
    expect(await show('Result')).toBe('success');
    expect(await show('NRestarts')).toBe('0');
  });

  test('who has nobody to join has started at once; a server stops without leaving, which is no failure', async () => {
    const config = 'data_dir = "/var/lib/portolan/server"\nserver = true\nbootstrap = true\n';
    await inside('sh', '-c', `echo '${config}' > /etc/portolan/config/own.hcl`);
    await inside('systemctl', 'start', 'portolan');
    expect(await show('ActiveState')).toBe('active');
    await inside('systemctl', 'stop', 'portolan');
    expect([await show('ActiveState'), await show('Result')]).toEqual(['inactive', 'success']);
    expect((await log()).trim().split('\n').at(-1)).not.toContain('Graceful exit completed');
  });
});
