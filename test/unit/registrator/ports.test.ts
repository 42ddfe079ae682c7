// Every row of the tables of reference/registrator.md §4 and §6 is a case with the row as its title; where a
// requirement (R15–R20) overrides the row, the title says so.
import { describe, expect, test } from 'vitest';
import type { RegistratorOptions } from '../../../src/registrator/index.ts';
import { pairBindings } from '../../../src/registrator/ports.ts';
import { type Box, hostAddress, map, places } from './support.ts';

const two: Box = { image: 'acme/two', expose: ['80', '443'] };

describe('§4 which ports become services', () => {
  interface Row {
    readonly title: string;
    readonly box: Box;
    readonly options?: Partial<RegistratorOptions>;
    readonly owner?: Box;
    readonly expected: readonly string[];
    readonly ids?: readonly string[];
    readonly tags?: readonly (readonly string[])[];
  }
  const rows: readonly Row[] = [
    {
      title: 'two published ports: two services, names suffixed',
      box: { ...two, publish: { '80': ['8080'], '443': ['8443'] } },
      expected: [`two-80 ${hostAddress}:8080`, `two-443 ${hostAddress}:8443`],
      ids: ['reghost:w1:80', 'reghost:w1:443'],
    },
    {
      title: 'one of two exposed ports published: one service, no suffix',
      box: { ...two, publish: { '80': ['8080'] } },
      expected: [`two ${hostAddress}:8080`],
    },
    {
      title: 'published and other ports IGNOREd: suffix stays: two-80',
      box: { ...two, publish: { '80': ['8080'], '443': ['8443'] }, env: ['SERVICE_443_IGNORE=1'] },
      expected: [`two-80 ${hostAddress}:8080`],
    },
    {
      title: '-p 9001:80 -p 9002:80: two services, the dropped second binding is a defect (R19)',
      box: { publish: { '80': ['9002', '9001'] } },
      expected: [`one ${hostAddress}:9001`, `one ${hostAddress}:9002`],
      ids: ['reghost:w1:80', 'reghost:w1:80:9002'],
    },
    {
      title: 'port range -p 7000-7003:7000-7003: four services range-7000 ... range-7003',
      box: {
        image: 'acme/range',
        publish: Object.fromEntries([7000, 7001, 7002, 7003].map((port) => [String(port), [String(port)]])),
      },
      expected: [7000, 7001, 7002, 7003].map((port) => `range-${port} ${hostAddress}:${port}`),
    },
    {
      title: '53/tcp and 53/udp: same name udp-53, IDs ...:53 and ...:53:udp, tag udp on the second',
      box: { image: 'acme/udp', publish: { '53/tcp': ['53'], '53/udp': ['53'] } },
      expected: [`udp-53 ${hostAddress}:53`, `udp-53 ${hostAddress}:53`],
      ids: ['reghost:w1:53', 'reghost:w1:53:udp'],
      tags: [[], ['udp']],
    },
    {
      title: '-P: as published, random host ports',
      box: { ...two, publish: { '80': ['32768'], '443': ['32769'] } },
      expected: [`two-80 ${hostAddress}:32768`, `two-443 ${hostAddress}:32769`],
    },
    {
      title: 'host network, image EXPOSEs ports: registered with port = exposed number',
      box: { ...two, mode: 'host' },
      expected: [`two-80 ${hostAddress}:80`, `two-443 ${hostAddress}:443`],
    },
    {
      title: 'host network, -p 8443:443: port 443 is registered',
      box: { mode: 'host', publish: { '443': ['8443'] } },
      expected: [`one ${hostAddress}:443`],
    },
    { title: 'host network, no EXPOSE, no -p: ignored', box: { mode: 'host' }, expected: [] },
    {
      title: 'network none, EXPOSE 80: skipped, the empty address is a defect (R18)',
      box: { mode: 'none', expose: ['80'] },
      expected: [],
    },
    {
      title: "container:<other>, own EXPOSE 80: the owner's published port (R18)",
      box: { mode: 'container:abc', expose: ['80'] },
      owner: { name: 'owner', publish: { '80': ['8080'] } },
      expected: [`one ${hostAddress}:8080`],
    },
    {
      title: 'swarm ingress-mode task: ignored without -internal',
      box: { expose: ['80'], mode: 'ingress', networks: { ingress: '10.0.0.5' }, runtime: { '80/tcp': null } },
      expected: [],
    },
    {
      title: 'swarm host-mode task works normally',
      box: { publish: { '80': ['8086'] } },
      expected: [`one ${hostAddress}:8086`],
    },
  ];
  test.each(rows)('$title', ({ box, options, owner, expected, ids, tags }) => {
    const mapping = map(box, options, owner === undefined ? {} : { owner });
    expect(places(mapping)).toEqual(expected);
    if (ids !== undefined) expect(mapping.services.map(({ id }) => id)).toEqual(ids);
    if (tags !== undefined) expect(mapping.services.map(({ definition }) => definition.tags)).toEqual(tags);
    if (expected.length === 0) expect(mapping.skipped.length).toBeGreaterThan(0);
  });

  test('-internal: exposed-but-unpublished ports count', () => {
    expect(places(map({ ...two, publish: { '80': ['8080'] } }, { internal: true }))).toEqual([
      'two-80 172.17.0.2:80',
      'two-443 172.17.0.2:443',
    ]);
  });

  test('what is left out says why and what to set', () => {
    expect(map({ expose: ['80'] }).skipped).toEqual([
      {
        port: '80/tcp',
        reason: 'not published on the host',
        hint: 'publish it with -p or -P, or set SERVICE_INTERNAL=true',
      },
    ]);
    expect(map({}).skipped[0]?.reason).toBe('no exposed or published ports');
  });
});

describe('§6 address and port by network mode', () => {
  interface Row {
    readonly title: string;
    readonly box: Box;
    readonly owner?: Box;
    /** With no option, with `-ip 1.2.3.4`, with `-internal`; null = not registered. */
    readonly plain: string | null;
    readonly ip: string | null;
    readonly internal: string | null;
  }
  const host = (port: number): string => `${hostAddress}:${port}`;
  const rows: readonly Row[] = [
    {
      title: 'bridge, -p 8080:80',
      box: { publish: { '80': ['8080'] } },
      plain: host(8080),
      ip: '1.2.3.4:8080',
      internal: '172.17.0.2:80',
    },
    {
      title: 'bridge, EXPOSE 80 only',
      box: { expose: ['80'] },
      plain: null,
      ip: null,
      internal: '172.17.0.2:80',
    },
    {
      title: '-p 127.0.0.1:9000:80 (skipped unless loopback is allowed, R15)',
      box: { publish: { '80': ['127.0.0.1:9000'] } },
      plain: null,
      ip: null,
      internal: '172.17.0.2:80',
    },
    {
      title: '-p 10.99.0.10:9003:80',
      box: { publish: { '80': ['10.99.0.11:9003'] } },
      plain: '10.99.0.11:9003',
      ip: '1.2.3.4:9003',
      internal: '172.17.0.2:80',
    },
    {
      title: '-p [2001:db8:99::10]:9004:80',
      box: { publish: { '80': ['[2001:db8:99::10]:9004'] } },
      plain: '2001:db8:99::10:9004',
      ip: '1.2.3.4:9004',
      internal: '172.17.0.2:80',
    },
    {
      title: '-p [::]:8088:80 (never registers ::, R15)',
      box: { publish: { '80': ['[::]:8088'] } },
      plain: host(8088),
      ip: '1.2.3.4:8088',
      internal: '172.17.0.2:80',
    },
    {
      title: 'user network n1, -p 8081:80 (advertised address, R16)',
      box: { mode: 'n1', publish: { '80': ['8081'] } },
      plain: host(8081),
      ip: '1.2.3.4:8081',
      internal: '172.18.0.2:80',
    },
    {
      title: 'user network by id, -p 8084:80 (R16)',
      box: { mode: 'n1-id', networks: { n1: '172.18.0.2' }, publish: { '80': ['8084'] } },
      plain: host(8084),
      ip: '1.2.3.4:8084',
      internal: '172.18.0.2:80',
    },
    {
      title: 'overlay, -p 8087:80 (R16)',
      box: { mode: 'ov', networks: { ov: '10.0.1.2' }, publish: { '80': ['8087'] } },
      plain: host(8087),
      ip: '1.2.3.4:8087',
      internal: '10.0.1.2:80',
    },
    {
      title: 'default bridge + n2 connected, -p 8083:80',
      box: { networks: { n2: '172.19.0.2', bridge: '172.17.0.2' }, publish: { '80': ['8083'] } },
      plain: host(8083),
      ip: '1.2.3.4:8083',
      internal: '172.17.0.2:80',
    },
    {
      title: 'n1 + n2 connected (the network mode names n2, never random, R17)',
      box: { mode: 'n2', networks: { n1: '172.18.0.2', n2: '172.19.0.2' }, publish: { '80': ['8083'] } },
      plain: host(8083),
      ip: '1.2.3.4:8083',
      internal: '172.19.0.2:80',
    },
    {
      title: 'host network, EXPOSE 80 (-internal: node address, R18)',
      box: { mode: 'host', expose: ['80'] },
      plain: host(80),
      ip: '1.2.3.4:80',
      internal: host(80),
    },
    {
      title: 'network none, EXPOSE 80 (skipped, R18)',
      box: { mode: 'none', expose: ['80'] },
      plain: null,
      ip: null,
      internal: null,
    },
    {
      title: "container: of a bridge container (the owner's publishing, R18)",
      box: { mode: 'container:abc', expose: ['80'] },
      owner: { name: 'owner', publish: { '80': ['8080'] } },
      plain: host(8080),
      ip: '1.2.3.4:8080',
      internal: '172.17.0.2:80',
    },
    {
      title: 'container: of a user-network container (R18)',
      box: { mode: 'container:abc', expose: ['80'] },
      owner: { name: 'owner', mode: 'n1', publish: { '80': ['8080'] } },
      plain: host(8080),
      ip: '1.2.3.4:8080',
      internal: '172.18.0.2:80',
    },
    {
      title: 'swarm ingress task (its ingress address is not reachable by clients: skipped)',
      box: { mode: 'ingress', networks: { ingress: '10.0.0.5' }, expose: ['80'], runtime: { '80/tcp': null } },
      plain: null,
      ip: null,
      internal: null,
    },
    {
      title: 'swarm host-mode task',
      box: { mode: 'bridge', publish: { '80': ['8086'] } },
      plain: host(8086),
      ip: '1.2.3.4:8086',
      internal: '172.17.0.2:80',
    },
    {
      title: 'macvlan 10.99.0.77, EXPOSE 80 (container address always, R18)',
      box: { mode: 'lan', networks: { lan: '10.99.0.77' }, expose: ['80'], runtime: {} },
      plain: '10.99.0.77:80',
      ip: '10.99.0.77:80',
      internal: '10.99.0.77:80',
    },
  ];
  const place = (box: Box, options: Partial<RegistratorOptions>, owner: Box | undefined): string | null => {
    const { services } = map(box, options, owner === undefined ? {} : { owner });
    expect(services.length).toBeLessThan(2);
    const definition = services[0]?.definition;
    return definition === undefined ? null : `${definition.address}:${definition.port}`;
  };
  test.each(rows)('$title', ({ box, owner, plain, ip, internal }) => {
    expect(place(box, {}, owner)).toBe(plain);
    expect(place(box, { ip: '1.2.3.4' }, owner)).toBe(ip);
    expect(place(box, { internal: true }, owner)).toBe(internal);
  });
});

describe('R15–R20', () => {
  test('R15: loopback is registered on request; nothing else ever is', () => {
    const box: Box = { publish: { '80': ['127.0.0.1:9000'] } };
    expect(places(map(box, { loopback: true, ip: '1.2.3.4' }))).toEqual(['one 127.0.0.1:9000']);
    const unknown = map({ publish: { '80': ['8080'] } }, { advertise: () => ({ ipv4: '127.0.0.1', source: 'x' }) });
    expect(unknown.services).toEqual([]);
    expect(unknown.skipped[0]?.hint).toBe('set -advertise (agent) or -ip');
  });

  test('R16: SERVICE_IP and SERVICE_<port>_IP win over -ip; an unspecified one is passed over', () => {
    const publish = { '80': ['8080'], '81': ['8081'] };
    const env = ['SERVICE_IP=9.9.9.9', 'SERVICE_81_IP=8.8.8.8'];
    expect(places(map({ publish, env }, { ip: '1.2.3.4' }))).toEqual(['one-80 9.9.9.9:8080', 'one-81 8.8.8.8:8081']);
    const bad = map({ publish: { '80': ['8080'] }, env: ['SERVICE_IP=0.0.0.0'] });
    expect(places(bad)).toEqual([`one ${hostAddress}:8080`]);
    expect(bad.notes.join()).toContain('env SERVICE_IP');
  });

  test('-useIpFromLabel: the label is the address, a mask is cut, the port stays; missing label: one note', () => {
    const publish = { '80': ['8080'] };
    const options = { useIpFromLabel: 'ip', ip: '1.2.3.4' };
    expect(places(map({ publish, labels: { ip: '10.1.2.3/24' } }, options))).toEqual(['one 10.1.2.3:8080']);
    const missing = map({ publish, env: ['ip=10.1.2.3'] }, options);
    expect(places(missing)).toEqual(['one 1.2.3.4:8080']);
    expect(missing.notes).toHaveLength(1);
  });

  test('R17: SERVICE_NETWORK, then -network, then the only one, the mode, the lowest name', () => {
    const networks = { b: '10.0.0.2', c: '10.0.0.3', a: '10.0.0.1' };
    const at = (env: string[], given: Partial<RegistratorOptions> = {}): string | undefined =>
      map({ expose: ['80'], mode: 'x', networks, env, runtime: { '80/tcp': null } }, { internal: true, ...given })
        .services[0]?.definition.address;
    expect(at(['SERVICE_NETWORK=c'], { networks: ['b'] })).toBe('10.0.0.3');
    expect(at(['SERVICE_80_NETWORK=b'])).toBe('10.0.0.2');
    expect(at([], { networks: ['missing', 'b'] })).toBe('10.0.0.2');
    expect(at([])).toBe('10.0.0.1');
    expect(at(['SERVICE_NETWORK=missing'])).toBe('10.0.0.1');
  });

  test('R17: SERVICE_INTERNAL overrides the flag both ways', () => {
    const publish = { '80': ['8080'] };
    expect(places(map({ publish, env: ['SERVICE_INTERNAL=true'] }))).toEqual(['one 172.17.0.2:80']);
    expect(places(map({ publish, env: ['SERVICE_INTERNAL=false'] }, { internal: true }))).toEqual([
      `one ${hostAddress}:8080`,
    ]);
  });

  test('R18: waits for the owner of its network', () => {
    const box: Box = { mode: 'container:abc', expose: ['80'] };
    expect(map(box).skipped[0]?.reason).toContain('waits for the container abc');
    expect(map(box, {}, { owner: { name: 'o', running: false } }).skipped[0]?.reason).toContain('is not running');
  });

  test('R19: one publish of two families is one service, also with different random ports', () => {
    const wild = (ip: string, port: string): { HostIp: string; HostPort: string } => ({ HostIp: ip, HostPort: port });
    expect(pairBindings([wild('0.0.0.0', '1'), wild('::', '1')])).toHaveLength(1);
    expect(pairBindings([wild('0.0.0.0', '49153'), wild('::', '49154')])).toHaveLength(1);
    expect(pairBindings([wild('0.0.0.0', '1'), wild('::', '1'), wild('0.0.0.0', '2'), wild('::', '2')])).toHaveLength(
      2,
    );
    expect(pairBindings([wild('10.0.0.1', '1'), wild('10.0.0.2', '1')])).toHaveLength(2);
    expect(pairBindings([wild('', '1')])).toHaveLength(1);
    expect(pairBindings([wild('0.0.0.0', '')])).toEqual([]);
  });

  test('R20: both families known fill lan_ipv4 and lan_ipv6', () => {
    const advertise = (): { ipv4: string; ipv6: string; source: string } => ({
      ipv4: '1.1.1.1',
      ipv6: '2001:db8::1',
      source: 'x',
    });
    const { definition } = map({ publish: { '80': ['8080'] } }, { advertise }).services[0]!;
    expect(definition.taggedAddresses).toEqual({
      lan_ipv4: { Address: '1.1.1.1', Port: 8080 },
      lan_ipv6: { Address: '2001:db8::1', Port: 8080 },
    });
  });

  test('R39: on Podman an unpublished port is absent from the runtime map and is no LAN address', () => {
    const box: Box = { mode: 'n1', expose: ['80'], runtime: {} };
    expect(map(box, {}, { podman: true }).services).toEqual([]);
    const podmanWild: Box = { expose: ['80'], runtime: { '80/tcp': [{ HostIp: '', HostPort: '8080' }] } };
    expect(places(map(podmanWild, {}, { podman: true }))).toEqual([`one ${hostAddress}:8080`]);
  });

  test('R36: services without ports', () => {
    expect(places(map({ env: ['SERVICE_REGISTER=true'] }))).toEqual([`one ${hostAddress}:0`]);
    expect(places(map({ env: ['SERVICE_PORT=9100'] }))).toEqual([`one ${hostAddress}:9100`]);
    expect(map({ env: ['SERVICE_PORT=9100'] }).services[0]?.id).toBe('reghost:w1:9100');
    expect(places(map({ env: ['SERVICE_PORT=9100', 'SERVICE_NAME=m'] }, { internal: true }))).toEqual([
      'm 172.17.0.2:9100',
    ]);
    expect(map({ env: ['SERVICE_REGISTER=false'] }).services).toEqual([]);
    expect(places(map({ publish: { '80': ['8080'] }, env: ['SERVICE_PORT=9100'] }))).toEqual([
      `one ${hostAddress}:8080`,
    ]);
  });
});
