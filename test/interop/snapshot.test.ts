// A snapshot of the real Consul 1.8.7 becomes our state, that state an archive of ours, and another real Consul restores
// that archive: afterwards both answer the same to everything that was put into the first.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { decodeMsgpack, MsgpackStream, type MsgpackValue, TarReader, writeTar } from '../../src/codec/index.ts';
import { SnapshotRestore, StateStore, writeSnapshot } from '../../src/state/index.ts';
import { AgentProcess } from '../helpers/agent-process.ts';
import { waitUntil } from '../helpers/wait.ts';
import { differing } from '../unit/model/wire/differing.ts';
import { describeWith, realConsul } from './support/clients.ts';

const run = promisify(execFile);
const token = '11111111-2222-4333-8444-555555555555';
const nodeId = '0000005b-0000-4000-8000-000000000091';

function realAgent(program: string, port: number): AgentProcess {
  return new AgentProcess({
    program,
    ports: { http: port, dns: port + 1 },
    args: [
      `-server-port=${port + 2}`,
      `-serf-lan-port=${port + 3}`,
      `-serf-wan-port=${port + 4}`,
      '-node=real',
      `-node-id=${nodeId}`,
      '-bind=127.0.0.1',
      '-hcl=disable_update_check = true',
      `-hcl=acl { enabled = true default_policy = "allow" tokens { master = "${token}" } }`,
    ],
  });
}

async function call(
  port: number,
  method: string,
  path: string,
  body?: string | Uint8Array<ArrayBuffer>,
): Promise<Response> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { 'X-Consul-Token': token },
    ...(body === undefined ? {} : { body }),
  }).catch((error: unknown) => {
    throw new Error(`${method} ${path}: ${String(error)}`, { cause: error });
  });
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response;
}

const putJson = async (port: number, path: string, body: unknown): Promise<unknown> => {
  const text = await (await call(port, 'PUT', path, JSON.stringify(body))).text();
  return text === '' ? undefined : (JSON.parse(text) as unknown);
};

/** Something of everything that a server keeps. */
async function fill(port: number): Promise<void> {
  const check = { Node: 'n1', CheckID: 'alive', Name: 'Alive', Status: 'passing', Output: 'größer' };
  await putJson(port, '/v1/catalog/register', {
    Node: 'n1',
    ID: '0000000a-0000-4000-8000-00000000000a',
    Address: '192.0.2.1',
    TaggedAddresses: { wan: '198.51.100.1' },
    NodeMeta: { rack: 'ü7' },
    Check: check,
  });
  const services = [
    {
      ID: 'web-1',
      Service: 'web',
      Port: 80,
      Tags: ['v1', 'blue'],
      Meta: { a: 'b' },
      Weights: { Passing: 7, Warning: 2 },
    },
    { ID: 'web-2', Service: 'web', Port: 81, EnableTagOverride: true, Connect: { Native: true } },
    {
      ID: 'web-proxy',
      Service: 'web-proxy',
      Kind: 'connect-proxy',
      Port: 20000,
      TaggedAddresses: { lan: { Address: '192.0.2.9', Port: 1 } },
      Proxy: {
        DestinationServiceName: 'web',
        DestinationServiceID: 'web-1',
        LocalServicePort: 80,
        Config: { protocol: 'http', limit: 5, deep: { list: [1, 'two', true] } },
        Upstreams: [{ DestinationName: 'db', LocalBindPort: 9191, Config: { x: 1.5 } }],
        MeshGateway: { Mode: 'local' },
        Expose: { Paths: [{ Path: '/health', LocalPathPort: 80, ListenerPort: 21000, Protocol: 'http' }] },
      },
    },
    { ID: 'ig', Service: 'ig', Kind: 'ingress-gateway', Port: 8888 },
    { ID: 'tg', Service: 'tg', Kind: 'terminating-gateway', Port: 8443 },
  ];
  for (const Service of services) {
    await putJson(port, '/v1/catalog/register', { Node: 'n1', Address: '192.0.2.1', SkipNodeUpdate: true, Service });
  }
  await putJson(port, '/v1/catalog/register', {
    Node: 'n1',
    Address: '192.0.2.1',
    SkipNodeUpdate: true,
    Check: {
      Node: 'n1',
      CheckID: 'http',
      Name: 'HTTP',
      ServiceID: 'web-1',
      Status: 'warning',
      Definition: { HTTP: 'http://127.0.0.1', Interval: '10s', Timeout: '1s', Header: { 'X-A': ['1', '2'] } },
    },
  });
  const { ID: session } = (await putJson(port, '/v1/session/create', {
    Node: 'n1',
    Name: 'holder',
    NodeChecks: ['alive'],
    TTL: '3600s',
    LockDelay: '20s',
    Behavior: 'delete',
  })) as { readonly ID: string };
  await call(port, 'PUT', '/v1/kv/a/b?flags=18446744073709551615', 'text');
  await call(port, 'PUT', '/v1/kv/a/binary', Uint8Array.from([0, 1, 254, 255]));
  await call(port, 'PUT', '/v1/kv/empty');
  await call(port, 'PUT', `/v1/kv/locked?acquire=${session}`, 'mine');
  await call(port, 'PUT', '/v1/kv/%FFbytes', 'x');
  await call(port, 'PUT', '/v1/kv/gone', 'x');
  await call(port, 'DELETE', '/v1/kv/gone');
  await call(port, 'PUT', '/v1/kv/large', 'y'.repeat(500_000));
  await call(
    port,
    'POST',
    '/v1/query',
    JSON.stringify({
      Name: 'near-web',
      Session: session,
      Service: {
        Service: 'web',
        Tags: ['v1', '!green'],
        OnlyPassing: true,
        Failover: { NearestN: 2, Datacenters: ['dc2'] },
      },
      DNS: { TTL: '10s' },
    }),
  );
  await call(
    port,
    'POST',
    '/v1/query',
    JSON.stringify({
      Name: 'geo-',
      Template: { Type: 'name_prefix_match', Regexp: '^geo-(.*)$', RemoveEmptyTags: true },
      // eslint-disable-next-line no-template-curly-in-string
      Service: { Service: '${match(1)}' },
    }),
  );
  await call(
    port,
    'POST',
    '/v1/connect/intentions',
    JSON.stringify({
      SourceName: 'web',
      DestinationName: 'db',
      Action: 'allow',
      Description: 'why',
      Meta: { k: 'v' },
    }),
  );
  const entries: readonly unknown[] = [
    { Kind: 'proxy-defaults', Name: 'global', Config: { protocol: 'http', n: 1 }, MeshGateway: { Mode: 'remote' } },
    { Kind: 'service-defaults', Name: 'web', Protocol: 'http', Expose: { Checks: true }, Meta: { m: 'n' } },
    {
      Kind: 'service-resolver',
      Name: 'web',
      DefaultSubset: 'v1',
      Subsets: { v1: { Filter: 'Service.Meta.v == 1' } },
      ConnectTimeout: '15s',
    },
    {
      Kind: 'service-splitter',
      Name: 'web',
      Splits: [
        { Weight: 33.33, ServiceSubset: 'v1' },
        { Weight: 66.67, Service: 'api' },
      ],
    },
    {
      Kind: 'service-router',
      Name: 'web',
      Routes: [
        {
          Match: { HTTP: { PathPrefix: '/a', Methods: ['GET'] } },
          Destination: { Service: 'api', NumRetries: 3, RetryOnStatusCodes: [503] },
        },
      ],
    },
    {
      Kind: 'ingress-gateway',
      Name: 'ig',
      TLS: { Enabled: true },
      Listeners: [{ Port: 8888, Protocol: 'http', Services: [{ Name: 'web', Hosts: ['a.b'] }] }],
    },
    { Kind: 'terminating-gateway', Name: 'tg', Services: [{ Name: 'api', CAFile: '/ca' }] },
  ];
  for (const entry of entries) await putJson(port, '/v1/config', entry);
  const { ID: policy } = (await putJson(port, '/v1/acl/policy', {
    Name: 'reader',
    Rules: 'key_prefix "" { policy = "read" }',
    Datacenters: ['dc1'],
  })) as { readonly ID: string };
  await putJson(port, '/v1/acl/role', {
    Name: 'role',
    Policies: [{ ID: policy }],
    ServiceIdentities: [{ ServiceName: 'web' }],
  });
  await putJson(port, '/v1/acl/token', {
    AccessorID: '22222222-2222-4333-8444-555555555555',
    SecretID: '33333333-2222-4333-8444-555555555555',
    Description: 'a token',
    Policies: [{ ID: policy }],
    Roles: [{ Name: 'role' }],
    NodeIdentities: [{ NodeName: 'n1', Datacenter: 'dc1' }],
    ExpirationTTL: '10h',
    Local: true,
  });
  await call(
    port,
    'PUT',
    '/v1/operator/autopilot/configuration',
    JSON.stringify({ MaxTrailingLogs: 333, LastContactThreshold: '250ms' }),
  );
}

/** Everything above, as it is read. */
const questions: readonly string[] = [
  '/v1/kv/?recurse',
  '/v1/kv/?keys',
  '/v1/catalog/node/n1',
  '/v1/catalog/node-services/n1',
  '/v1/catalog/service/web',
  '/v1/catalog/connect/web',
  '/v1/catalog/gateway-services/ig',
  '/v1/catalog/gateway-services/tg',
  '/v1/health/node/n1',
  '/v1/health/service/web',
  '/v1/health/connect/web',
  '/v1/health/ingress/web',
  '/v1/session/list',
  '/v1/session/node/n1',
  '/v1/query',
  '/v1/query/near-web/explain',
  '/v1/query/geo-web/explain',
  '/v1/connect/intentions',
  '/v1/config/proxy-defaults',
  '/v1/config/service-defaults',
  '/v1/config/service-resolver',
  '/v1/config/service-splitter',
  '/v1/config/service-router',
  '/v1/config/ingress-gateway',
  '/v1/config/terminating-gateway',
  '/v1/discovery-chain/web',
  '/v1/acl/policies',
  '/v1/acl/roles',
  '/v1/acl/tokens',
  '/v1/acl/token/22222222-2222-4333-8444-555555555555',
  '/v1/connect/ca/roots',
  '/v1/connect/ca/configuration',
  '/v1/operator/autopilot/configuration',
];

async function answersOf(port: number): Promise<Readonly<Record<string, unknown>>> {
  const answers: Record<string, unknown> = {};
  for (const path of questions) answers[path] = await (await call(port, 'GET', path)).json();
  return answers;
}

interface Archive {
  readonly meta: Readonly<Record<string, unknown>>;
  readonly state: Buffer;
}

function readArchive(bytes: Uint8Array): Archive {
  const files = new Map<string, Uint8Array[]>();
  let current: Uint8Array[] = [];
  const reader = new TarReader({
    onFile: (name) => files.set(name, (current = [])),
    onData: (chunk) => current.push(Buffer.from(chunk)),
  });
  reader.push(gunzipSync(bytes));
  reader.end();
  const content = (name: string): Buffer => Buffer.concat(files.get(name) ?? []);
  return { meta: JSON.parse(content('meta.json').toString()) as Archive['meta'], state: content('state.bin') };
}

function makeArchive(meta: Archive['meta'], state: Uint8Array): Buffer {
  const metaJson = Buffer.from(`${JSON.stringify({ ...meta, Size: state.length })}\n`);
  const sum = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  const sums = Buffer.from(`${sum(metaJson)}  meta.json\n${sum(state)}  state.bin\n`);
  const file = (name: string, content: Uint8Array): { name: string; content: Uint8Array; mtime: number } => ({
    name,
    content,
    mtime: 0,
  });
  return gzipSync(writeTar([file('meta.json', metaJson), file('state.bin', state), file('SHA256SUMS', sums)]));
}

function recordsOf(state: Uint8Array): readonly (readonly [type: number, value: MsgpackValue])[] {
  const stream = new MsgpackStream(2 ** 30);
  stream.push(state);
  const records: (readonly [number, MsgpackValue])[] = [[-1, decodeMsgpack(stream.next()!)]];
  for (let type = stream.next(); type !== undefined; type = stream.next()) {
    records.push([type[0]!, decodeMsgpack(stream.next()!)]);
  }
  return records;
}

describeWith('a snapshot that travels', { consul: realConsul() }, ({ consul }) => {
  const [first, second] = [18610, 18620];
  const agents = { first: realAgent(consul, first), second: realAgent(consul, second) };
  const folder = mkdtempSync(join(tmpdir(), 'portolan-snapshot-'));
  const cli = (port: number, ...words: readonly string[]): Promise<{ readonly stdout: string }> =>
    run(consul, [...words], {
      env: { ...process.env, CONSUL_HTTP_ADDR: `127.0.0.1:${port}`, CONSUL_HTTP_TOKEN: token },
    });
  let before: Readonly<Record<string, unknown>>;
  let archive: Archive;
  let ours: Buffer;

  beforeAll(async () => {
    await agents.first.start();
    await waitUntil('ACLs and the authority', async () => {
      const roots = await call(first, 'GET', '/v1/connect/ca/roots').catch(() => undefined);
      return roots?.ok === true && ((await roots.json()) as { Roots: unknown[] | null }).Roots !== null;
    });
    // A leader writes it some time after its election.
    await waitUntil('the state of the federation', async () => {
      const states = await call(first, 'GET', '/v1/internal/federation-states').catch(() => undefined);
      return states?.ok === true && ((await states.json()) as readonly unknown[] | null)?.length === 1;
    });
    await fill(first);
    before = await answersOf(first);
    const file = join(folder, 'real.snap');
    await cli(first, 'snapshot', 'save', file);
    archive = readArchive(readFileSync(file));
    const restore = new SnapshotRestore();
    restore.push(archive.state);
    const { tables, lastIndex } = restore.finish();
    const store = new StateStore();
    store.replace(tables, lastIndex);
    ours = Buffer.concat([...writeSnapshot(store.snapshot())]);
  });
  afterAll(async () => {
    await Promise.all([agents.first.close(), agents.second.close()]);
    rmSync(folder, { recursive: true, force: true });
  });

  test('says the same after it has been our state', () => {
    const [real, mine] = [recordsOf(archive.state), recordsOf(ours)];
    expect(mine.map(([type]) => type)).toEqual(real.map(([type]) => type));
    const differences = real.flatMap(([type, value], i) =>
      [...differing(value, mine[i]?.[1])].map((path) => `${type} ${path}`),
    );
    expect(differences).toEqual([]);
    expect(new Set(real.map(([type]) => type)).size).toBeGreaterThan(17);
  });

  test('is restored from our archive by a real server, which then answers as the first one did', async () => {
    await agents.second.start();
    const file = join(folder, 'ours.snap');
    writeFileSync(file, makeArchive(archive.meta, ours));
    expect((await cli(second, 'snapshot', 'inspect', file)).stdout).toContain(String(archive.meta['ID']));
    expect((await cli(second, 'snapshot', 'restore', file)).stdout).toContain('Restored snapshot');
    await waitUntil(
      'the restored server',
      async () => (await call(second, 'GET', '/v1/kv/a/b').catch(() => undefined))?.ok === true,
    );
    const after = await answersOf(second);
    for (const path of questions) expect([path, after[path]]).toEqual([path, before[path]]);
  });
});
