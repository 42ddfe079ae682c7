// The tables of reference/container-environments.md §8.
import { describe, expect, test } from 'vitest';
import { containerIdFromCgroup, containerIdFromMountinfo } from '../../../src/environment/container-identity.ts';
import { type ContainerFiles, identifyContainer } from '../../../src/environment/index.ts';

const id = '0123456789abcdef'.repeat(4);
const other = 'fedcba9876543210'.repeat(4);

describe('the cgroup path', () => {
  test.each([
    ['docker, v1', `12:pids:/docker/${id}\n11:memory:/docker/${id}\n`],
    ['docker with systemd', `0::/system.slice/docker-${id}.scope`],
    ['a cgroup parent', `1:name=systemd:/my/parent/${id}`],
    ['ECS', `5:cpu:/ecs/8f1d2c3b-aaaa-bbbb-cccc-0123456789ab/${id}`],
    ['ECS, task id of 64 digits before it', `5:cpu:/ecs/${other}/${id}`],
    ['Kubernetes', `3:cpu:/kubepods/burstable/pod1b2c3d4e-0000-0000-0000-000000000000/${id}`],
    ['containerd', `0::/kubepods.slice/cri-containerd-${id}.scope`],
    ['Podman', `0::/machine.slice/libpod-${id}.scope`],
    ['CRI-O', `0::/kubepods/crio-${id}.scope`],
    ['only a later line has it', `13:misc:/\n12:pids:/docker/${id}`],
  ])('%s', (_title, text) => expect(containerIdFromCgroup(text)).toBe(id));

  test.each([
    ['a private namespace', '0::/\n'],
    ['a host', '0::/user.slice/user-1000.slice/session-2.scope'],
    ['nothing', ''],
  ])('%s has none', (_title, text) => expect(containerIdFromCgroup(text)).toBeUndefined());
});

const mount = (source: string, target: string) => `680 660 254:1 ${source} ${target} rw,relatime - ext4 /dev/vda1 rw\n`;

describe('the mount table', () => {
  test.each([
    ['Docker', mount(`/var/lib/docker/containers/${id}/hostname`, '/etc/hostname')],
    ['Docker with another data root', mount(`/data/d/containers/${id}/hosts`, '/etc/hosts')],
    ['Podman', mount(`/containers/storage/overlay-containers/${id}/userdata/resolv.conf`, '/etc/resolv.conf')],
  ])('%s', (_title, text) => expect(containerIdFromMountinfo(text)).toBe(id));

  test('of other targets does not count', () => {
    expect(containerIdFromMountinfo(mount(`/var/lib/docker/containers/${id}/x`, '/data'))).toBeUndefined();
  });
});

describe('the verdict', () => {
  const nothing: ContainerFiles = {
    dockerenvExists: false,
    containerenvExists: false,
    cgroup: undefined,
    mountinfo: undefined,
    hostnameFile: undefined,
  };
  const identify = (
    files: Partial<ContainerFiles>,
    variables: Record<string, string> = {},
    hostname = 'box',
    ecsId?: string,
  ) => identifyContainer({ ...nothing, ...files }, variables, hostname, ecsId);

  test('a host is not a container, even with a name of 12 hexadecimal digits', () => {
    expect(identify({ cgroup: '0::/init.scope' }, {}, '0123456789ab')).toEqual({
      inContainer: false,
      evidence: [],
      candidates: [],
    });
  });

  test.each<[string, Partial<ContainerFiles>, Record<string, string>]>([
    ['/.dockerenv', { dockerenvExists: true }, {}],
    ['/run/.containerenv', { containerenvExists: true }, {}],
    ['variable container', {}, { container: 'podman' }],
    ['KUBERNETES_SERVICE_HOST', {}, { KUBERNETES_SERVICE_HOST: '10.96.0.1' }],
    ['ECS task metadata', {}, { ECS_CONTAINER_METADATA_URI: 'http://169.254.170.2/v3/x' }],
    ['/proc/self/cgroup', { cgroup: `0::/docker/${id}` }, {}],
    ['/proc/self/mountinfo', { mountinfo: mount(`/d/containers/${id}/hosts`, '/etc/hosts') }, {}],
    ['overlay', { mountinfo: '600 500 0:50 / / rw,relatime - overlay overlay rw,lowerdir=x' }, {}],
  ])('%s alone proves a container', (expected, files, variables) => {
    const { inContainer, evidence } = identify(files, variables);
    expect(inContainer).toBe(true);
    expect(evidence).toHaveLength(1);
    expect(evidence[0]).toContain(expected);
  });

  test('candidates come in the order of trust, each id once', () => {
    const { candidates } = identify(
      {
        dockerenvExists: true,
        cgroup: `0::/docker/${id}`,
        mountinfo: mount(`/d/containers/${id}/hosts`, '/etc/hosts'),
        hostnameFile: 'aaaaaaaaaaaa\n',
      },
      { HOSTNAME: 'bbbbbbbbbbbb' },
      'web-1',
      other,
    );
    expect(candidates).toEqual([
      { id: other, source: 'ECS metadata' },
      { id, source: '/proc/self/cgroup' },
      { id: 'bbbbbbbbbbbb', source: 'variable HOSTNAME' },
      { id: 'aaaaaaaaaaaa', source: '/etc/hostname' },
    ]);
  });
});
