// A Portolan client and a real one side by side under the same servers, with the same services, checks, users and
// tokens: the servers are asked as often by either, method by method. PORTOLAN_SIDE_BY_SIDE_S lengthens the run, the
// timers that can be set are short, so that a quarter of an hour has as many checks, late outputs and expired tokens as
// a day. For PORTOLAN_SERVERS, PORTOLAN_SERVER_COUNT and PORTOLAN_PEERS see support/sidecar.ts.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { clusterNeeds } from '../chaos/support/cluster-kind.ts';
import { Cluster, type Member } from '../helpers/cluster.ts';
import { Network } from '../helpers/namespaces.ts';
import { RpcCounter } from '../helpers/rpc-counter.ts';
import { countFrom } from '../helpers/settings.ts';
import {
  aclSettings,
  agentRules,
  agentToken,
  pause,
  serverCount,
  serverNames,
  sidecarCases,
  startClientsWithTokens,
  startServersWithTokens,
  Watch,
  withToken,
} from './support/sidecar.ts';

const sideBySideS = countFrom('PORTOLAN_SIDE_BY_SIDE_S', 20);
/** Between two rounds of the same requests to both (ms). */
const roundMs = 500;
/** How far the calls of one method may be apart … */
const callsApartShare = 0.1;
/** … and how many calls are no difference: each has timers of its own, whose last turn one has had and the other not. */
const callsApartMax = 3;

const userToken = '00000000-0000-4000-8000-000000000003';
const asUser = withToken(userToken);
const userRules = ['key', 'service', 'node', 'agent', 'session', 'event', 'query']
  .map((resource) => `${resource}_prefix "" { policy = "write" }`)
  .join(' ');

type Counts = Readonly<Record<string, number>>;

const needs = clusterNeeds('interop: sidecar-calls');

describe.skipIf(needs === undefined).each(sidecarCases)(
  '$clients client beside a real one, under $servers servers',
  (kinds) => {
    const counters: RpcCounter[] = [];
    let cluster: Cluster;

    beforeEach(({ onTestFailed }) => onTestFailed(() => cluster?.keepLogs()));

    beforeAll(async () => {
      cluster = new Cluster({
        network: new Network(),
        consul: needs!.consul,
        config: {
          enable_script_checks: true,
          // A leader that is slow to answer is none that is gone: an election would be seen by the one that asks.
          performance: { raft_multiplier: 5 },
          // Below the interval of the checks whose output changes: each output is sent, late.
          check_update_interval: '1s',
          // A token expires between two rounds, never at the same time as one.
          acl: { ...aclSettings(false), token_ttl: '1750ms', policy_ttl: '1750ms', role_ttl: '1750ms' },
        },
        serverConfig: { bootstrap_expect: serverCount, acl: aclSettings(true) },
      });
      for (const name of serverNames) cluster.add({ name, kind: kinds.servers, server: true });
      await startServersWithTokens(cluster, [
        { name: 'agents', secret: agentToken, rules: agentRules },
        { name: 'users', secret: userToken, rules: userRules },
      ]);
      for (const { name, kind } of [
        { name: 'p1', kind: kinds.clients },
        { name: 'r1', kind: 'consul' },
      ] as const) {
        const counter = new RpcCounter();
        counters.push(counter);
        await counter.watch(cluster, cluster.add({ name, kind, server: false }));
      }
      await startClientsWithTokens(cluster);
    });

    afterAll(async () => {
      await cluster?.close();
      for (const counter of counters) counter.close();
    });

    const register = (client: Member, service: object): Promise<void> =>
      client.put('/v1/agent/service/register', service, asUser);

    const same = { Name: 'same', Port: 1, Check: { CheckID: 'alive', TTL: '1h', Status: 'passing' } };

    /** What users ask of an agent all the time, and now and then. */
    const ask = async (client: Member, round: number): Promise<void> => {
      await client.put(`/v1/kv/busy/${client.name}`, String(round), asUser);
      await client.request('GET', '/v1/kv/busy/none', asUser);
      await client.get('/v1/health/service/busy-1?passing', asUser);
      await client.get('/v1/health/service/busy-1?cached', asUser);
      await client.get('/v1/catalog/nodes?stale', asUser);
      await client.get('/v1/agent/services', asUser);
      await client.get('/v1/agent/checks', asUser);
      await client.get('/v1/agent/self', asUser);
      await client.get('/v1/event/list', asUser);
      await client.dns('busy-2.service.consul', 'SRV');
      await client.put(`/v1/agent/check/pass/alive?note=${Math.floor(round / 10)}`, undefined, asUser);
      if (round % 10 === 0) await register(client, { Name: 'turns', Tags: [String(round)] });
      // When no output waits to be sent: the real one would send it once more after the registration that carries it.
      if (round % 10 === 5) await register(client, same);
      if (round % 20 === 0) {
        await client.put('/v1/event/fire/busy', 'x', asUser);
        await client.put('/v1/agent/check/fail/alive', undefined, asUser);
        await client.put('/v1/agent/service/deregister/turns', undefined, asUser);
        const { ID } = await client.put<{ ID: string }>('/v1/session/create', {}, asUser);
        await client.put(`/v1/session/renew/${ID}`, undefined, asUser);
        await client.put(`/v1/session/destroy/${ID}`, undefined, asUser);
      }
    };

    test(
      `the servers are asked as often as by a real client (${sideBySideS} s)`,
      { timeout: (sideBySideS + 120) * 1000 },
      async () => {
        const pair = cluster.clients;
        for (const client of pair) {
          await register(client, same);
          await register(client, { Name: 'override', EnableTagOverride: true });
          for (let number = 0; number < 5; number++) {
            await register(client, {
              Name: `busy-${number}`,
              ID: `busy-${client.name}-${number}`,
              Port: 80 + number,
              Checks: [
                { Name: 'tcp', TCP: '127.0.0.1:8500', Interval: '1s' },
                { Name: 'output', Args: ['date', '+%s'], Interval: '3s' },
              ],
            });
          }
        }
        const watches = pair.flatMap((client) =>
          ['/v1/health/service/busy-0', '/v1/kv/busy?recurse', '/v1/catalog/services'].map(
            (path) => new Watch(client, path, userToken),
          ),
        );
        // First outputs are sent at once.
        await pause(5_000);
        for (const counter of counters) counter.reset();
        const startMs = performance.now();
        for (let round = 0; performance.now() - startMs < sideBySideS * 1_000; round++) {
          for (const client of pair) await ask(client, round);
          await pause(Math.max(0, startMs + (round + 1) * roundMs - performance.now()));
        }
        const [ours, real] = counters.map(({ counts }) => counts) as [Counts, Counts];
        for (const watch of watches) watch.close();
        const methods = [...new Set([...Object.keys(ours), ...Object.keys(real)])].toSorted();
        const lines = methods.map((method) => `${method}: ${ours[method] ?? 0}, a real client: ${real[method] ?? 0}`);
        console.log(`sidecar: calls in ${sideBySideS} s under ${kinds.servers} servers\n  ${lines.join('\n  ')}`);
        const apart = lines.filter((_, at) => {
          const [our = 0, their = 0] = [ours[methods[at]!], real[methods[at]!]];
          return Math.abs(our - their) > Math.max(callsApartMax, their * callsApartShare);
        });
        expect(apart).toEqual([]);
        // Everything was seen.
        for (const method of [
          'Catalog.Register',
          'Catalog.Deregister',
          'Health.ServiceNodes',
          'KVS.Apply',
          'ACL.TokenRead',
        ]) {
          expect(real[method], method).toBeGreaterThan(0);
        }
      },
    );
  },
);
