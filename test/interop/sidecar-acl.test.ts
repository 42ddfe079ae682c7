// Portolan clients beside real ones under servers that deny by default, with TLS and encrypted gossip: each registers
// with the token that it was given, what is refused is refused in the same words, and told once. For PORTOLAN_SERVERS,
// PORTOLAN_SERVER_COUNT and PORTOLAN_PEERS see support/sidecar.ts.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { clusterNeeds } from '../chaos/support/cluster-kind.ts';
import { Cluster, type Member } from '../helpers/cluster.ts';
import { Network } from '../helpers/namespaces.ts';
import { waitUntil } from '../helpers/wait.ts';
import {
  aclSettings,
  agentRules,
  agentToken,
  type CatalogService,
  masterToken,
  pause,
  recoveryLimitMs,
  serverCount,
  serverNames,
  sidecarCases,
  startClientsWithTokens,
  startServersWithTokens,
  syncLimitMs,
  withToken,
} from './support/sidecar.ts';

const webToken = '00000000-0000-4000-8000-000000000003';
const asMaster = withToken(masterToken);
const asWeb = withToken(webToken);
/** Refusals are told at once; a repetition would come with the next partial sync (ms). */
const quietMs = 10_000;

const needs = clusterNeeds('interop: sidecar-acl');

describe.skipIf(needs === undefined).each(sidecarCases)(
  '$clients clients with ACLs, TLS and encryption under $servers servers',
  (kinds) => {
    let cluster: Cluster;

    beforeEach(({ onTestFailed }) => onTestFailed(() => cluster?.keepLogs()));

    beforeAll(async () => {
      const network = new Network();
      const consul = (...words: readonly string[]): string =>
        execFileSync(needs!.consul, words, { cwd: network.directory, encoding: 'utf8' });
      consul('tls', 'ca', 'create');
      consul('tls', 'cert', 'create', '-server', '-dc=dc1');
      consul('tls', 'cert', 'create', '-client', '-dc=dc1');
      const tls = (role: string): Readonly<Record<string, string>> => ({
        ca_file: join(network.directory, 'consul-agent-ca.pem'),
        cert_file: join(network.directory, `dc1-${role}-consul-0.pem`),
        key_file: join(network.directory, `dc1-${role}-consul-0-key.pem`),
      });
      cluster = new Cluster({
        network,
        consul: needs!.consul,
        config: {
          encrypt: consul('keygen').trim(),
          verify_incoming: true,
          verify_outgoing: true,
          verify_server_hostname: true,
          acl: aclSettings(false),
          ...tls('client'),
        },
        serverConfig: {
          bootstrap_expect: serverCount,
          acl: aclSettings(true),
          ...tls('server'),
        },
      });
      for (const name of serverNames) cluster.add({ name, kind: kinds.servers, server: true });
      const webRules = 'service "web" { policy = "write" } node_prefix "" { policy = "read" }';
      await startServersWithTokens(cluster, [
        { name: 'agents', secret: agentToken, rules: agentRules },
        { name: 'web', secret: webToken, rules: webRules },
      ]);
      // A file's definition is not vetted when it is read: the servers refuse it.
      const config = { services: [{ name: 'forbidden', port: 1, token: webToken }] };
      cluster.add({ name: 'p1', kind: kinds.clients, server: false, config });
      cluster.add({ name: 'r1', kind: 'consul', server: false, config });
      await startClientsWithTokens(cluster);
    });

    afterAll(async () => {
      await cluster?.close();
    });

    test('each registers with the token that it was given', async () => {
      for (const client of cluster.clients) {
        await client.put('/v1/agent/service/register', { Name: 'web', Port: 80 }, asWeb);
        await waitUntil(
          () => `web of ${client.name}\n${client.logTail}`,
          async () => {
            const found = await cluster.servers[0]!.get<CatalogService[]>('/v1/catalog/service/web', asMaster);
            return found.some(({ Node }) => Node === client.name);
          },
          syncLimitMs,
        );
      }
    });

    test.each([
      ['GET', '/v1/kv/secret', ''],
      ['PUT', '/v1/kv/secret', ''],
      ['PUT', '/v1/kv/secret', masterToken],
      ['GET', '/v1/kv/secret', webToken],
      ['GET', '/v1/agent/self', ''],
      ['GET', '/v1/agent/self', agentToken],
      ['GET', '/v1/agent/members', ''],
      ['GET', '/v1/catalog/services', ''],
      ['GET', '/v1/catalog/services', webToken],
      ['GET', '/v1/health/service/web', ''],
      ['GET', '/v1/catalog/nodes', 'ffffffff-0000-4000-8000-000000000000'],
      ['PUT', '/v1/agent/service/deregister/web', ''],
      ['PUT', '/v1/event/fire/any', ''],
      ['GET', '/v1/acl/token/self', webToken],
    ])('%s %s with token "%s" is answered alike', async (method, path, token) => {
      const [ours, real] = await Promise.all(
        cluster.clients.map(async (client) => {
          const { status, text } = await client.request(method, path, {
            ...withToken(token),
            ...(method === 'PUT' ? { body: 'x' } : {}),
          });
          // One more for each server that passes it on.
          const plain = text.replaceAll(/(rpc error making call: ){1,2}/g, '$1');
          return { status, text: status === 200 ? '' : plain };
        }),
      );
      expect(ours).toEqual(real);
    });

    test('what the servers refuse is told once, and not again at every change', async () => {
      const [p1, r1] = cluster.clients as [Member, Member];
      const refusals = (client: Member): readonly string[] =>
        client.log
          .split('\n')
          .filter((text) => /\[WARN\].*Service registration blocked by ACLs: service=forbidden/.test(text));
      for (const client of [p1, r1]) {
        await waitUntil(
          () => `the refusal\n${client.logTail}`,
          () => refusals(client).length > 0,
          recoveryLimitMs,
        );
      }
      const before = refusals(p1).length;
      for (let change = 0; change < 5; change++) {
        await p1.put('/v1/agent/service/register', { Name: 'web', Port: 80 + change }, asWeb);
        await pause(quietMs / 5);
      }
      expect(refusals(p1)).toHaveLength(before);
      expect(before).toBe(1);
      expect(await cluster.servers[0]!.get('/v1/catalog/service/forbidden', asMaster)).toEqual([]);
    });
  },
);
