import { beforeEach, describe, expect, test } from 'vitest';
import { summarizeServices } from '../../../src/http/service-summary.ts';
import type { ConfigEntryRequest, NodeService } from '../../../src/model/index.ts';
import { service } from '../state/helpers.ts';
import { type Single, singleServer } from './single.ts';

let single: Single;
beforeEach(() => {
  single = singleServer();
});

const put = (Entry: ConfigEntryRequest['Entry']) => single.call('ConfigEntry.Apply', { Op: 'upsert', Entry });
const register = (name: string, more: Partial<NodeService> = {}) =>
  single.call('Catalog.Register', { Node: 'n', Address: '192.0.2.1', Service: service({ Service: name, ...more }) });
const ingress = (...Services: object[]) =>
  put({ Kind: 'ingress-gateway', Name: 'in', Listeners: [{ Port: 80, Protocol: 'http', Services }] });
const terminating = (...Services: object[]) => put({ Kind: 'terminating-gateway', Name: 'out', Services });
const http = (Name: string) => put({ Kind: 'service-defaults', Name, Protocol: 'http' });
async function behind(ServiceName: string) {
  const { Services } = await single.call('Catalog.GatewayServices', { ServiceName });
  return Services;
}

describe('services behind a gateway', () => {
  test('are those of its config entry, by name', async () => {
    await http('a');
    await http('b');
    await ingress({ Name: 'b', Hosts: ['h'] }, { Name: 'a' });
    expect(await behind('in')).toMatchObject([
      { Service: { Name: 'a' }, Gateway: { Name: 'in' }, GatewayKind: 'ingress-gateway', Port: 80, Protocol: 'http' },
      { Service: { Name: 'b' }, Hosts: ['h'] },
    ]);
    expect(await behind('nobody')).toEqual([]);
  });

  test('with a wildcard are all ordinary services that are not named', async () => {
    await single.server.start();
    await register('web');
    await register('db');
    await register('web-proxy', {
      Kind: 'connect-proxy',
      Port: 1,
      Proxy: { DestinationServiceName: 'web', MeshGateway: {}, Expose: {} },
    });
    await terminating({ Name: '*' }, { Name: 'db', SNI: 's' });
    expect(await behind('out')).toMatchObject([
      { Service: { Name: 'db' }, SNI: 's' },
      { Service: { Name: 'web' }, FromWildcard: true },
    ]);
  });

  test('a waiting reader learns of a service that a wildcard takes in', async () => {
    await terminating({ Name: '*' });
    const { Index } = await single.call('Catalog.GatewayServices', { ServiceName: 'out' });
    const waiting = single.call('Catalog.GatewayServices', { ServiceName: 'out', MinQueryIndex: Index });
    await register('web');
    expect((await waiting).Services).toMatchObject([{ Service: { Name: 'web' } }]);
  });
});

describe('instances', () => {
  const names = async (request: { ServiceName: string; Connect?: boolean; Ingress?: boolean }) =>
    (await single.call('Health.ServiceNodes', request)).Nodes.map(({ Service }) => Service.ID);

  test('an ingress gateway answers for what it lets in', async () => {
    await http('web');
    await ingress({ Name: 'web' });
    await register('in', { Kind: 'ingress-gateway', Port: 8443 });
    expect(await names({ ServiceName: 'web', Ingress: true })).toEqual(['in']);
    expect(await names({ ServiceName: 'other', Ingress: true })).toEqual([]);
  });

  test('a terminating gateway speaks for its services in the mesh, beside their own', async () => {
    await terminating({ Name: 'web' });
    await register('web', { Connect: { Native: true } });
    await register('out', { Kind: 'terminating-gateway', Port: 8443 });
    expect(await names({ ServiceName: 'web', Connect: true })).toEqual(['web', 'out']);
    const { ServiceNodes } = await single.call('Catalog.ServiceNodes', { ServiceName: 'web', Connect: true });
    expect(ServiceNodes.map(({ ServiceID }) => ServiceID)).toEqual(['web', 'out']);
  });
});

describe('summaries', () => {
  const ingressName = (name: string) => `${name}.ingress.dc1.consul.`;

  test('count instances and checks, and collect what instances say', async () => {
    await register('web', { ID: 'web-1', Tags: ['b', 'a'], Meta: { 'external-source': 'nomad' } });
    await register('web', { ID: 'web-2', Tags: ['a'] });
    await single.call('Catalog.Register', {
      Node: 'n',
      Address: '192.0.2.1',
      Check: {
        Node: 'n',
        CheckID: 'c',
        Name: 'c',
        Status: 'warning',
        Notes: '',
        Output: '',
        ServiceID: 'web-1',
        ServiceName: '',
        ServiceTags: null,
        Type: '',
        Definition: {},
      },
    });
    const { Nodes } = await single.call('Internal.ServiceDump', {});
    expect(summarizeServices(Nodes, ingressName)).toEqual([
      {
        Kind: undefined,
        Name: 'web',
        Tags: ['a', 'b'],
        Nodes: ['n', 'n'],
        InstanceCount: 2,
        ProxyFor: undefined,
        ChecksPassing: 0,
        ChecksWarning: 1,
        ChecksCritical: 0,
        ExternalSources: ['nomad'],
        GatewayConfig: { Addresses: undefined },
      },
    ]);
  });

  test('behind an ingress gateway name the hosts, or the DNS name', async () => {
    await http('a');
    await http('b');
    await ingress({ Name: 'a', Hosts: ['h1', 'h2'] }, { Name: 'b' });
    const { Dump } = await single.call('Internal.GatewayServiceDump', { ServiceName: 'in' });
    expect(summarizeServices(Dump, ingressName)).toMatchObject([
      { Name: 'a', Nodes: null, InstanceCount: 0, GatewayConfig: { Addresses: ['h1:80', 'h2:80'] } },
      { Name: 'b', GatewayConfig: { Addresses: ['b.ingress.dc1.consul.:80'] } },
    ]);
  });

  test('of one kind only where that is asked for', async () => {
    await register('web');
    await register('gw', { Kind: 'mesh-gateway', Port: 1 });
    const { Nodes } = await single.call('Internal.ServiceDump', { ServiceKind: 'mesh-gateway', UseServiceKind: true });
    expect(Nodes.map(({ Service }) => Service.Service)).toEqual(['gw']);
  });
});
