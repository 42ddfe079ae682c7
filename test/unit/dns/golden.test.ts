// The recorded answers of the real Consul 1.8.7, replayed over loopback against the DNS server in front of two
// catalogs filled by the recordings' own registrations: the tests' own, and the real server's named calls. The same files run against the whole agent in
// test/golden/dns.test.ts; what needs more than a catalog is left to that run.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseGoDurationMs } from '../../../src/codec/index.ts';
import { createDnsServer, defaultDnsOptions, type DnsOptions, type DnsServer } from '../../../src/dns/index.ts';
import { SystemClock } from '../../../src/node/system-clock.ts';
import { SystemRandom } from '../../../src/node/system-random.ts';
import { askTcp, askUdp, type ScriptedAnswer, type ScriptedRecursor, startRecursor } from './dns-client.ts';
import type { CallRequest, NamedCaller } from '../../../src/model/index.ts';
import { createServer, MemoryLog } from '../../../src/server/index.ts';
import { StateStore } from '../../../src/state/index.ts';
import type { DnsCase, DnsRecording, DnsStep } from '../../golden/dns-recording.ts';
import { silentLogger } from '../../helpers/logger.ts';
import { FakeCatalog } from './fake-catalog.ts';
import { silentMetrics } from './silent-metrics.ts';

interface Runner {
  buildQuery(query: DnsCase['query'], id: number): Buffer;
  parseMessage(message: Buffer): { answer: string[] };
  compare(expected: DnsCase['expect'], actual: { answer: string[] } | null): string[];
}

const fixtures = join(import.meta.dirname, '../../fixtures/golden');
const runner = (await import(join(fixtures, 'replay-dns.mjs'))) as Runner;
const docs = readdirSync(join(fixtures, 'dns')).map(
  (file) => JSON.parse(readFileSync(join(fixtures, 'dns', file), 'utf8')) as DnsRecording,
);

const serverPort = 8300;

function optionsOf(doc: DnsRecording, recursorPorts: Readonly<Record<string, number>>): DnsOptions {
  const text = JSON.stringify(doc.agent.config ?? {}).replace(
    /\{\{recursor\.(\w+)\}\}/g,
    (_, name: string) => `127.0.0.1:${recursorPorts[name]}`,
  );
  const config = JSON.parse(text) as Record<string, never>;
  const dns = (config['dns_config'] ?? {}) as Record<string, never>;
  const soa = (dns['soa'] ?? {}) as Record<string, number>;
  const ms = (value: string | undefined, unset: number): number =>
    value === undefined ? unset : parseGoDurationMs(value);
  const d = defaultDnsOptions;
  return {
    ...d,
    nodeName: doc.agent.node,
    datacenter: 'dc1',
    domain: config['domain'] ?? d.domain,
    altDomain: config['alt_domain'] ?? d.altDomain,
    recursors: config['recursors'] ?? [],
    recursorTimeoutMs: ms(dns['recursor_timeout'], d.recursorTimeoutMs),
    nodeTtlMs: ms(dns['node_ttl'], 0),
    serviceTtlMs: Object.fromEntries(
      Object.entries((dns['service_ttl'] ?? {}) as Record<string, string>).map(([k, v]) => [k, parseGoDurationMs(v)]),
    ),
    onlyPassing: dns['only_passing'] ?? false,
    udpAnswerLimit: dns['udp_answer_limit'] ?? d.udpAnswerLimit,
    aRecordLimit: dns['a_record_limit'] ?? 0,
    enableTruncate: dns['enable_truncate'] ?? false,
    disableCompression: dns['disable_compression'] ?? false,
    nodeMetaTxt: dns['enable_additional_node_meta_txt'] ?? true,
    useCache: dns['use_cache'] ?? false,
    soa: {
      refresh: soa['refresh'] ?? d.soa.refresh,
      retry: soa['retry'] ?? d.soa.retry,
      expire: soa['expire'] ?? d.soa.expire,
      minTtl: soa['min_ttl'] ?? d.soa.minTtl,
    },
  };
}

type Register = CallRequest<'Catalog.Register'>;

interface Backend {
  readonly caller: NamedCaller;
  register(body: Omit<Register, 'Datacenter'>): Promise<unknown>;
}

const clock = new SystemClock();
const random = new SystemRandom();

const backends: Readonly<Record<string, () => Backend>> = {
  'a fake catalog': () => {
    const catalog = new FakeCatalog();
    return { caller: catalog, register: (body) => Promise.resolve(catalog.register(body as never)) };
  },
  'the server': () => {
    const store = new StateStore();
    const common = { clock, metrics: silentMetrics, store };
    const server = createServer({
      ...common,
      random,
      logger: silentLogger,
      datacenter: 'dc1',
      nodeName: 'other',
      nodeId: '01000000-0000-4000-8000-000000000009',
      address: '127.0.0.9',
      serverPort,
      version: '1.8.7',
      log: new MemoryLog({ ...common, address: `127.0.0.1:${serverPort}` }),
    });
    const { caller } = server;
    return { caller, register: (body) => caller.call('Catalog.Register', { ...body, Datacenter: 'dc1' }) };
  },
};

/** Why a case cannot be asked of a catalog alone; null when it can. */
function leftOut(doc: DnsRecording, each: DnsCase): string | null {
  if (doc.agent.acl !== undefined) return 'tokens belong to the agent';
  if (doc.peers !== undefined) return 'other datacenters are not there';
  // Names that are not found are answered all the same.
  if (each.expect.rcode !== 'NOERROR') return null;
  const kind = /\.(query|ingress)\./i.exec(each.query.name ?? '')?.[1];
  return kind === undefined ? null : 'prepared queries and gateways are set up over HTTP';
}

const variants = Object.entries(backends).flatMap(([backend, create]) => docs.map((doc) => ({ doc, backend, create })));
for (const { doc, backend, create } of variants) {
  const cases = doc.cases.filter((each) => leftOut(doc, each) === null);
  if (cases.length === 0) continue;
  describe(`golden ${doc.name} from ${backend}`, () => {
    const catalog = create();
    const recursors: ScriptedRecursor[] = [];
    let server: DnsServer;
    let port = 0;
    const register = async (steps: readonly DnsStep[]): Promise<void> => {
      for (const { path, body } of steps) if (path === '/v1/catalog/register') await catalog.register(body as Register);
    };

    beforeAll(async () => {
      const ports: Record<string, number> = {};
      for (const [name, { answers }] of Object.entries(doc.recursors ?? {})) {
        const recursor = await startRecursor(answers as ScriptedAnswer[]);
        recursors.push(recursor);
        ports[name] = recursor.port;
      }
      await catalog.register({
        Node: doc.agent.node,
        Address: '127.0.0.1',
        TaggedAddresses: { lan: '127.0.0.1', lan_ipv4: '127.0.0.1', wan: '127.0.0.1', wan_ipv4: '127.0.0.1' },
        NodeMeta: { 'consul-network-segment': '' },
        Service: { ID: 'consul', Service: 'consul', Port: serverPort } as never,
      });
      await register(doc.setup);
      server = createDnsServer({
        caller: catalog.caller,
        options: optionsOf(doc, ports),
        clock,
        random,
        logger: silentLogger,
        metrics: silentMetrics,
      });
      port = (await server.start([{ host: '127.0.0.1', port: 0 }]))[0]!.port;
    });
    afterAll(async () => {
      await server.stop();
      for (const recursor of recursors) recursor.stop();
    });

    test.each(cases)('$id', async (each) => {
      await register(each.before ?? []);
      const firsts = new Set<string | undefined>();
      for (let i = 0; i < (each.expect.firstAnswerVaries ? 40 : 1) && firsts.size < 2; i++) {
        const query = runner.buildQuery(each.query, 0x1234 + i);
        const waitMs = each.expect.noResponse ? 150 : 4000;
        const reply = await (each.query.proto === 'tcp' ? askTcp : askUdp)(port, query, waitMs);
        const message = reply === null ? null : runner.parseMessage(reply);
        if (message) {
          message.answer = message.answer.map((line) => line.replace(/( SRV \d+ \d+) 8300 /, '$1 <server-port> '));
        }
        expect(runner.compare(each.expect, message)).toEqual([]);
        firsts.add(message?.answer[0]);
      }
      if (each.expect.firstAnswerVaries) expect(firsts.size).toBe(2);
    });
  });
}

test('only what needs more than a catalog is left out', () => {
  const left = docs.flatMap((doc) => doc.cases.flatMap((each) => leftOut(doc, each) ?? []));
  const counts = Object.fromEntries(
    [...new Set(left)].map((reason) => [reason, left.filter((r) => r === reason).length]),
  );
  expect(counts).toEqual({
    'other datacenters are not there': 30,
    'prepared queries and gateways are set up over HTTP': 20,
    'tokens belong to the agent': 9,
  });
});
