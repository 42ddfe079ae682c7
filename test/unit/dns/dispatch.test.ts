import { describe, expect, test } from 'vitest';
import { domainsOf, lookupLabels, lookupOf, zoneOf } from '../../../src/dns/dispatch.ts';
import { recordType } from '../../../src/dns/message.ts';
import { parseName } from '../../../src/dns/name.ts';

const domains = domainsOf('Consul', '');
const look = (name: string, type: number = recordType.A): unknown =>
  lookupOf(lookupLabels(parseName(name)), type, domains);
const service = (name: string, tag = '', datacenter = ''): object => ({
  kind: 'service',
  service: name,
  tag,
  datacenter,
  connect: false,
  ingress: false,
});

describe('zones', () => {
  test.each([
    ['web.service.consul', 'own'],
    ['CONSUL', 'own'],
    ['web.notconsul', 'other'],
    ['a\\.consul', 'other'],
    ['1.in-addr.arpa', 'reverse'],
    ['ARPA', 'reverse'],
    ['.', 'other'],
  ])('%s is in %s', (name, zone) => {
    expect(zoneOf(lookupLabels(parseName(name)), domains)).toBe(zone);
  });

  test('an alternative domain below the primary one is cut off whole', () => {
    const both = domainsOf('corp.example', 'alt.corp.example.');
    const labels = lookupLabels(parseName('n1.node.alt.corp.example'));
    expect(zoneOf(labels, both)).toBe('own');
    expect(lookupOf(labels, recordType.A, both)).toEqual({ kind: 'node', node: 'n1', datacenter: '' });
  });
});

describe('names of our zone', () => {
  test.each([
    ['web.service.consul', service('web')],
    ['Tag.Web.Service.DC2.consul', service('web', 'tag', 'dc2')],
    ['a.b.svc.service.consul', service('svc', 'a.b')],
    ['_web._TCP.service.consul', service('web')],
    ['_web._udp.service.consul', service('web', 'udp')],
    ['_x.service.consul', service('_x')],
    ['service.service.consul', service('service')],
    ['my.dotted.node.node.consul', { kind: 'node', node: 'my.dotted.node', datacenter: '' }],
    ['x.web.connect.dc1.consul', { ...service('web', '', 'dc1'), connect: true }],
    ['web.ingress.consul', { ...service('web'), ingress: true }],
    ['a.b.query.dc1.consul', { kind: 'query', query: 'a.b', datacenter: 'dc1' }],
    ['0A0b.addr.consul', { kind: 'address', owner: '', address: null }],
    [
      '0A010001.addr.some.thing.consul',
      { kind: 'address', owner: '0a010001.addr.some.thing.consul.', address: Uint8Array.of(10, 1, 0, 1) },
    ],
    ['consul', { kind: 'invalid' }],
    ['foo.consul', { kind: 'invalid' }],
    ['service.consul', { kind: 'invalid' }],
    ['node.consul', { kind: 'invalid' }],
    ['web.service.dc1.foo.consul', { kind: 'invalid' }],
    ['0a01000g.addr.consul', { kind: 'invalid' }],
    ['0a0100011.addr.consul', { kind: 'invalid' }],
    ['x.0a010001.addr.consul', { kind: 'invalid' }],
    ['_web._tcp.consul', { kind: 'invalid' }],
  ])('%s', (name, expected) => {
    expect(look(name)).toEqual(expected);
  });

  test.each([
    ['_web._tcp.consul', service('web')],
    ['_web._tcp.dc1.consul', service('web', '', 'dc1')],
  ])('%s may leave out "service" when SRV is asked for', (name, expected) => {
    expect(look(name, recordType.SRV)).toEqual(expected);
  });
});
