import { beforeEach, expect, test } from 'vitest';
import type { ConfigEntryBody } from '../../../src/model/index.ts';
import { type Single, singleServer } from './single.ts';

let single: Single;
beforeEach(async () => {
  single = singleServer();
  await single.server.start();
});

const apply = (Entry: object) => single.call('ConfigEntry.Apply', { Op: 'upsert', Entry: Entry as ConfigEntryBody });
const resolve = (more: object = {}) =>
  single.call('ConfigEntry.ResolveServiceConfig', { Name: 'web', Upstreams: null, UpstreamIDs: null, ...more });

test('without entries nothing is said about a service', async () => {
  expect(await resolve({ Upstreams: ['db'] })).toMatchObject({
    ProxyConfig: null,
    UpstreamConfigs: null,
    UpstreamIDConfigs: null,
    MeshGateway: {},
    Expose: {},
  });
});

test('what is said of a service stands over what is said of all proxies', async () => {
  await apply({
    Kind: 'proxy-defaults',
    Name: 'global',
    Config: { protocol: 'http', x: 1 },
    MeshGateway: { Mode: 'local' },
  });
  expect(await resolve({ Upstreams: ['db'] })).toMatchObject({
    ProxyConfig: { protocol: 'http', x: 1 },
    UpstreamConfigs: { db: { protocol: 'http' } },
    MeshGateway: { Mode: 'local' },
  });
  await apply({ Kind: 'service-defaults', Name: 'web', Protocol: 'grpc', MeshGateway: { Mode: 'remote' } });
  await apply({ Kind: 'service-defaults', Name: 'db', Protocol: 'tcp' });
  const reply = await resolve({ UpstreamIDs: [{ ID: 'db' }] });
  expect(reply).toMatchObject({
    ProxyConfig: { protocol: 'grpc', x: 1 },
    UpstreamConfigs: null,
    UpstreamIDConfigs: [{ Upstream: { ID: 'db' }, Config: { protocol: 'tcp' } }],
    MeshGateway: { Mode: 'remote' },
  });
  expect((await single.call('ConfigEntry.ListAll', {})).Entries.map(({ Kind, Name }) => [Kind, Name])).toEqual([
    ['proxy-defaults', 'global'],
    ['service-defaults', 'db'],
    ['service-defaults', 'web'],
  ]);
});

test('a resolved configuration is followed', async () => {
  await apply({ Kind: 'service-defaults', Name: 'web', Protocol: 'grpc' });
  const { Index } = await resolve();
  const next = resolve({ MinQueryIndex: Index });
  await apply({ Kind: 'service-defaults', Name: 'web', Protocol: 'http' });
  expect(await next).toMatchObject({ ProxyConfig: { protocol: 'http' } });
});
