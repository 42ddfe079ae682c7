import { isIP } from 'node:net';
import { assert as check, constantFrom, ipV4, ipV6, oneof, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type CheckDefinition,
  checkDefinitionProblem,
  ipFamily,
  kindProblems,
  type ServiceDefinition,
  serviceDefinitionProblem,
  taggedAddressesProblem,
} from '../../../src/model/index.ts';

const ttl: CheckDefinition = { ttlMs: 1000 };
const metaPrefix = "Invalid Service Meta: Couldn't load metadata pair ";
const proxy = (parts: object): ServiceDefinition => ({
  name: 'x',
  kind: 'connect-proxy',
  port: 1,
  proxy: { DestinationServiceName: 'web', MeshGateway: {}, Expose: {}, ...parts },
});
const upstream = (parts: object): object => ({
  DestinationType: 'service',
  DestinationName: 'db',
  Datacenter: '',
  LocalBindPort: 1,
  Config: null,
  MeshGateway: {},
  ...parts,
});

describe('a service definition', () => {
  test.each<[ServiceDefinition, string | null]>([
    [{ name: 'x' }, null],
    [{ name: 'x', meta: { 'A-b_9': '' }, weights: { Passing: 1, Warning: 0 }, checks: [ttl] }, null],
    [{ name: '' }, 'Missing service name'],
    [{ name: 'x', address: '0.0.0.0' }, 'Invalid service address'],
    [{ name: 'x', address: '[::]' }, 'Invalid service address'],
    [{ name: 'x', weights: { Passing: 0, Warning: 1 } }, 'Invalid Weights: Passing must be greater than 0'],
    [{ name: 'x', weights: { Passing: 1, Warning: -1 } }, 'Invalid Weights: Warning must be greater or equal than 0'],
    [{ name: 'x', weights: { Passing: 65536, Warning: 1 } }, 'Invalid Weights: DNS Weight must be between 0 and 65535'],
    [{ name: 'x', meta: { '': 'v' } }, `${metaPrefix}('', 'v'): Key cannot be blank`],
    [{ name: 'x', meta: { 'a b': 'v' } }, `${metaPrefix}('a b', 'v'): Key contains invalid characters`],
    [
      { name: 'x', meta: { ['k'.repeat(129)]: 'v' } },
      `${metaPrefix}('${'k'.repeat(129)}', 'v'): Key is too long (limit: 128 characters)`,
    ],
    [
      { name: 'x', meta: { 'consul-x': 'v' } },
      `${metaPrefix}('consul-x', 'v'): Key prefix 'consul-' is reserved for internal use`,
    ],
    [
      { name: 'x', meta: { k: 'v'.repeat(513) } },
      `${metaPrefix}('k', '${'v'.repeat(513)}'): Value is too long (limit: 512 characters)`,
    ],
    [
      { name: 'x', meta: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, 'v'])) },
      'Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs',
    ],
    [{ name: 'x', checks: [{}] }, 'Invalid check: TTL must be > 0 for TTL checks'],
    [{ name: 'x', checks: [{ ...ttl, status: 'happy' }] }, "Status for checks must 'passing', 'warning', 'critical'"],
    [
      { name: 'x', kind: 'connect-proxy' },
      '2 errors occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n' +
        '\t* Port must be set for a Connect proxy\n\n',
    ],
    [{ name: 'x', kind: 'mesh-gateway' }, '1 error occurred:\n\t* Port must be non-zero for a mesh-gateway\n\n'],
    [{ name: 'x', kind: 'ingress-gateway' }, null],
    [
      { name: 'x', connect: { sidecarService: { id: 'own' } } },
      '1 error occurred:\n\t* A SidecarService cannot specify an ID as this is managed by the agent\n\n',
    ],
    [
      { name: 'x', connect: { sidecarService: { checks: [{}] } } },
      'Invalid check in sidecar_service: TTL must be > 0 for TTL checks',
    ],
  ])('%j: %s', (definition, problem) => {
    expect(serviceDefinitionProblem(definition)).toBe(problem);
  });

  test.each<[ServiceDefinition, string[]]>([
    [proxy({}), []],
    [{ ...proxy({}), connect: { native: true } }, ['A Proxy cannot also be Connect Native, only typical services']],
    [proxy({ Upstreams: [upstream({ DestinationType: 'cloud' })] }), ['unknown upstream destination type: "cloud"']],
    [proxy({ Upstreams: [upstream({ DestinationName: '' })] }), ['upstream destination name cannot be empty']],
    [proxy({ Upstreams: [upstream({ LocalBindPort: 0 })] }), ['upstream local bind port cannot be zero']],
    [
      proxy({ Upstreams: [upstream({}), upstream({ LocalBindPort: 2 })] }),
      ['upstreams cannot contain duplicates of [type="service", name="db", namespace="", datacenter=""]'],
    ],
    [
      proxy({ Upstreams: [upstream({}), upstream({ DestinationName: 'q', LocalBindAddress: '127.0.0.1' })] }),
      ['upstreams cannot contain duplicates by local bind address and port; "127.0.0.1:1" is specified twice'],
    ],
    [
      { ...proxy({}), kind: 'terminating-gateway' },
      ['The Proxy.DestinationServiceName configuration is invalid for a terminating-gateway'],
    ],
  ])('the rules of proxies and gateways: %j', ({ kind, port, proxy, connect }, problems) => {
    expect(
      kindProblems({
        Kind: kind ?? '',
        Port: port ?? 0,
        Connect: { Native: connect?.native ?? false },
        ...(proxy === undefined ? {} : { Proxy: proxy }),
      }),
    ).toEqual(problems);
  });
});

describe('a check definition', () => {
  test.each<[CheckDefinition, string | null]>([
    [{ name: 'c', ttlMs: 1 }, null],
    [{ name: 'c', http: 'http://x/', intervalMs: 1 }, null],
    [{ name: 'c', aliasService: 'web' }, null],
    [{ name: 'c', aliasService: 'web', intervalMs: 1 }, null],
    [{ name: 'c', scriptArgs: ['x'], dockerContainerId: 'd', intervalMs: 1 }, null],
    [ttl, 'Missing check name'],
    [{ name: 'c', ttlMs: 1, status: 'happy' }, 'Bad check status'],
    [{ name: 'c' }, 'Invalid check: TTL must be > 0 for TTL checks'],
    [{ name: 'c', dockerContainerId: 'd', intervalMs: 1 }, 'Invalid check: TTL must be > 0 for TTL checks'],
    [{ name: 'c', tcp: 'x:1' }, 'Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks'],
    [{ name: 'c', ttlMs: 1, intervalMs: 1 }, 'Invalid check: Interval and TTL cannot both be specified'],
    [
      { name: 'c', aliasService: 'w', tcp: 'x:1', intervalMs: 1 },
      'Invalid check: Interval cannot be set for Alias checks',
    ],
    [{ name: 'c', aliasService: 'w', ttlMs: 1 }, 'Invalid check: TTL must be not be set for Alias checks'],
    [{ name: 'c', ttlMs: 1, outputMaxSize: -1 }, 'Invalid check: MaxOutputMaxSize must be positive'],
  ])('%j: %s', (definition, problem) => {
    expect(checkDefinitionProblem(definition)).toBe(problem);
  });
});

describe('addresses', () => {
  test('a tag that names a family holds a literal of it', () => {
    expect(taggedAddressesProblem({ lan_ipv4: { Address: '10.0.0.1', Port: 1 }, own: { Address: 'x', Port: 1 } })).toBe(
      null,
    );
    expect(taggedAddressesProblem({ lan_ipv4: { Address: 'example.com', Port: 1 } })).toBe(
      'Service tagged address "lan_ipv4" must be a valid ipv4 address',
    );
    expect(taggedAddressesProblem({ wan_ipv6: { Address: '10.0.0.1', Port: 1 } })).toBe(
      'Service tagged address "wan_ipv6" must be a valid ipv6 address',
    );
  });

  test('literals are told from names as the system does', () => {
    const fragments = string({ unit: constantFrom(...'0123456789abcdef:.'.split('')), maxLength: 20 });
    check(
      property(oneof(ipV4(), ipV6(), fragments), (text) => {
        expect(ipFamily(text)).toBe(isIP(text));
      }),
      { numRuns: 2000 },
    );
  });
});
