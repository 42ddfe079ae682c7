import { beforeEach, describe, expect, test } from 'vitest';
import type { ConfigEntryRequest } from '../../../src/model/index.ts';
import { compileDiscoveryChain, StateStore } from '../../../src/state/index.ts';

type Entry = ConfigEntryRequest['Entry'];
let store: StateStore;
beforeEach(() => {
  store = new StateStore();
});

function apply(Op: ConfigEntryRequest['Op'], Entry: Entry) {
  return store.apply(store.lastIndex + 1, { type: 'ConfigEntry', request: { Datacenter: 'dc1', Op, Entry } });
}
const put = (...entries: readonly Entry[]): void => entries.forEach((entry) => apply('upsert', entry));
const defaults = (Name: string, Protocol: string, more: object = {}): Entry => ({
  Kind: 'service-defaults',
  Name,
  Protocol,
  ...more,
});
const splitter = (Name: string, ...Splits: object[]): Entry => ({ Kind: 'service-splitter', Name, Splits });
const resolver = (Name: string, more: object): Entry => ({ Kind: 'service-resolver', Name, ...more });
const chain = (service: string, more: object = {}) =>
  compileDiscoveryChain((kind, name) => store.configEntries.find(kind, name), {
    service,
    datacenter: 'dc1',
    useIn: 'dc1',
    trustDomain: 't.consul',
    ...more,
  });

describe('writing', () => {
  test('the same again still moves the index', () => {
    put(defaults('web', 'http'), defaults('web', 'http'));
    expect(store.configEntries.get('service-defaults', 'WEB')).toMatchObject({
      index: 2,
      result: { CreateIndex: 1, ModifyIndex: 2 },
    });
  });

  test.each([
    [0, 'absent', true],
    [5, 'absent', false],
    [0, 'present', false],
    [1, 'present', true],
  ] as const)('compare-and-set with index %i on an entry that is %s: %s', (ModifyIndex, state, written) => {
    put(defaults(state === 'present' ? 'web' : 'other', 'tcp'));
    expect(apply('upsert-cas', { ...defaults('web', 'http'), ModifyIndex })).toBe(written);
  });

  test('deleting what is not there succeeds and moves nothing', () => {
    put(defaults('web', 'http'));
    expect(apply('delete', defaults('x', ''))).toBeNull();
    expect(store.configEntries.index()).toBe(1);
  });

  test('lists are by kind, or of all kinds', () => {
    put(defaults('b', 'http'), resolver('a', {}), defaults('a', 'http'));
    const names = (kind: string) => store.configEntries.list(kind).result.map(({ Kind, Name }) => `${Kind}/${Name}`);
    expect(names('service-defaults')).toEqual(['service-defaults/a', 'service-defaults/b']);
    expect(names('')).toHaveLength(3);
  });

  test('watchers of one entry sleep through changes of others', () => {
    put(defaults('web', 'http'));
    const watch: string[] = [];
    store.configEntries.get('service-defaults', 'web', watch);
    let woken = 0;
    store.watch(watch, () => woken++);
    put(defaults('db', 'http'));
    expect(woken).toBe(0);
    put(defaults('web', 'tcp'));
    expect(woken).toBe(1);
  });
});

describe('refused, and nothing changes', () => {
  test.each<[string, readonly Entry[], Entry, string]>([
    [
      'a splitter over tcp',
      [],
      splitter('web', { Weight: 100 }),
      'discovery chain "web" uses a protocol "tcp" that does not permit advanced routing or splitting behavior',
    ],
    [
      'protocols that differ within a chain',
      [defaults('web', 'http'), defaults('api', 'grpc')],
      splitter('web', { Weight: 50, Service: 'api' }, { Weight: 50 }),
      'discovery chain "web" uses inconsistent protocols; service "web" has "http" which is not "grpc"',
    ],
    [
      'a subset that does not exist',
      [defaults('web', 'http')],
      splitter('web', { Weight: 100, ServiceSubset: 'v9' }),
      'service "web" does not have a subset named "v9"',
    ],
    [
      'redirects in a circle',
      [resolver('a', { Redirect: { Service: 'b' } })],
      resolver('b', { Redirect: { Service: 'a' } }),
      'detected circular resolver redirect: [b.default.dc1 -> a.default.dc1 -> b.default.dc1]',
    ],
    [
      'splits in a circle',
      [defaults('a', 'http'), defaults('b', 'http'), splitter('a', { Weight: 100, Service: 'b' })],
      splitter('b', { Weight: 100, Service: 'a' }),
      'detected circular reference: [splitter:b.default -> splitter:a.default -> splitter:b.default]',
    ],
    [
      'subsets of a service outside',
      [defaults('web', 'tcp', { ExternalSNI: 's' })],
      resolver('web', { Subsets: { v1: {} } }),
      'service "web" has an external SNI set; cannot define subsets for external services',
    ],
    [
      'a listener with another protocol than its service',
      [],
      {
        Kind: 'ingress-gateway',
        Name: 'in',
        Listeners: [{ Port: 80, Protocol: 'http', Services: [{ Name: 'web' }] }],
      },
      'service "web" has protocol "tcp", which does not match defined listener protocol "http"',
    ],
    [
      'two gateways of one name',
      [{ Kind: 'terminating-gateway', Name: 'gw' }],
      { Kind: 'ingress-gateway', Name: 'gw' },
      'cannot create a "ingress-gateway" config entry with name "gw", ' +
        'a "terminating-gateway" config entry with that name already exists',
    ],
  ])('%s', (_, before, entry, message) => {
    put(...before);
    const index = store.configEntries.index();
    expect(() => put(entry)).toThrow(message);
    expect(store.configEntries.all).toHaveLength(before.length);
    expect(store.configEntries.index()).toBe(index);
  });

  test('a deletion that breaks the chain of another service', () => {
    put(defaults('web', 'http'), defaults('api', 'http'), splitter('web', { Weight: 100, Service: 'api' }));
    expect(() => apply('delete', defaults('api', ''))).toThrow(
      'discovery chain "web" uses a protocol "tcp" that does not permit advanced routing or splitting behavior',
    );
  });
});

describe('a compiled chain', () => {
  test('without entries is one default resolver', () => {
    expect(chain('web').chain).toEqual({
      ServiceName: 'web',
      Namespace: 'default',
      Datacenter: 'dc1',
      Protocol: 'tcp',
      StartNode: 'resolver:web.default.dc1',
      Nodes: {
        'resolver:web.default.dc1': {
          Type: 'resolver',
          Name: 'web.default.dc1',
          Resolver: { Default: true, ConnectTimeout: 5e9, Target: 'web.default.dc1' },
        },
      },
      Targets: {
        'web.default.dc1': {
          ID: 'web.default.dc1',
          Service: 'web',
          Namespace: 'default',
          Datacenter: 'dc1',
          MeshGateway: {},
          Subset: {},
          SNI: 'web.default.dc1.internal.t.consul',
          Name: 'web.default.dc1.internal.t.consul',
        },
      },
    });
  });

  test('has splits of splits flattened, and nothing that is not used', () => {
    put(defaults('a', 'http'), defaults('b', 'http'), defaults('c', 'http'));
    put(splitter('b', { Weight: 50 }, { Weight: 50, Service: 'c' }));
    put(splitter('a', { Weight: 50 }, { Weight: 50, Service: 'b' }));
    const { Nodes } = chain('a').chain;
    expect(Nodes['splitter:a.default']?.Splits).toEqual([
      { Weight: 50, NextNode: 'resolver:a.default.dc1' },
      { Weight: 25, NextNode: 'resolver:b.default.dc1' },
      { Weight: 25, NextNode: 'resolver:c.default.dc1' },
    ]);
    expect(Nodes).not.toHaveProperty('splitter:b.default');
  });

  test('follows redirects and default subsets', () => {
    put(resolver('b', { DefaultSubset: 'v1', Subsets: { v1: { Filter: 'f' } } }));
    put(resolver('a', { Redirect: { Service: 'b', Datacenter: 'dc2' } }));
    const { StartNode, Targets } = chain('a').chain;
    expect(StartNode).toBe('resolver:v1.b.default.dc2');
    expect(Object.keys(Targets)).toEqual(['v1.b.default.dc2']);
    expect(Targets['v1.b.default.dc2']).toMatchObject({ ServiceSubset: 'v1', Subset: { Filter: 'f' } });
  });

  test('takes the protocol of everybody where a service has none of its own', () => {
    put({ Kind: 'proxy-defaults', Name: 'global', Config: { protocol: 'HTTP' } });
    expect(chain('web').chain.Protocol).toBe('http');
  });

  test('reaches targets elsewhere by the gateway mode of service, everybody, or request', () => {
    put(resolver('web', { Redirect: { Datacenter: 'dc2' } }));
    const mode = (more: object = {}) => chain('web', more).chain.Targets['web.default.dc2']?.MeshGateway.Mode;
    expect(mode()).toBeUndefined();
    put({ Kind: 'proxy-defaults', Name: 'global', MeshGateway: { Mode: 'local' } });
    expect(mode()).toBe('local');
    put(defaults('web', 'tcp', { MeshGateway: { Mode: 'remote' } }));
    expect(mode()).toBe('remote');
    expect(mode({ overrideMeshGateway: { Mode: 'none' } })).toBe('none');
  });

  test('says which overrides made a difference', () => {
    expect(chain('web', { overrideConnectTimeout: 5e9, overrideProtocol: 'http' }).customized).toEqual({
      protocol: true,
      meshGateway: false,
      connectTimeout: false,
    });
  });
});
