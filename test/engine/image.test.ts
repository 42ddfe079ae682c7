// The image as users run it: built by Docker's classic builder, read-only, no capability, not root.
import { mkdtemp, rm, writeFile, chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from '../helpers/wait.ts';
import { BuildEngine, buildSkipReason } from './support/base-images.ts';
import { engineSkipReason, type TestEngine } from './support/dockerd.ts';

const skip = (engineSkipReason({ own: true }) ?? (await buildSkipReason())) !== undefined;
const hardened = ['--read-only', '--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
/** Fewer seconds until the first verdict than in the image; the command is the image's. */
const quickHealth = ['--health-interval', '500ms'];
/** After so long `docker stop` kills (s): an exit code of 0 says that the agent needed less. */
const stopLimitS = '2';

interface Self {
  readonly Config: { readonly Datacenter: string; readonly NodeName: string; readonly NodeID: string };
  readonly Member: { readonly Addr: string };
}

describe.skipIf(skip)('the image', () => {
  let build: BuildEngine;
  let engine: TestEngine;
  let socketFlags: readonly string[];

  beforeAll(async () => {
    build = await BuildEngine.start();
    engine = build.engine;
    const group = await build.socketGroup();
    socketFlags = ['-v', `${build.socket}:/var/run/docker.sock`, '--group-add', group];
    await build.cli(['build', '-t', 'portolan', '.'], { env: { DOCKER_BUILDKIT: '0' } });
  });

  afterAll(async () => {
    await build?.engine.close();
  });

  const inside = (container: string, ...command: string[]): Promise<string> =>
    engine.docker('exec', container, ...command);
  const api = async <T>(container: string, path: string): Promise<T> =>
    JSON.parse(await inside(container, 'wget', '-q', '-O', '-', `http://127.0.0.1:8500${path}`)) as T;
  const log = (container: string): Promise<string> => build.cli(['logs', container]);
  const inspect = (container: string, format: string): Promise<string> =>
    engine.docker('inspect', '--format', format, container);

  async function healthy(container: string): Promise<void> {
    let last = '';
    await waitUntil(
      () => `${container} to become healthy\n${last}`,
      async () => {
        last = `${await inspect(container, '{{json .State}}')}\n${await log(container)}`;
        if (last.includes('"Status":"exited"')) throw new Error(`${container} has ended\n${last}`);
        return last.includes('"Status":"healthy"');
      },
    );
  }

  async function says(container: string, text: string | RegExp): Promise<string> {
    let last = '';
    await waitUntil(
      () => `${container} to say ${text}\n${last}`,
      async () => {
        last = await log(container);
        return typeof text === 'string' ? last.includes(text) : text.test(last);
      },
    );
    return last;
  }

  test('runs as a user of its own with the group of the socket, without capabilities, on a read-only root', async () => {
    const group = await build.socketGroup();
    await engine.run('--name', 'hardened', ...hardened, ...quickHealth, ...socketFlags, 'portolan');
    await healthy('hardened');
    const processes = await inside('hardened', 'ps', '-o', 'pid,args');
    expect(processes).toMatch(/^ +1 tini -- portolan-entrypoint agent -dev -client 0\.0\.0\.0$/m);
    const pid = /^ *(\d+) (?:\S+ )?node .*portolan\.mjs agent /m.exec(processes)?.[1];
    for (const each of ['1', pid]) {
      const status = await inside('hardened', 'cat', `/proc/${each}/status`);
      expect(status).toMatch(/^Uid:\t8500\t8500\t8500\t8500$/m);
      expect(status).toMatch(/^Gid:\t8500\t8500\t8500\t8500$/m);
      expect(/^Groups:\t(.*)$/m.exec(status)?.[1]?.trim().split(' ').sort()).toEqual([group, '8500'].sort());
      expect(status).toMatch(/^CapPrm:\t0+$/m);
      expect(status).toMatch(/^CapBnd:\t0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    }
    await expect(inside('hardened', 'touch', '/usr/local/lib/portolan/x')).rejects.toThrow('Read-only file system');
    const said = await log('hardened');
    expect(said).toContain('watching the engine');
    expect(said.match(/\[WARN\].*/g)).toEqual([
      expect.stringMatching(/is an address inside the container network: .*set -advertise .* or .*--network host/),
    ]);
  });

  test('its init reaps what outlives its parent', async () => {
    await inside('hardened', 'sh', '-c', '(sleep 0.1 &)');
    await waitUntil('no process of that name', async () => !(await inside('hardened', 'ps')).includes('sleep'));
  });

  test('registers a published port with the address it is given, and leaves cleanly at docker stop', async () => {
    const advertise = ['agent', '-dev', '-client', '0.0.0.0', '-advertise', engine.hostAddress];
    const kept = ['-v', 'kept:/portolan/data'];
    await engine.run(
      '--name',
      'bridge',
      ...hardened,
      ...quickHealth,
      ...socketFlags,
      ...kept,
      'portolan',
      ...advertise,
    );
    await engine.run('--name', 'web', '-p', '8080:80', 'acme/one');
    await healthy('bridge');
    const [entry] = await waitUntil('the service', async () => {
      const found = await api<{ ServiceAddress: string; ServicePort: number }[]>('bridge', '/v1/catalog/service/one');
      return found.length === 1 && found;
    });
    expect(entry).toMatchObject({ ServiceAddress: engine.hostAddress, ServicePort: 8080 });
    expect(await log('bridge')).not.toContain('[WARN]');
    const { Config: before } = await api<Self>('bridge', '/v1/agent/self');

    await engine.docker('stop', '-t', stopLimitS, 'bridge');
    expect(await inspect('bridge', '{{.State.ExitCode}}')).toBe('0');
    const end = (await log('bridge')).split('Caught: signal=terminated')[1];
    expect(end).toMatch(/Deregistered service: service=\S+:web:80\n(.*\n)*.*Graceful exit completed/);
    expect(end).not.toMatch(/\[(WARN|ERROR)\]/);

    await engine.docker('start', 'bridge');
    await healthy('bridge');
    const { Config: after } = await api<Self>('bridge', '/v1/agent/self');
    expect(after.NodeID).toBe(before.NodeID);
    await engine.docker('rm', '-fv', 'bridge', 'web');
  });

  test('on the host network it finds the address of the host itself', async () => {
    await engine.run('--name', 'web', '-p', '8080:80', 'acme/one');
    const host = [...hardened, ...quickHealth, ...socketFlags, '--network', 'host'];
    await engine.run('--name', 'host', ...host, 'portolan', 'agent', '-dev');
    await healthy('host');
    const [entry] = await waitUntil('the service', async () => {
      const found = await api<{ ServiceAddress: string; ServicePort: number }[]>('host', '/v1/catalog/service/one');
      return found.length === 1 && found;
    });
    expect(entry).toMatchObject({ ServiceAddress: engine.hostAddress, ServicePort: 8080 });
    await engine.docker('rm', '-fv', 'host', 'web');
  });

  test('without the group of the socket it says what to add, and serves all the same', async () => {
    const [flag, mount] = socketFlags;
    await engine.run(
      '--name',
      'refused',
      ...hardened,
      ...quickHealth,
      flag!,
      mount!,
      'portolan',
      '-dev',
      '-registrator',
    );
    expect(await says('refused', /\[(WARN|ERROR)\].*\/var\/run\/docker\.sock/)).toContain('--group-add');
    await healthy('refused');
    await engine.docker('rm', '-fv', 'refused');
  });

  test.each([
    ['PORTOLAN_LOCAL_CONFIG', 'datacenter = "harbour"'],
    ['PORTOLAN_LOCAL_CONFIG', '{"datacenter": "harbour"}'],
    ['CONSUL_LOCAL_CONFIG', '{\n  "datacenter": "harbour"\n}'],
  ])('%s: %s', async (name, text) => {
    const id = await engine.run(...hardened, ...quickHealth, '-e', `${name}=${text}`, 'portolan');
    await healthy(id);
    expect((await api<Self>(id, '/v1/agent/self')).Config.Datacenter).toBe('harbour');
    await engine.docker('rm', '-fv', id);
  });

  test.each(['PORTOLAN', 'CONSUL'])('%s_BIND_INTERFACE and _CLIENT_INTERFACE name interfaces', async (prefix) => {
    const interfaces = ['-e', `${prefix}_BIND_INTERFACE=eth0`, '-e', `${prefix}_CLIENT_INTERFACE=eth0`];
    const id = await engine.run(...hardened, ...quickHealth, ...interfaces, 'portolan', 'agent', '-dev');
    // HEALTHCHECK asks on loopback, which is served besides.
    await healthy(id);
    const address = await inspect(id, '{{.NetworkSettings.Networks.bridge.IPAddress}}');
    const nodes = await api<{ Address: string }[]>(id, '/v1/catalog/nodes');
    expect(nodes).toMatchObject([{ Address: address }]);
    expect(await inside(id, 'wget', '-q', '-O', '-', `http://${address}:8500/v1/status/leader`)).toContain(address);
    await engine.docker('rm', '-fv', id);
  });

  test('an interface that is not there ends the start with those that are', async () => {
    const refused = build.cli(['run', '--rm', '-e', 'CONSUL_BIND_INTERFACE=eth7', 'portolan']);
    await expect(refused).rejects.toThrow(/BIND_INTERFACE=eth7: there is no such interface.* eth0 +lo/);
  });

  test.each(['/portolan/config', '/consul/config'])('reads the files in %s', async (folder) => {
    const dir = await mkdtemp(join(tmpdir(), 'portolan-image-'));
    try {
      await chmod(dir, 0o755);
      await writeFile(join(dir, 'quay.hcl'), 'datacenter = "quay"');
      const id = await engine.run(...hardened, ...quickHealth, '-v', `${dir}:${folder}:ro`, 'portolan');
      await healthy(id);
      expect((await api<Self>(id, '/v1/agent/self')).Config.Datacenter).toBe('quay');
      await engine.docker('rm', '-fv', id);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  test('any other command of the command line runs as it is', async () => {
    expect(await build.cli(['run', '--rm', ...hardened, 'portolan', 'version'])).toMatch(/^Portolan v?\d+\.\d+\.\d+/);
  });
});
