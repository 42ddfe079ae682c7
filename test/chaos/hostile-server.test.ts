// A client agent whose only server means harm: it is in gossip as a server should be, and on port 8300 it answers what
// it likes. What the agent knows by itself it goes on telling, everything else fails and says so, and nothing piles up.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { consulServerTags, consulSettings, createSerf, lanProfile, type Serf } from '../../src/gossip/index.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { SystemRandom } from '../../src/node/system-random.ts';
import { TcpNetwork } from '../../src/node/tcp-network.ts';
import { UdpNetwork } from '../../src/node/udp-network.ts';
import type { Stream, StreamListener } from '../../src/ports/index.ts';
import { AgentProcess } from '../helpers/agent-process.ts';
import { silentLogger } from '../helpers/logger.ts';
import { waitUntil } from '../helpers/wait.ts';
import {
  Draw,
  expectLevel,
  expectSound,
  fuzzLimitMs,
  fuzzRequests,
  fuzzSeed,
  HeapGauge,
  residentBytes,
  trippedOver,
} from './support/fuzz.ts';
import { HostileServer } from './support/hostile-rpc.ts';
import { type RecordedCall, recordedCalls } from './support/recorded-rpc.ts';

const ports = { http: 21_930, dns: 21_931 } as const;
const clientSerfPort = 21_932;
const serverSerfPort = 21_933;
const serverPort = 21_934;
/** How long the agent must stand it (ms). */
const attackMs = Math.min(60_000, 5_000 + fuzzRequests);
const rounds = 6;
/** Callers of what only servers know; many wait in vain at a time. */
const askers = 32;
/** What the agent knows by itself comes within this (ms), whatever the rest of the machine does. */
const localLimitMs = 10_000;
/** The longest that a call may take: its time, that for another try, and some for a busy machine (ms). */
const callLimitMs = 90_000;
/** The largest answers that are read at all, twice, beside what an agent needs. */
const residentBytesMax = 900 * 2 ** 20;

const draw = new Draw(fuzzSeed);
const gauge = new HeapGauge();
const agent = new AgentProcess({
  ports,
  env: gauge.env,
  args: [
    '-dev=false',
    '-registrator=false',
    '-log-level=warn',
    '-node=prey',
    '-bind=127.0.0.1',
    `-serf-lan-port=${clientSerfPort}`,
    `-retry-join=127.0.0.1:${serverSerfPort}`,
  ],
});
const network = new TcpNetwork();
const open = new Set<Stream>();
let listener: StreamListener;
let serf: Serf;
let connections = 0;

/** The recorded call that a request is of. */
function recordedFor(request: Buffer): RecordedCall | undefined {
  const method = /ServiceMethod.([A-Z][A-Za-z]+\.[A-Za-z]+)/.exec(request.toString('latin1'))?.[1];
  const same = recordedCalls.filter((call) => call.method === method);
  return same.length === 0 ? undefined : draw.pick(same);
}

beforeAll(async () => {
  listener = await network.listen({ address: '127.0.0.1', port: serverPort }, (stream) => {
    connections++;
    open.add(stream);
    void new HostileServer(stream, draw, { asked: recordedFor, tireless: true });
  });
  serf = createSerf({
    nodeName: 'hostile',
    tags: consulServerTags(
      {
        datacenter: 'dc1',
        nodeId: '02000000-0000-4000-8000-000000000001',
        version: '1.8.7',
        revision: '1a2b3c4d',
        aclMode: '0',
        port: serverPort,
        wanPort: undefined,
        bootstrap: true,
        bootstrapExpect: 0,
        nonVoter: false,
        useTls: false,
      },
      'lan',
    ),
    bind: { address: '127.0.0.1', port: serverSerfPort },
    profile: lanProfile,
    settings: consulSettings,
    onEvent: () => undefined,
    clock: new SystemClock(),
    random: new SystemRandom(),
    datagrams: new UdpNetwork(),
    streams: network,
    logger: silentLogger,
    metrics: { count() {}, gauge() {}, sample() {} },
  });
  await serf.start();
  agent.launch();
  await waitUntil(
    () => `the agent to know its server\n${agent.log}`,
    async () => {
      const members = await agent.get('/v1/agent/members').catch(() => undefined);
      return Array.isArray(members?.json) && members.json.length === 2;
    },
    30_000,
  );
});
afterAll(async () => {
  await agent.close();
  await serf.shutdown();
  await listener.close();
  for (const stream of open) stream.destroy();
  gauge.close();
});

/** @returns the answer's status and text, and how long it took (ms). */
async function timed(method: string, path: string, body?: unknown) {
  const startMs = performance.now();
  const answer = await agent.request(method, path, body);
  return { ...answer, ms: performance.now() - startMs };
}

test(
  `stands ${attackMs / 1000} s of a hostile server`,
  async () => {
    const untilMs = performance.now() + attackMs;
    const heaps: number[] = [];
    let residentMax = 0;
    let local = 0;
    let localLongestMs = 0;
    const outcomes = { answered: 0, failed: 0 };
    const remote = [
      ['GET', '/v1/catalog/nodes'],
      ['GET', '/v1/catalog/services'],
      ['GET', '/v1/health/service/web?passing'],
      ['GET', '/v1/health/service/web?index=1&wait=2s'],
      ['GET', '/v1/kv/a?recurse'],
      ['PUT', '/v1/kv/a'],
      ['GET', '/v1/status/leader'],
      ['GET', '/v1/session/list'],
      ['GET', '/v1/connect/ca/roots'],
      ['GET', '/v1/catalog/service/web?cached'],
      ['GET', '/v1/internal/ui/nodes'],
      ['GET', '/v1/operator/raft/configuration'],
      ['GET', '/v1/snapshot'],
    ] as const;
    const asking = Array.from({ length: askers }, async () => {
      while (performance.now() < untilMs) {
        const [method, path] = draw.pick(remote);
        const { status, text, ms } = await timed(method, path);
        expect(ms, `${method} ${path}`).toBeLessThan(callLimitMs);
        if (status < 400) outcomes.answered++;
        else {
          outcomes.failed++;
          // A key that is not there is told by the status alone.
          if (status !== 404) expect(text.trim(), `${method} ${path}`).not.toBe('');
        }
        expect(text.slice(0, 100_000), `${method} ${path}, seed ${fuzzSeed}`).not.toMatch(trippedOver);
      }
    });
    const telling = (async () => {
      for (let at = 0; performance.now() < untilMs; at++) {
        const service = { Name: 'web', ID: `web-${at % 5}`, Port: 80, Check: { TTL: '30s' } };
        for (const [method, path, body] of [
          ['PUT', '/v1/agent/service/register', service],
          ['GET', '/v1/agent/services', undefined],
          ['PUT', `/v1/agent/check/pass/service:web-${at % 5}`, undefined],
          ['GET', '/v1/agent/checks', undefined],
          ['GET', '/v1/agent/self', undefined],
          ['GET', '/v1/agent/members', undefined],
          ['PUT', `/v1/agent/service/deregister/web-${(at + 1) % 5}`, undefined],
        ] as const) {
          const { status, text, ms } = await timed(method, path, body);
          // To take away what was not there yet is no success.
          if (!path.includes('deregister')) expect(status, `${method} ${path}: ${text}`).toBe(200);
          localLongestMs = Math.max(localLongestMs, ms);
          local++;
        }
        residentMax = Math.max(residentMax, residentBytes(agent));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const measuring = (async () => {
      for (let round = 0; round < rounds; round++) {
        await new Promise((resolve) => setTimeout(resolve, attackMs / rounds));
        expectSound(agent);
        heaps.push(await gauge.heapBytes(agent));
      }
    })();
    try {
      await Promise.all([...asking, telling, measuring]);
    } finally {
      console.log(
        `hostile-server: seed ${fuzzSeed}, ${connections} connections, ${local} local calls, longest ` +
          `${localLongestMs.toFixed(0)} ms, others ${JSON.stringify(outcomes)}; heap after collection (MB): ` +
          `${heaps.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' ')}; resident up to ` +
          `${(residentMax / 2 ** 20).toFixed(0)} MB; log ${agent.log.length} bytes`,
      );
    }
    expectSound(agent);
    expect(localLongestMs).toBeLessThan(localLimitMs);
    expect(outcomes.failed).toBeGreaterThan(0);
    expect(residentMax).toBeLessThan(residentBytesMax);
    expectLevel(heaps);
  },
  fuzzLimitMs + attackMs + callLimitMs,
);
