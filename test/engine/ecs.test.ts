// The shipped ECS files on a simulated container instance that nothing leads out of: the UserData script itself, the
// task definitions as the ECS agent would start them, a real Docker engine, a real Consul server to be found by tag,
// and the metadata service behind a real bridge with a real hop limit.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { waitUntil } from '../helpers/wait.ts';
import { BuildEngine, buildSkipReason } from './support/base-images.ts';
import { engineSkipReason } from './support/dockerd.ts';
import {
  EcsInstance,
  instanceAddress,
  instanceName,
  joinString,
  serverAddress,
  taskArguments,
} from './support/ecs-instance.ts';
import { realConsul } from './support/program-image.ts';

const noEngine = engineSkipReason({ own: true }) ?? (await buildSkipReason());
const consul = noEngine === undefined ? await realConsul() : { reason: noEngine };
/** Retries sooner than by default, so that a test sees the second attempt. */
const retrySoon = '-retry-interval=1s';

/** Of each test, and of bringing everything up, on a machine that has other things to do (ms). */
const limitMs = 240_000;

describe.skipIf('reason' in consul)('on an ECS instance', { timeout: limitMs }, () => {
  let build: BuildEngine;
  let instance: EcsInstance;

  beforeAll(async () => {
    if ('reason' in consul) throw new Error(consul.reason);
    build = await BuildEngine.start();
    await build.cli(['build', '-t', 'portolan', '.'], { env: { DOCKER_BUILDKIT: '0' } });
    instance = await EcsInstance.start(build, consul.binary);
  }, limitMs);

  afterAll(async () => {
    await instance?.close();
    await build?.engine.close();
  });

  afterEach(async () => {
    await build.engine.docker('rm', '-fv', 'web').catch(() => undefined);
    await build.engine.docker('stop', 'portolan').catch(() => undefined);
    await build.engine.docker('rm', '-fv', 'portolan').catch(() => undefined);
    await build.engine.docker('volume', 'rm', 'portolan').catch(() => undefined);
    await instance.setHopLimit(2);
  });

  const log = (): Promise<string> => build.cli(['logs', 'portolan']);

  /** Waits until the real server has the agent under this name at the instance's address. */
  async function joined(name: string): Promise<void> {
    let last = '';
    await waitUntil(
      () => `${name} among the server's members\n${last}`,
      async () => {
        const members = await instance.members();
        last = `${JSON.stringify(members)}\n${await log()}`;
        const member = members[name];
        return member?.status === 'alive' && member.address === `${instanceAddress}:8301`;
      },
    );
  }

  async function says(text: string | RegExp): Promise<string> {
    let last = '';
    await waitUntil(
      () => `the agent to say ${text}\n${last}`,
      async () => {
        last = await log();
        return typeof text === 'string' ? last.includes(text) : text.test(last);
      },
    );
    return last;
  }

  /** A container with a published port is in the server's catalog, at the address of the instance. */
  async function registers(): Promise<void> {
    await build.engine.run('--name', 'web', '-p', '8080:80', 'acme/one');
    await waitUntil('the service in the catalog of the server', async () => {
      const found = (await instance.server('/v1/health/service/one?passing')) as readonly {
        readonly Service: { readonly Address: string; readonly Port: number };
      }[];
      return found.some(({ Service }) => Service.Address === instanceAddress && Service.Port === 8080);
    });
  }

  test('nothing leads out of the network', async () => {
    // The other end of the cable that the engine's namespace had before; then any address.
    for (const address of [build.engine.hostAddress.replace(/\.2$/, '.1'), '192.0.2.1']) {
      await expect(instance.inside('ping', '-c', '1', '-W', '1', address)).rejects.toThrow();
    }
    await instance.inside('ping', '-c', '1', '-W', '5', serverAddress);
    expect(await instance.inside('curl', '-sS', '-m', '5', 'http://127.0.0.1:51678/v1/metadata')).toContain('harbour');
  });

  describe('the user data', () => {
    test.each(['bridge', 'host'])(
      'network %s: starts the agent, which is found by tag and registers',
      async (network) => {
        const said = await instance.userData({
          ECS_CLUSTER: 'harbour',
          PORTOLAN_JOIN: joinString,
          PORTOLAN_NETWORK: network,
        });
        expect(said).toContain(`portolan runs as ${instanceName} at ${instanceAddress}, network ${network}`);
        expect(await build.engine.docker('inspect', '--format', '{{.HostConfig.NetworkMode}}', 'portolan')).toBe(
          network === 'host' ? 'host' : 'default',
        );
        await joined(instanceName);
        await registers();
        const format = '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}';
        expect(await build.engine.docker('inspect', '--format', format, 'portolan')).toBe('8500:8500 true [ALL]');
        // Containers reach the agent through the gateway of their bridge.
        const gateway = await build.engine.docker('inspect', '--format', '{{.NetworkSettings.Gateway}}', 'web');
        const leader = await build.engine.docker(
          ...['exec', 'web', 'wget', '-q', '-O', '-', `http://${gateway}:8500/v1/status/leader`],
        );
        expect(leader).toBe(`"${serverAddress}:8300"`);
      },
    );

    test('asks EC2 with the role of the instance, from where the agent is', async () => {
      const before = instance.requests.length;
      await instance.userData({ PORTOLAN_JOIN: joinString, PORTOLAN_NETWORK: 'bridge' });
      await joined(instanceName);
      const asked = instance.requests.slice(before);
      expect(asked.filter(({ name }) => name === 'ec2').map(({ status }) => status)).toEqual([200, 200]);
      expect(asked.filter(({ name, path }) => name === 'metadata' && path.includes('/iam/')).length).toBe(2);
      const said = await log();
      expect(said).not.toContain('instance-secret');
      expect(said).not.toContain('instance-session');
    });

    test('a second run changes nothing; another setting makes the agent leave and start anew', async () => {
      const settings = { ECS_CLUSTER: 'harbour', PORTOLAN_JOIN: joinString, PORTOLAN_NETWORK: 'bridge' };
      const id = (): Promise<string> => build.engine.docker('inspect', '--format', '{{.Id}}', 'portolan');
      await instance.userData(settings);
      await joined(instanceName);
      const [config, first] = [await instance.file('/etc/ecs/ecs.config'), await id()];
      expect(config.split('\n').sort()).toEqual([
        'ECS_CLUSTER=harbour',
        'ECS_ENABLE_CONTAINER_METADATA=true',
        'ECS_ENABLE_TASK_IAM_ROLE=true',
        'ECS_ENABLE_TASK_IAM_ROLE_NETWORK_HOST=true',
        'ECS_LOGLEVEL=warn',
        'ECS_RESERVED_PORTS=[22,53,2375,2376,51678,51679,8300,8301,8302,8500,8600]',
        'ECS_RESERVED_PORTS_UDP=[53,8301,8302,8600]',
      ]);

      expect(await instance.userData(settings)).toContain('its settings are as they should be');
      expect([await instance.file('/etc/ecs/ecs.config'), await id()]).toEqual([config, first]);

      expect(await instance.userData({ ...settings, PORTOLAN_ARGS: '-node-meta=quay:7' })).toContain('starts anew');
      expect(await id()).not.toBe(first);
      await joined(instanceName);
      await waitUntil('its metadata in the catalog', async () => {
        const { Node } = (await instance.server(`/v1/catalog/node/${instanceName}`)) as {
          readonly Node: { readonly Meta: Readonly<Record<string, string>> | null };
        };
        // Between its leave and its first sync the node is there without what the agent says of it.
        return Node.Meta?.['quay'] === '7';
      });
    });

    test('docker stop, as at the end of the instance, is a leave', async () => {
      await instance.userData({ PORTOLAN_JOIN: joinString, PORTOLAN_NETWORK: 'bridge' });
      await joined(instanceName);
      await build.engine.docker('stop', 'portolan');
      expect(await build.engine.docker('inspect', '--format', '{{.State.ExitCode}}', 'portolan')).toBe('0');
      await waitUntil(
        'the member to have left',
        async () => (await instance.members())[instanceName]?.status === 'left',
      );
    });

    test('makes a server of the instance', async () => {
      await instance.userData({ PORTOLAN_JOIN: '', PORTOLAN_ARGS: '-datacenter=own -server -bootstrap-expect=1' });
      let peers = '';
      await waitUntil(
        () => `a leader\n${peers}`,
        async () => {
          peers = await build.cli(['exec', 'portolan', 'portolan', 'operator', 'raft', 'list-peers']).catch(String);
          return new RegExp(`^${instanceName} .* ${instanceAddress}:8300 +leader `, 'm').test(peers);
        },
      );
    });

    test.each([
      [{ PORTOLAN_NETWORK: 'awsvpc' }, 'PORTOLAN_NETWORK=awsvpc is not known; use host or bridge'],
      [
        { PORTOLAN_NETWORK: 'bridge', PORTOLAN_ARGS: '-server -bootstrap-expect=3' },
        'a server needs PORTOLAN_NETWORK=host',
      ],
    ])('%o is refused', async (settings, reason) => {
      await expect(instance.userData(settings)).rejects.toThrow(reason);
    });

    test('an agent that does not start fails the script, with its last words', async () => {
      const wrong = instance.userData({ PORTOLAN_JOIN: joinString, PORTOLAN_ARGS: '-datacenter=not/one' });
      await expect(wrong).rejects.toThrow(/datacenter cannot be "not\/one"/);
    });
  });

  describe('with a hop limit of 1, so that the metadata token does not pass the bridge', () => {
    test('the user data still finds the address; the agent says what to set, and joins when it is', async () => {
      await instance.setHopLimit(1);
      await instance.userData({
        PORTOLAN_JOIN: joinString,
        PORTOLAN_NETWORK: 'bridge',
        PORTOLAN_ARGS: retrySoon,
      });
      const said = await says('--http-put-response-hop-limit 2, or start the container with --network host');
      expect(said).toContain('Cannot discover address');
      expect(said).toContain(instanceAddress);
      await instance.setHopLimit(2);
      await joined(instanceName);
    });

    test('on the host network nothing is different', async () => {
      await instance.setHopLimit(1);
      await instance.userData({ PORTOLAN_JOIN: joinString, PORTOLAN_NETWORK: 'host' });
      await joined(instanceName);
    });
  });

  describe('as a task of a daemon service', () => {
    /** What the ECS agent adds to a task with a role, and to each container where metadata files are switched on. */
    const taskVariables = {
      AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/credentials/7e6d',
      AWS_EXECUTION_ENV: 'AWS_ECS_EC2',
      ECS_CONTAINER_METADATA_URI_V4: 'http://169.254.170.2/v4/c0ffee',
    };

    async function startTask(file: string, options: { readonly metadataFile: boolean }): Promise<void> {
      await mkdir(join(instance.folder, 'metadata'), { recursive: true });
      await writeFile(
        join(instance.folder, 'metadata/ecs-container-metadata.json'),
        JSON.stringify({
          Cluster: 'harbour',
          PortMappings: [
            { ContainerPort: 8301, HostPort: 8301, BindIp: '0.0.0.0', Protocol: 'tcp' },
            { ContainerPort: 8301, HostPort: 8301, BindIp: '0.0.0.0', Protocol: 'udp' },
          ],
          Networks: [{ NetworkMode: 'bridge', IPv4Addresses: ['172.17.0.2'] }],
          MetadataFileStatus: 'READY',
          HostPrivateIPv4Address: instanceAddress,
        }),
      );
      const given = await taskArguments(file, {
        socket: build.socket,
        folder: instance.folder,
        gateway: await build.engine.docker(
          'network',
          'inspect',
          'bridge',
          '--format',
          '{{(index .IPAM.Config 0).Gateway}}',
        ),
        variables: {
          ...taskVariables,
          // No name leads to the simulated API.
          AWS_ENDPOINT_URL_EC2: 'http://10.0.1.2',
          ...(options.metadataFile && {
            ECS_CONTAINER_METADATA_FILE: '/opt/ecs/metadata/1/ecs-container-metadata.json',
          }),
        },
      });
      await build.engine.run(
        ...['--name', 'portolan', '--hostname', 'harbour-1'],
        ...['-v', `${instance.folder}/metadata:/opt/ecs/metadata/1:ro`],
        ...given,
        retrySoon,
      );
      await waitUntil('the task to be healthy', async () => {
        const state = await build.engine.docker('inspect', '--format', '{{json .State}}', 'portolan');
        if (state.includes('"Status":"exited"')) throw new Error(await log());
        return state.includes('"Status":"healthy"');
      });
    }

    test('in a bridge: address from the metadata file, keys of the task; the hop limit does not matter', async () => {
      await instance.setHopLimit(1);
      const before = instance.requests.length;
      await startTask('task-definition-bridge.json', { metadataFile: true });
      await joined('harbour-1');
      expect(await log()).toMatch(/10\.0\.1\.10 \(from ECS metadata file/);
      const asked = instance.requests.slice(before).map(({ name, path }) => `${name} ${path}`);
      expect(asked).toContain('task /v2/credentials/7e6d');
      expect(asked.filter((each) => each.startsWith('metadata '))).toEqual([]);
      await registers();
    });

    test('on the host network: address of the interface, keys of the task', async () => {
      await instance.setHopLimit(1);
      const before = instance.requests.length;
      await startTask('task-definition-host.json', { metadataFile: true });
      await joined('harbour-1');
      expect(await log()).toMatch(/10\.0\.1\.10 \(from interface ens5/);
      const asked = instance.requests.slice(before).map(({ name, path }) => `${name} ${path}`);
      expect(asked).toContain('task /v2/credentials/7e6d');
      await registers();
    });

    test('in a bridge without the file: the address from the metadata service', async () => {
      await startTask('task-definition-bridge.json', { metadataFile: false });
      await joined('harbour-1');
      expect(await log()).toMatch(/10\.0\.1\.10 \(from cloud metadata, EC2 instance metadata v2/);
    });

    test('in a bridge without the file, with a hop limit of 1: says what to set', async () => {
      await instance.setHopLimit(1);
      await startTask('task-definition-bridge.json', { metadataFile: false });
      const said = await says('--http-put-response-hop-limit 2, or set -advertise');
      expect(said).toMatch(/\[WARN\].*the EC2 metadata token did not arrive/);
    });
  });
});
