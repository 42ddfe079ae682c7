// What the recordings do not show: failures, staleness, tokens, limits of recursion, and that nothing breaks it.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultDnsOptions, type DnsOptions } from '../../../src/dns/index.ts';
import { readMessage, recordType } from '../../../src/dns/message.ts';
import { writeMessage } from '../../../src/dns/message-writer.ts';
import { parseName } from '../../../src/dns/name.ts';
import { RecursorClient } from '../../../src/dns/recursor.ts';
import { Responder, type ResponderDependencies } from '../../../src/dns/responder.ts';
import { CallError, type NamedCaller } from '../../../src/model/index.ts';
import { SeededRandom } from '../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';
import { FakeCatalog } from './fake-catalog.ts';

function setUp(changes: Partial<DnsOptions> = {}, dependencies: Partial<ResponderDependencies> = {}) {
  const catalog = new FakeCatalog();
  const { logger, lines } = recordingLogger();
  const clock = new VirtualClock();
  const counted: string[] = [];
  const sampled: string[] = [];
  const responder = new Responder(
    {
      caller: catalog,
      clock,
      random: new SeededRandom(1),
      logger,
      metrics: {
        count: (name) => counted.push(name.join('.')),
        gauge: () => {},
        sample: (name) => sampled.push(name.join('.')),
      },
      recursorClient: new RecursorClient(clock),
      ...dependencies,
    },
    { ...defaultDnsOptions, nodeName: 'n', datacenter: 'dc1', ...changes },
    [],
  );
  const ask = async (name: string, type: number = recordType.A, transport: 'udp' | 'tcp' = 'udp') => {
    const reply = await responder.respond(query(name, type), transport, '127.0.0.1:1');
    if (reply === null) return null;
    const { flags, answer, authority, additional } = readMessage(reply);
    return { code: flags & 0xf, answer, authority, additional };
  };
  return { catalog, responder, lines, counted, sampled, ask };
}

function query(name: string, type: number): Buffer {
  const sections = { answer: [], authority: [], additional: [] };
  return writeMessage(1, 0x0100, { name: parseName(name), type, class: 1 }, sections, { compress: true });
}

const web = { Node: 'n1', Address: '10.0.0.1', Service: { ID: 'web', Service: 'web', Port: 80 } };

describe('failing calls', () => {
  test.each([
    ['No cluster leader', 2],
    ['rpc error making call: ACL not found', 2],
    ['rpc error making call: No path to datacenter', 3],
  ])('%s', async (text, code) => {
    const { catalog, ask } = setUp();
    catalog.fail = new CallError(text);
    expect(await ask('web.service.consul')).toMatchObject({
      code,
      answer: [],
      authority: { length: code === 3 ? 1 : 0 },
    });
    expect(await ask('n1.node.consul')).toMatchObject({ code });
  });

  test('leave NS empty and turn PTR into SERVFAIL', async () => {
    const { catalog, ask, lines } = setUp();
    catalog.fail = new CallError('No cluster leader');
    expect(await ask('consul', recordType.NS)).toMatchObject({ code: 0, answer: [] });
    expect(await ask('1.0.0.10.in-addr.arpa', recordType.PTR)).toMatchObject({ code: 2 });
    expect(lines).toContain('ERROR rpc error error=No cluster leader');
  });
});

describe('reads', () => {
  test('carry the token of the moment and may be stale', async () => {
    let token = 'a';
    const { catalog, ask } = setUp({}, { token: () => token });
    await ask('web.service.consul');
    token = 'b';
    await ask('x.node.consul');
    expect(catalog.calls.map(({ request }) => request)).toMatchObject([
      { Token: 'a', AllowStale: true, Datacenter: 'dc1' },
      { Token: 'b', AllowStale: true },
    ]);
  });

  test('are repeated at the leader when too old, and counted when somewhat old', async () => {
    const { catalog, ask, counted, lines } = setUp({ maxStaleMs: 10_000 });
    catalog.lastContactNs = 6e9;
    await ask('web.service.consul');
    expect(counted).toEqual(['dns.stale_queries']);
    catalog.lastContactNs = 11e9;
    await ask('web.service.consul');
    expect(catalog.calls.map(({ request }) => (request as { AllowStale: boolean }).AllowStale)).toEqual([
      true,
      true,
      false,
    ]);
    expect(lines).toContain('WARN Query results too stale, re-requesting');
  });

  test('go through the cache only when it is to be used, and never for reverse names', async () => {
    const cache = new FakeCatalog();
    cache.register(web);
    const cachedCaller: NamedCaller = cache;
    expect(await setUp({}, { cachedCaller }).ask('web.service.consul')).toMatchObject({ code: 3 });
    const { ask, catalog } = setUp({ useCache: true }, { cachedCaller });
    expect(await ask('web.service.consul')).toMatchObject({ code: 0, answer: { length: 1 } });
    expect(catalog.calls).toEqual([]);
    expect(await ask('1.0.0.10.in-addr.arpa')).toMatchObject({ code: 2 });
  });

  test('of an unchanged service build its records once', async () => {
    const { catalog, ask } = setUp();
    catalog.register(web);
    await ask('web.service.consul');
    const nodes = (await catalog.call('Health.ServiceNodes', catalog.calls[0]!.request as never)).Nodes;
    // A record changed behind the cache's back is not looked at again.
    Object.assign(nodes[0]!.Node, { Address: '10.9.9.9' });
    expect([...(await ask('web.service.consul'))!.answer[0]!.head]).toEqual([10, 0, 0, 1]);
    catalog.register({ ...web, Address: '10.0.0.2' });
    expect([...(await ask('web.service.consul'))!.answer[0]!.head]).toEqual([10, 0, 0, 2]);
  });
});

describe('answers', () => {
  test('of metadata too long for a TXT string are not sent', async () => {
    const { catalog, ask, lines } = setUp();
    catalog.register({ Node: 'm', Address: '10.0.0.1', NodeMeta: { k: 'x'.repeat(300) } });
    expect(await ask('m.node.consul', recordType.TXT)).toBeNull();
    expect(lines.some((line) => line.startsWith('WARN failed to respond error='))).toBe(true);
  });

  test('name servers: three at most, none with an odd name', async () => {
    const { catalog, ask, lines } = setUp();
    for (const Node of ['s1', 's2', 'S3', 's4', 'bad_name', 'bad.name']) {
      catalog.register({ Node, Address: '10.0.0.1', Service: { ID: 'consul', Service: 'consul' } });
    }
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      const reply = await ask('consul', recordType.NS);
      expect(reply!.answer).toHaveLength(3);
      for (const { names } of reply!.answer) seen.add(names[0]!.text);
    }
    expect([...seen].sort()).toEqual(['s1', 's2', 's3', 's4'].map((node) => `${node}.node.dc1.consul.`));
    expect(lines).toContain('WARN Skipping invalid node for NS records node=bad_name');
  });

  test('chains in our zone end after four names', async () => {
    const { catalog, ask, lines } = setUp();
    for (let i = 0; i < 8; i++) {
      const Service = { ID: `c${i}`, Service: `c${i}`, Address: `c${i + 1}.service.consul` };
      catalog.register({ Node: 'n', Address: '10.0.0.1', Service });
    }
    expect((await ask('c0.service.consul', recordType.A, 'tcp'))!.answer.map(({ names }) => names[0]!.text)).toEqual(
      [1, 2, 3, 4].map((i) => `c${i}.service.consul.`),
    );
    expect(lines.some((line) => line.startsWith('ERROR Infinite recursion detected'))).toBe(true);
  });

  test('every instance comes first equally often', async () => {
    const { catalog, ask } = setUp();
    const count = 20;
    for (let i = 0; i < count; i++) {
      catalog.register({ ...web, Node: `n${i}`, Address: `10.0.0.${i}` });
    }
    const firsts = Array.from({ length: count }, () => 0);
    const asked = 4000;
    for (let i = 0; i < asked; i++) firsts[(await ask('web.service.consul'))!.answer[0]!.head[3]!]!++;
    const expected = asked / count;
    const chiSquared = firsts.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
    // 19 degrees of freedom: 43.8 is exceeded once in a thousand seeds, and the seed is fixed.
    expect(chiSquared).toBeLessThan(43.8);
  });

  test('are timed by kind', async () => {
    const { catalog, ask, sampled } = setUp();
    catalog.register(web);
    await ask('web.service.consul');
    await ask('1.0.0.10.in-addr.arpa', recordType.PTR);
    await ask('www.example.com');
    expect(sampled).toEqual(['dns.domain_query', 'dns.ptr_query']);
  });
});

test('100,000 damaged packets neither crash it nor get a malformed reply', async () => {
  const { catalog, responder } = setUp();
  catalog.register(web);
  catalog.register({ ...web, Node: 'x', Service: { ...web.Service, ID: 'x', Address: 'db.example.test' } });
  const random = new SeededRandom(42);
  const seeds = [
    query('web.service.consul', recordType.SRV),
    query('web.service.consul', recordType.ANY),
    query('n1.node.dc1.consul', recordType.ANY),
    query('0a000001.addr.consul', recordType.A),
    query('1.0.0.10.in-addr.arpa', recordType.PTR),
    query('consul', recordType.SOA),
    Buffer.concat([
      query('web.service.consul', recordType.A),
      Buffer.from('00002904d000008000000b000800070001180 0c63364'.replace(' ', ''), 'hex'),
    ]),
  ];
  seeds.at(-1)!.writeUInt16BE(1, 10);
  let replies = 0;
  for (let i = 0; i < 100_000; i++) {
    const packet = Buffer.from(seeds[random.integer(seeds.length)]!);
    for (let changes = random.integer(4); changes >= 0; changes--) {
      packet[random.integer(packet.length)] = random.integer(256);
    }
    const cut = random.integer(8) === 0 ? packet.subarray(0, random.integer(packet.length)) : packet;
    const reply = await responder.respond(cut, random.integer(2) === 0 ? 'udp' : 'tcp', 'c');
    if (reply === null) continue;
    replies++;
    expect(readMessage(reply).id).toBe(cut.readUInt16BE(0));
  }
  expect(replies).toBeGreaterThan(10_000);
});

test('random bytes neither crash it nor get a malformed reply', async () => {
  const { responder } = setUp();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), async (bytes) => {
      const reply = await responder.respond(Buffer.from(bytes), 'udp', 'c');
      if (reply !== null) readMessage(reply);
    }),
    { numRuns: 2000 },
  );
});

describe('what DNS cannot hold', () => {
  const long = 'x'.repeat(64);
  const service = (address = '') => ({ Service: 'web', Port: 80, Address: address });

  test.each([
    ['a service address with an empty label', { Node: 'n2', Address: '10.0.0.2', Service: service('a..b') }],
    [
      'a service address with a label too long',
      { Node: 'n2', Address: '10.0.0.2', Service: service(`${long}.example`) },
    ],
    ['a name too long', { Node: 'n2', Address: '10.0.0.2', Service: service('abcdefghi.'.repeat(26)) }],
    ['a node name with an empty label', { Node: 'n2..x', Address: '10.0.0.2', Service: service() }],
    ['a node name too long for a label', { Node: long, Address: '10.0.0.2', Service: service() }],
  ])('%s takes its instance out of the answer, not the service', async (_, bad) => {
    const { catalog, ask, lines } = setUp();
    catalog.register(web);
    catalog.register(bad);
    const byNode = bad.Service.Address === '';
    expect(await ask('web.service.consul')).toMatchObject({ code: 0, answer: { length: byNode ? 2 : 1 } });
    expect(await ask('web.service.consul', recordType.SRV)).toMatchObject({
      code: 0,
      answer: { length: 1 },
      additional: { length: 1 },
    });
    await ask('web.service.consul', recordType.SRV);
    // Once for each list that was prepared, not for each query.
    const warnings = lines.filter((line) => line.startsWith('WARN A record was left out'));
    expect(warnings).toHaveLength(byNode ? 1 : 2);
  });

  test('of a lone instance leaves the service there, with nothing to say', async () => {
    const { catalog, ask } = setUp();
    catalog.register({ Node: 'n2', Address: '10.0.0.2', Service: service('a..b') });
    const nothing = { code: 0, answer: [], authority: { length: 1 } };
    expect(await ask('web.service.consul')).toMatchObject(nothing);
    expect(await ask('web.service.consul', recordType.SRV)).toMatchObject(nothing);
  });

  test('of metadata costs the instance its metadata only', async () => {
    const { catalog, ask } = setUp();
    catalog.register({ ...web, NodeMeta: { note: 'm'.repeat(255) } });
    const srv = await ask('web.service.consul', recordType.SRV);
    expect(srv).toMatchObject({ code: 0, answer: { length: 1 }, additional: { length: 1 } });
    // The node itself answers nothing, as at the peer (reference/dns.md §5).
    expect(await ask('n1.node.consul')).toBeNull();
  });

  test('of nodes: an address, a reverse name and a name server', async () => {
    const { catalog, ask } = setUp();
    catalog.register({ Node: 'n3', Address: 'a..b' });
    catalog.register({ Node: long, Address: '10.0.0.4', Service: { Service: 'consul' } });
    catalog.register({ Node: 'n5', Address: '10.0.0.5', Service: { Service: 'consul' } });
    expect(await ask('n3.node.consul')).toMatchObject({ code: 0, answer: [] });
    expect(await ask('4.0.0.10.in-addr.arpa', recordType.PTR)).toMatchObject({ code: 2 });
    expect(await ask('consul', recordType.NS)).toMatchObject({ code: 0, answer: { length: 1 } });
  });
});
