// A client without a certificate gets one from the servers it joins and is one of the datacenter's from then on, with
// real servers and ours, real clients and ours (reference/server-rpc.md §1.8).
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { waitUntil } from '../helpers/wait.ts';
import { describeWith, realConsul } from './support/clients.ts';
import { RealCluster } from './support/real-cluster.ts';

const ports = { server: 24_140, http: 24_141, serfLan: 24_142, serfWan: 24_143, dns: 24_144 };
const serverAddress = '127.0.0.107';
const clientAddress = '127.0.0.108';
const portolan = resolve(import.meta.dirname, '../../dist/portolan.js');
const encrypt = 'pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=';

describeWith('auto_encrypt', { consul: realConsul() }, ({ consul }) => {
  const programs = { real: consul, ours: portolan } as const;
  let directory: string;
  let ca: string;
  let clusters: RealCluster[];

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'portolan-auto-encrypt-'));
    clusters = [];
    const tls = (...words: string[]): void => void execFileSync(consul, ['tls', ...words], { cwd: directory });
    tls('ca', 'create');
    tls('cert', 'create', '-server', '-dc', 'dc1');
    ca = join(directory, 'consul-agent-ca.pem');
  });

  afterEach(async () => {
    for (const cluster of clusters) await cluster.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const start = (kind: keyof typeof programs, settings: Readonly<Record<string, unknown>>): RealCluster => {
    const cluster = new RealCluster(programs[kind], ports, {
      encrypt,
      ca_file: ca,
      verify_outgoing: true,
      verify_server_hostname: true,
      ...settings,
    });
    clusters.push(cluster);
    return cluster;
  };

  test.each([
    ['ours', 'real'],
    ['real', 'ours'],
    ['ours', 'ours'],
  ] as const)(
    'a client (%s) of a server (%s)',
    async (client, server) => {
      const servers = start(server, {
        cert_file: join(directory, 'dc1-server-consul-0.pem'),
        key_file: join(directory, 'dc1-server-consul-0-key.pem'),
        verify_incoming_rpc: true,
        connect: { enabled: true },
        auto_encrypt: { allow_tls: true },
      });
      await servers.startServers([serverAddress]);
      const clients = start(client, {
        auto_encrypt: { tls: true },
        retry_join: [`${serverAddress}:${ports.serfLan}`],
      });
      const { http, program } = await clients.startClient('client', clientAddress);
      // The server takes no connection without a certificate of its authority.
      expect((await fetch(`${http}/v1/kv/key`, { method: 'PUT', body: 'value' })).status).toBe(200);
      await waitUntil(
        () => `the client to be in the catalog: ${program.log.slice(-4_000)}`,
        async () => (await (await fetch(`${http}/v1/catalog/nodes`)).text()).includes('"Node":"client"'),
      );
      const [root] = ((await (await fetch(`${http}/v1/connect/ca/roots`)).json()) as { Roots: { RootCert: string }[] })
        .Roots;
      expect(root?.RootCert).toContain('BEGIN CERTIFICATE');
    },
    120_000,
  );
});
