import { describe, expect, test } from 'vitest';
import { CallError, type RegisterRequest, serfHealthCheckId } from '../../../src/model/index.ts';
import { StateStore } from '../../../src/state/index.ts';
import { check, register, service } from './helpers.ts';

const idA = 'aaaaaaaa-0000-4000-8000-000000000001';
const idB = 'bbbbbbbb-0000-4000-8000-000000000002';

describe('node identity', () => {
  test('a known id under another name renames: services and checks go, the creation index stays', () => {
    const store = new StateStore();
    const created = register(store, { Node: 'old', ID: idA, Service: service({ Service: 'web' }) });
    const renamed = register(store, { Node: 'new', ID: idA });
    expect(store.node('old')).toBeUndefined();
    expect(store.node('new')).toMatchObject({ ID: idA, CreateIndex: created, ModifyIndex: renamed });
    expect(store.serviceNodes('web')).toEqual({ index: renamed, result: [] });
  });

  test.each([
    ['passing', false],
    ['warning', false],
    ['critical', true],
  ])('a name whose owner has serfHealth %s can be taken over: %s', (Status, taken) => {
    const store = new StateStore();
    const created = register(store, {
      Node: 'N',
      ID: idA,
      Check: check({ Node: 'N', CheckID: serfHealthCheckId, Status }),
    });
    const take = (): number => register(store, { Node: 'n', ID: idB, Address: '192.0.2.9' });
    if (taken) {
      take();
      expect(store.node('N')).toMatchObject({ ID: idB, Node: 'n', CreateIndex: created });
      expect(store.nodeServices(idA.slice(0, 8)).result).toBeNull();
    } else {
      expect(take).toThrow(
        new CallError(
          `failed inserting node: Error while renaming Node ID: "${idB}": Node name n is reserved by node ${idA} with name N (192.0.2.1)`,
        ),
      );
      expect(store.node('N')).toMatchObject({ ID: idA, Address: '192.0.2.1' });
    }
  });

  test('a rename may not take the name of an alive node', () => {
    const store = new StateStore();
    register(store, { Node: 'a', ID: idA });
    register(store, { Node: 'b', ID: idB, Check: check({ Node: 'b', CheckID: serfHealthCheckId }) });
    expect(() => register(store, { Node: 'b', ID: idA })).toThrow(/Node name b is reserved by node bbbbbbbb/);
    expect(store.node('a')?.ID).toBe(idA);
  });

  test('a row without id is given one, and a registration without id clears it', () => {
    const store = new StateStore();
    register(store, { Node: 'N', Check: check({ Node: 'N', CheckID: serfHealthCheckId }) });
    register(store, { Node: 'N', ID: idA });
    expect(store.node('N')?.ID).toBe(idA);
    register(store, { Node: 'N' });
    expect(store.node('N')?.ID).toBe('');
    expect(store.nodeServices(idA).result).toBeNull();
  });

  test('is looked up by name without regard to case, and by a unique beginning of the id', () => {
    const store = new StateStore();
    register(store, { Node: 'Forms-1', ID: idA, Service: service({ Service: 'FS' }) });
    for (const form of ['forms-1', 'FORMS-1', idA, 'aaaaaaaa', 'AA']) {
      expect(store.nodeServices(form).result?.map, form).toMatchObject({ FS: { Service: 'FS' } });
    }
    expect(store.nodeServices('a').result).toBeNull();
    register(store, { Node: 'other', ID: 'aaaaaaaa-0000-4000-8000-000000000009' });
    expect(store.nodeServices('aaaaaaaa').result).toBeNull();
    expect(store.nodeServices(idA).result?.node.Node).toBe('Forms-1');
  });

  test('is left alone by SkipNodeUpdate, but an absent node is created', () => {
    const store = new StateStore();
    const created = register(store, { Node: 'N', Address: '192.0.2.7', SkipNodeUpdate: true });
    register(store, { Node: 'N', Address: '192.0.2.8', ID: idA, SkipNodeUpdate: true });
    expect(store.node('N')).toMatchObject({ Address: '192.0.2.7', ID: '', ModifyIndex: created });
  });
});

describe('what counts as a change', () => {
  const base = { Service: 'web', Meta: { a: '1' }, Tags: ['x', 'y'] };
  test.each<readonly [string, Partial<Parameters<typeof service>[0]>, boolean]>([
    ['the same', {}, false],
    ['order of tags', { Tags: ['y', 'x'] }, true],
    ['no tags instead of some', { Tags: null }, true],
    ['another metadata key with an empty value', { Meta: { a: '1', b: '' } }, true],
    ['weights that equal the default', { Weights: { Passing: 1, Warning: 1 } }, false],
    ['invalid weights, replaced by the default', { Weights: { Passing: 0, Warning: 1 } }, false],
    ['other weights', { Weights: { Passing: 2, Warning: 1 } }, true],
    ['a zero given where nothing was given', { Connect: { Native: false } }, false],
    ['Connect', { Connect: { Native: true } }, true],
    ['an empty mode of the mesh gateway', { Proxy: { MeshGateway: { Mode: '' }, Expose: {} } }, false],
    ['an empty list of upstreams', { Proxy: { MeshGateway: {}, Expose: {}, Upstreams: [] } }, true],
    ['what only the agent is told', { LocallyRegisteredAsSidecar: true }, false],
  ])('of a service: %s', (_, given, changes) => {
    const store = new StateStore();
    const first = register(store, { Node: 'N', Service: service(base) });
    const second = register(store, { Node: 'N', Service: service({ ...base, ...given }) });
    expect(store.serviceNodes('web').index).toBe(changes ? second : first);
    expect(store.serviceNodes('web').result[0]).toMatchObject({
      CreateIndex: first,
      ModifyIndex: changes ? second : first,
    });
  });

  test.each<readonly [string, Partial<RegisterRequest>, Partial<RegisterRequest>]>([
    ['node metadata', {}, { NodeMeta: {} }],
    ['node addresses', { TaggedAddresses: {} }, {}],
    ['service tags', { Service: service({ Service: 'web' }) }, { Service: service({ Service: 'web', Tags: [] }) }],
    ['service metadata', { Service: service({ Service: 'web' }) }, { Service: service({ Service: 'web', Meta: {} }) }],
  ])('nil and empty differ in %s', (_, one, other) => {
    const store = new StateStore();
    const first = register(store, { Node: 'N', Service: service({ Service: 'web' }), ...one });
    const second = register(store, { Node: 'N', Service: service({ Service: 'web' }), ...other });
    expect(store.serviceNodes('web').index).toBe(second);
    expect(second).toBeGreaterThan(first);
  });

  test.each([
    ['Output', { Output: 'new' }, true],
    ['Notes', { Notes: 'new' }, true],
    ['Definition', { Definition: { HTTP: 'http://x' } }, true],
    ['Type alone', { Type: 'http' }, false],
    ['nothing', {}, false],
  ] as const)('of a check: %s', (_, given, changes) => {
    const store = new StateStore();
    const first = register(store, { Node: 'N', Check: check({ Node: 'N', CheckID: 'c' }) });
    const second = register(store, { Node: 'N', Check: check({ Node: 'N', CheckID: 'c', ...given }) });
    const answer = store.nodeChecks('N');
    expect(answer.result[0]?.ModifyIndex).toBe(changes ? second : first);
    // The table's index moves even for an identical check.
    expect(answer.index).toBe(second);
  });
});

describe('a check', () => {
  test('takes name and tags of its service and is critical unless told otherwise', () => {
    const store = new StateStore();
    register(store, {
      Node: 'N',
      Service: service({ Service: 'web', ID: 'w1', Tags: ['x'] }),
      Checks: [check({ Node: 'N', CheckID: 'c', ServiceID: 'W1', Status: '' })],
    });
    expect(store.serviceChecks('WEB').result).toMatchObject([
      { ServiceName: 'web', ServiceTags: ['x'], Status: 'critical' },
    ]);
  });

  test('that is wrong takes the whole registration back', () => {
    const store = new StateStore();
    const before = register(store, { Node: 'N', Service: service({ Service: 'web' }) });
    const health = store.serviceHealth('web').result;
    let woken = 0;
    store.watch(['nodes', 'services', 'checks', 'service:web'], () => woken++);
    const broken = (): number =>
      register(store, {
        Node: 'N',
        Address: '192.0.2.99',
        Service: service({ Service: 'web', Port: 5 }),
        Checks: [check({ Node: 'N', CheckID: 'fine' }), check({ Node: 'N', CheckID: 'bad', ServiceID: 'nowhere' })],
      });
    expect(broken).toThrow('failed inserting check: Missing service registration on node "N"');
    expect(store.lastIndex).toBe(before + 1);
    expect(store.serviceHealth('web')).toEqual({ index: before, result: health });
    expect(store.nodes()).toMatchObject({ index: before, result: [{ Address: '192.0.2.1' }] });
    expect(store.nodeChecks('N').result).toEqual([]);
    expect(woken).toBe(0);
  });
});

test('answers and rows stay the same objects until they change', () => {
  const store = new StateStore();
  for (const node of ['a', 'b']) {
    register(store, { Node: node, Service: service({ Service: 'web' }) });
  }
  const first = store.serviceHealth('web').result;
  register(store, { Node: 'c', Service: service({ Service: 'other' }) });
  expect(store.serviceHealth('web').result).toBe(first);
  register(store, { Node: 'b', Check: check({ Node: 'b', CheckID: 'c' }) });
  const second = store.serviceHealth('web').result;
  expect(second).not.toBe(first);
  expect(second[0]).toBe(first[0]);
  expect(second[1]).not.toBe(first[1]);
  expect(Object.isFrozen(second)).toBe(true);
});

test('a Connect query lists proxies and native instances, and is woken by new ones', () => {
  const store = new StateStore();
  register(store, { Node: 'N', Service: service({ Service: 'web', Connect: { Native: true } }) });
  let woken = 0;
  const watch: string[] = [];
  expect(store.connectHealth('Web', watch).result.map((row) => row.Service.ID)).toEqual(['web']);
  store.watch(watch, () => woken++);
  const proxy = service({
    Service: 'web-proxy',
    Kind: 'connect-proxy',
    Port: 1,
    Proxy: { DestinationServiceName: 'WEB', MeshGateway: {}, Expose: {} },
  });
  const index = register(store, { Node: 'N', Service: proxy });
  expect(woken).toBe(1);
  expect(store.connectNodes('web')).toMatchObject({
    index,
    result: [{ ServiceID: 'web' }, { ServiceID: 'web-proxy' }],
  });
});

test('instances are found by the address they answer at, their own or their node’s', () => {
  const store = new StateStore();
  register(store, { Node: 'N', Service: service({ Service: 'plain' }) });
  register(store, { Node: 'N', Service: service({ Service: 'own', Address: '198.51.100.1' }) });
  const at = (address: string): string[] => store.servicesAtAddress(address).result.map((row) => row.ServiceID);
  expect(at('192.0.2.1')).toEqual(['plain']);
  expect(at('198.51.100.1')).toEqual(['own']);
  register(store, { Node: 'N', Address: '192.0.2.2' });
  expect([at('192.0.2.1'), at('192.0.2.2')]).toEqual([[], ['plain']]);
});

test('services lists the union of tags, narrowed to nodes when asked', () => {
  const store = new StateStore();
  register(store, { Node: 'a', NodeMeta: { r: '1' }, Service: service({ Service: 'web', Tags: ['x', 'y'] }) });
  register(store, { Node: 'b', Service: service({ Service: 'web', Tags: ['y', 'z'] }) });
  expect(store.services().result).toEqual({ web: ['x', 'y', 'z'] });
  expect(store.services(undefined, (node) => node.Meta?.['r'] === '1').result).toEqual({ web: ['x', 'y'] });
});
