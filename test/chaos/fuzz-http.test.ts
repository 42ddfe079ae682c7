// Every route of the HTTP server under requests that are nearly right: each is answered in time, none trips the
// program, and what they leave behind is gone when the records are.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AgentProcess } from '../helpers/agent-process.ts';
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
import { fuzzRequest, routes } from './support/http-requests.ts';
import { RawHttp } from './support/raw-http.ts';

const ports = { http: 21_700, dns: 21_701 } as const;
const token = '5ec2e7a0-0000-4000-8000-00000000dead';
/** Requests that are under way at the same time. */
const parallel = 8;
/** Longest answer to a request that need not wait for anything (ms); a test machine may be busy. */
const answerLimitMs = 20_000;
/** How long one that may wait is given before the client hangs up (ms). */
const patienceMs = 100;
/** How often the heap is measured in a run. */
const rounds = 10;

const gauge = new HeapGauge();
const agent = new AgentProcess({
  ports,
  env: gauge.env,
  args: [
    '-registrator=false',
    '-log-level=err',
    '-node=fuzzed',
    '-server-port=21702',
    '-serf-lan-port=21703',
    '-serf-wan-port=21704',
    `-hcl=acl { enabled = true, default_policy = "allow", tokens { master = "${token}", agent = "${token}" } }`,
  ],
});
beforeAll(() => agent.start());
afterAll(async () => {
  await agent.close();
  gauge.close();
});

async function call(method: string, path: string, body?: unknown): Promise<unknown> {
  const { status, json, text } = await agent.request(
    method,
    `${path}${path.includes('?') ? '&' : '?'}token=${token}`,
    body,
  );
  expect(status, `${method} ${path}: ${text.slice(0, 300)}`).toBeLessThan(500);
  return json;
}

const list = async <T>(path: string): Promise<readonly T[]> => ((await call('GET', path)) ?? []) as readonly T[];
const part = (name: string): string => encodeURIComponent(name);

/** Two looks of the leader at its members, or one full sync of the agent, ms. */
const repairLimitMs = 150_000;

/** Deletes every record that requests may have made. */
async function clear(): Promise<void> {
  // The agent's own tokens may be anything by now, and then it registers nothing.
  for (const name of ['default', 'agent', 'agent_master', 'replication']) {
    await call('PUT', `/v1/agent/token/${name}`, { Token: name === 'agent' ? token : '' });
  }
  await call('PUT', '/v1/agent/maintenance?enable=false');
  for (const id of Object.keys((await call('GET', '/v1/agent/services')) as object)) {
    // A sidecar may have gone with its service.
    await agent.request('PUT', `/v1/agent/service/deregister/${part(id)}?token=${token}`);
  }
  for (const id of Object.keys((await call('GET', '/v1/agent/checks')) as object)) {
    await call('PUT', `/v1/agent/check/deregister/${part(id)}`);
  }
  for (const { Node } of await list<{ Node: string }>('/v1/catalog/nodes')) {
    if (Node !== 'fuzzed') await call('PUT', '/v1/catalog/deregister', { Node });
  }
  const own = (await call('GET', '/v1/catalog/node/fuzzed')) as { Services: Record<string, unknown> } | null;
  for (const ServiceID of Object.keys(own?.Services ?? {})) {
    if (ServiceID !== 'consul') await call('PUT', '/v1/catalog/deregister', { Node: 'fuzzed', ServiceID });
  }
  for (const { CheckID } of await list<{ CheckID: string }>('/v1/health/node/fuzzed')) {
    if (CheckID !== 'serfHealth') await call('PUT', '/v1/catalog/deregister', { Node: 'fuzzed', CheckID });
  }
  for (const { ID } of await list<{ ID: string }>('/v1/session/list')) await call('PUT', `/v1/session/destroy/${ID}`);
  await call('DELETE', '/v1/kv/?recurse');
  for (const { ID } of await list<{ ID: string }>('/v1/query')) await call('DELETE', `/v1/query/${ID}`);
  for (const { ID } of await list<{ ID: string }>('/v1/connect/intentions')) {
    await call('DELETE', `/v1/connect/intentions/${ID}`);
  }
  // In the order in which they let go of each other.
  for (const kind of [
    'ingress-gateway',
    'terminating-gateway',
    'service-router',
    'service-splitter',
    'service-resolver',
    'service-defaults',
    'proxy-defaults',
  ]) {
    for (const { Name } of await list<{ Name: string }>(`/v1/config/${kind}`)) {
      // One that another entry holds on to goes in a later round.
      await agent.request('DELETE', `/v1/config/${kind}/${part(Name)}?token=${token}`);
    }
  }
  for (const { ID } of await list<{ ID: string }>('/v1/acl/binding-rules'))
    await call('DELETE', `/v1/acl/binding-rule/${ID}`);
  for (const { Name } of await list<{ Name: string }>('/v1/acl/auth-methods')) {
    await call('DELETE', `/v1/acl/auth-method/${part(Name)}`);
  }
  const self = (await call('GET', '/v1/acl/token/self')) as { AccessorID: string };
  for (const { AccessorID } of await list<{ AccessorID: string }>('/v1/acl/tokens')) {
    if (AccessorID === self.AccessorID || AccessorID.startsWith('00000000-')) continue;
    await call('DELETE', `/v1/acl/token/${AccessorID}`);
  }
  for (const { ID } of await list<{ ID: string }>('/v1/acl/roles')) await call('DELETE', `/v1/acl/role/${ID}`);
  for (const { ID } of await list<{ ID: string }>('/v1/acl/policies')) {
    if (!ID.startsWith('00000000-')) await call('DELETE', `/v1/acl/policy/${ID}`);
  }
}

test(
  `${fuzzRequests} requests over ${routes.length} routes`,
  async () => {
    expect(routes.length).toBeGreaterThan(100);
    const heaps: number[] = [];
    const statuses = new Map<number | string, number>();
    const clients = Array.from({ length: parallel }, (_, at) => ({
      http: new RawHttp(ports.http),
      draw: new Draw(fuzzSeed + at),
    }));
    let sent = 0;
    const work = async ({ http, draw }: (typeof clients)[number], until: number): Promise<void> => {
      while (sent < until) {
        sent++;
        const { bytes, isHead, mayWait } = fuzzRequest(draw, token);
        const outcome = await http.ask(bytes, mayWait ? patienceMs : answerLimitMs, isHead, mayWait);
        const status = typeof outcome === 'string' ? outcome : outcome.status;
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        const about = (): string => `seed ${fuzzSeed}, request ${sent}: ${bytes.toString('latin1').slice(0, 2_000)}`;
        if (typeof outcome === 'string') {
          if (outcome === 'silent' && !mayWait) throw new Error(`no answer in ${answerLimitMs} ms: ${about()}`);
          if (outcome === 'closed' && !mayWait) throw new Error(`closed without an answer: ${about()}\n${agent.log}`);
        } else if (outcome.status >= 500) {
          const text = outcome.body.toString();
          if (trippedOver.test(text)) throw new Error(`tripped: ${text.slice(0, 500)}\n${about()}`);
        }
      }
    };
    const started = performance.now();
    try {
      for (let round = 1; round <= rounds; round++) {
        const until = Math.floor((fuzzRequests * round) / rounds);
        await Promise.all(clients.map((client) => work(client, until)));
        expectSound(agent);
        await clear();
        heaps.push(await gauge.heapBytes(agent));
      }
    } finally {
      for (const { http } of clients) http.close();
      const seconds = (performance.now() - started) / 1000;
      const counts = [...statuses]
        .toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1))
        .map((pair) => pair.join(': '));
      console.log(
        `fuzz-http: seed ${fuzzSeed}, ${sent} requests in ${seconds.toFixed(0)} s (${counts.join(', ')}); ` +
          `heap after collection (MB): ${heaps.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(' ')}; ` +
          `resident ${(residentBytes(agent) / 2 ** 20).toFixed(0)} MB`,
      );
    }
    expectLevel(heaps);
    await call('PUT', '/v1/agent/service/register', { Name: 'after', Port: 80 });
    let seen: unknown;
    await waitUntil(
      () => `it to serve as before; without a token: ${JSON.stringify(seen)}; seed ${fuzzSeed}`,
      async () => {
        if ((await agent.dns('after.service.consul', 'SRV')).length === 1) return true;
        const paths = [
          '/v1/health/service/after',
          '/v1/health/node/fuzzed',
          '/v1/acl/token/self',
          '/v1/agent/services',
        ];
        seen = await Promise.all(paths.map(async (path) => [path, (await agent.get(path)).text]));
        return false;
      },
      // What requests wrote over what the agent and its leader say of the node is put right within a minute or two.
      repairLimitMs,
    );
  },
  fuzzLimitMs,
);
