import { expect, test } from 'vitest';
import { parseSpiffeId, type SpiffeId, spiffeUri } from '../../../src/model/index.ts';

const service: SpiffeId = {
  kind: 'service',
  trustDomain: 'x.consul',
  namespace: 'default',
  datacenter: 'dc1',
  service: 'a b',
};

test.each<[string, SpiffeId]>([
  ['spiffe://x.consul/ns/default/dc/dc1/svc/a%20b', service],
  [
    'spiffe://x.consul/agent/client/dc/dc1/id/n',
    { kind: 'agent', trustDomain: 'x.consul', datacenter: 'dc1', agent: 'n' },
  ],
  ['spiffe://x.consul', { kind: 'authority', trustDomain: 'x.consul' }],
])('%s is read and written', (uri, id) => {
  expect(parseSpiffeId(uri)).toEqual(id);
  expect(spiffeUri(id)).toBe(uri);
});

test.each([
  'http://x.consul/ns/default/dc/dc1/svc/a',
  'spiffe://x.consul/nope',
  'spiffe://x.consul/ns/default/dc/dc1/svc/',
  'spiffe://x.consul/ns/default/dc/dc1/svc/a/b',
  'spiffe://x.consul/ns/default/dc/dc1/svc/%zz',
  'spiffe:///ns/default/dc/dc1/svc/a',
  '',
])('%j is none', (uri) => {
  expect(parseSpiffeId(uri)).toBeNull();
});
