// The real Consul server answers our side of port 8300: single connections, multiplexed ones, blocking queries, errors,
// snapshots, and TLS in each of its modes.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MsgpackWriter, Shape } from '../../src/codec/index.ts';
import { callShapes, serverCallShapes } from '../../src/model/wire/index.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { TcpNetwork } from '../../src/node/tcp-network.ts';
import { createTlsClient, createTlsServer } from '../../src/node/tls-streams.ts';
import {
  callOnce,
  createRpcClient,
  createRpcDialer,
  createRpcServer,
  requestSnapshot,
  RpcAcceptor,
  RpcError,
  RpcPool,
  type RpcServerAddress,
  selectors,
  snapshotOps,
  YamuxSession,
} from '../../src/rpc/index.ts';
import { silentLogger } from '../helpers/logger.ts';
import { waitUntil } from '../helpers/wait.ts';
import { describeWith, realConsul } from './support/clients.ts';
import { Program } from './support/program.ts';
import { RealCluster } from './support/real-cluster.ts';

const clock = new SystemClock();
const network = new TcpNetwork();
const dial = createRpcDialer({ network, tls: null });
/** Names no method of a server. */
const raw: Shape<unknown> = {
  write: (writer: MsgpackWriter) => writer.mapHeader(0),
  read: (reader) => reader.skip(),
  zero: null,
};
const shapes = {
  ...callShapes,
  ...serverCallShapes,
  'Status.Nonsense': { request: raw, reply: raw },
  'Nonsense.Ping': { request: raw, reply: raw },
  Nonsense: { request: raw, reply: raw },
};
const local = { Datacenter: 'dc1' } as const;

describeWith('a real server', { consul: realConsul() }, ({ consul }) => {
  const server: RpcServerAddress = { name: 'real', datacenter: 'dc1', address: '127.0.0.81', port: 23_300 };
  const directory = mkdtempSync(join(tmpdir(), 'portolan-rpc-'));
  let program: Program;
  const pool = new RpcPool({ clock, dial });
  const client = createRpcClient({ pool, shapes, clock });

  beforeAll(async () => {
    const config = join(directory, 'server.json');
    writeFileSync(
      config,
      JSON.stringify({
        ports: { server: server.port, http: 23_301, dns: -1, serf_lan: 23_302, serf_wan: 23_303, grpc: -1 },
      }),
    );
    const flags = ['agent', '-dev', `-bind=${server.address}`, `-client=${server.address}`, `-config-file=${config}`];
    program = new Program({ path: consul, env: process.env }, flags, directory);
    await waitUntil(
      () => `a leader: ${program.log}`,
      () => client.call(server, 'Status.Leader', local).then(Boolean, () => false),
    );
  });

  afterAll(async () => {
    pool.close();
    await program.close();
    rmSync(directory, { recursive: true, force: true });
  });

  test('answers Status calls', async () => {
    const leader = `${server.address}:${server.port}`;
    expect(await client.call(server, 'Status.Ping', {})).toBeNull();
    expect(await client.call(server, 'Status.Leader', local)).toBe(leader);
    expect(await client.call(server, 'Status.Peers', local)).toEqual([leader]);
  });

  test('answers without multiplexing too', async () => {
    const stream = await dial(server, selectors.rpc);
    const method = { name: 'Status.Peers', ...callShapes['Status.Peers'] };
    expect(await callOnce(stream, method, local, { clock })).toEqual([`${server.address}:${server.port}`]);
  });

  test('takes a registration and lists it', async () => {
    await client.call(server, 'Catalog.Register', {
      ...local,
      Node: 'outside',
      Address: '10.0.0.1',
      Service: { Service: 'web', ID: 'web-1', Port: 80, Tags: ['a', 'b'] },
    } as never);
    // Just elected, the leader may not have registered itself yet.
    const reply = await waitUntil('both services', async () => {
      const listed = await client.call(server, 'Catalog.ListServices', local);
      return Object.keys(listed.Services).length === 2 ? listed : undefined;
    });
    expect(Object.keys(reply.Services).toSorted()).toEqual(['consul', 'web']);
    expect(reply.Services['web']!.toSorted()).toEqual(['a', 'b']);
    expect(reply.Index).toBeGreaterThan(0);
    expect(reply.KnownLeader).toBe(true);
  });

  test('keeps bytes and 64 bits of flags exactly', async () => {
    const pair = { Key: 'b\xff\xfe/key', Flags: 2n ** 64n - 1n, Value: Uint8Array.of(0, 1, 0xff) };
    const applied = await client.call(server, 'KVS.Apply', { ...local, Op: 'set', DirEnt: pair } as never);
    expect(applied).toBe(false);
    const { Entries } = await client.call(server, 'KVS.Get', { ...local, Key: pair.Key });
    expect(Entries).toMatchObject([pair]);
  });

  test('carries values larger than the window both ways', async () => {
    const Value = new Uint8Array(400_000).map((_, at) => at % 251);
    const DirEnt = { Key: 'large', Flags: 0n, Value };
    await client.call(server, 'KVS.Apply', { ...local, Op: 'set', DirEnt } as never);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => client.call(server, 'KVS.Get', { ...local, Key: 'large' })),
    );
    for (const { Entries } of answers) expect(Buffer.compare(Entries![0]!.Value!, Value)).toBe(0);
    expect(pool.size).toBe(1);
  });

  test('holds a blocking query until the write, while other calls pass', async () => {
    const key = { ...local, Key: 'watched' };
    const before = await client.call(server, 'KVS.Get', key);
    const waits = { ...key, MinQueryIndex: before.Index, MaxQueryTime: 30e9 };
    const blocked = client.call(server, 'KVS.Get', waits);
    for (let i = 0; i < 5; i++) await client.call(server, 'Status.Ping', {});
    const DirEnt = { Key: 'watched', Flags: 0n, Value: Uint8Array.of(1) };
    await client.call(server, 'KVS.Apply', { ...local, Op: 'set', DirEnt } as never);
    const after = await blocked;
    expect(after.Index).toBeGreaterThan(before.Index);
    expect(after.Entries).toHaveLength(1);
  });

  test('forgets a blocking query that its caller gave up', async () => {
    const { Index } = await client.call(server, 'Catalog.ListNodes', local);
    const abort = new AbortController();
    const waits = { ...local, MinQueryIndex: Index + 1_000_000, MaxQueryTime: 60e9 };
    const blocked = client.call(server, 'Catalog.ListNodes', waits, { signal: abort.signal });
    const limited = client.call(server, 'Catalog.ListNodes', waits, { timeoutMs: 100 });
    await expect(limited).rejects.toMatchObject({ kind: 'timeout' });
    abort.abort(new Error('enough'));
    await expect(blocked).rejects.toMatchObject({ kind: 'aborted', message: 'rpc error making call: enough' });
    expect(await client.call(server, 'Status.Ping', {})).toBeNull();
    expect(pool.size).toBe(1);
  });

  test.each([
    ['Status.Nonsense', "rpc: can't find method Status.Nonsense"],
    ['Nonsense.Ping', "rpc: can't find service Nonsense.Ping"],
    ['Nonsense', 'rpc: service/method request ill-formed: Nonsense'],
  ] as const)('refuses %s, and the connection lives on', async (method, text) => {
    const error = await client.call(server, method, {}).then(
      () => undefined,
      (problem: unknown) => problem,
    );
    expect(error).toBeInstanceOf(RpcError);
    expect(error).toMatchObject({ kind: 'server', message: `rpc error making call: ${text}` });
    expect(await client.call(server, 'Status.Ping', {})).toBeNull();
    expect(pool.size).toBe(1);
  });

  test('tells application errors', async () => {
    const elsewhere = client.call(server, 'Catalog.ListNodes', { Datacenter: 'dc9' });
    await expect(elsewhere).rejects.toThrow('rpc error making call: No path to datacenter');
    await expect(client.call(server, 'Catalog.Deregister', local as never)).rejects.toThrow('Must provide node');
  });

  test('serves hundreds of calls at once over one connection', async () => {
    const calls = Array.from({ length: 500 }, (_, at) =>
      at % 2 === 0 ? client.call(server, 'Catalog.ListServices', local) : client.call(server, 'Status.Leader', local),
    );
    const settled = await Promise.allSettled(calls);
    const failures = settled.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []));
    expect(failures).toEqual([]);
    expect(pool.size).toBe(1);
  });

  test('keeps a session alive in which nothing is asked, by pings', async () => {
    const session = new YamuxSession(await dial(server, selectors.multiplex), { clock, role: 'client' });
    // Opened and closed without a byte: the real server would close the connection for it.
    session.open().end();
    session.open().destroy();
    const quiet = createRpcClient({ pool, shapes, clock });
    await quiet.call(server, 'Status.Ping', {});
    expect(session.closed).toBe(false);
    session.close();
  });

  test('saves a snapshot and restores it', async () => {
    const saved = await requestSnapshot(
      await dial(server, selectors.snapshot),
      { ...local, Op: snapshotOps.save },
      { clock },
    );
    expect(saved.reply.Index).toBeGreaterThan(0);
    const pieces: Uint8Array[] = [];
    for await (const piece of saved.archive) pieces.push(piece);
    const archive = Buffer.concat(pieces);
    expect(archive.subarray(0, 2).toString('hex')).toBe('1f8b');

    const DirEnt = { Key: 'after', Flags: 0n, Value: Uint8Array.of(1) };
    await client.call(server, 'KVS.Apply', { ...local, Op: 'set', DirEnt } as never);
    const half = archive.length >> 1;
    await requestSnapshot(
      await dial(server, selectors.snapshot),
      { ...local, Op: snapshotOps.restore },
      { clock, archive: [archive.subarray(0, half), archive.subarray(half)] },
    );
    expect((await client.call(server, 'KVS.Get', { ...local, Key: 'after' })).Entries).toBeNull();

    const broken = requestSnapshot(
      await dial(server, selectors.snapshot),
      { ...local, Op: snapshotOps.restore },
      { clock, archive: [Buffer.from('no archive')] },
    );
    await expect(broken).rejects.toThrow('failed to decompress snapshot: gzip: invalid header');
  });

  test('says what is wrong when nobody listens', async () => {
    const nobody = { ...server, name: 'nobody', port: 23_399 };
    await expect(client.call(nobody, 'Status.Ping', {})).rejects.toThrow(
      /^rpc error getting client: failed to get conn: dial tcp 127\.0\.0\.81:23399: connect: connection refused$/,
    );
  });
});

/** What a server demands and what a client brings; `works` says whether they get along. */
const modes: readonly {
  readonly name: string;
  readonly server: Readonly<Record<string, boolean>>;
  readonly client: 'plain' | 'no certificate' | 'certificate' | 'foreign certificate';
  readonly checkName?: boolean;
  readonly works: boolean;
}[] = [
  { name: 'plain, where TLS is offered', server: {}, client: 'plain', works: true },
  { name: 'TLS without a certificate', server: {}, client: 'no certificate', works: true },
  { name: 'TLS and the name of the server', server: {}, client: 'no certificate', checkName: true, works: true },
  { name: 'plain, where TLS is demanded', server: { verify_incoming: true }, client: 'plain', works: false },
  { name: 'no certificate, where one is', server: { verify_incoming: true }, client: 'no certificate', works: false },
  { name: 'a foreign certificate', server: { verify_incoming: true }, client: 'foreign certificate', works: false },
  { name: 'the right certificate', server: { verify_incoming: true }, client: 'certificate', works: true },
];

describeWith('a real server with TLS', { consul: realConsul() }, ({ consul }) => {
  const directory = mkdtempSync(join(tmpdir(), 'portolan-rpc-tls-'));
  const authority = tlsFiles(consul, join(directory, 'ours'));
  const stranger = tlsFiles(consul, join(directory, 'theirs'));

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  async function startServer(settings: Readonly<Record<string, boolean>>, port: number): Promise<Program> {
    const config = join(directory, `server-${port}.json`);
    writeFileSync(
      config,
      JSON.stringify({
        ports: { server: port, http: port + 1, dns: -1, serf_lan: port + 2, serf_wan: port + 3, grpc: -1 },
        ca_file: authority.caFile,
        cert_file: authority.serverCertFile,
        key_file: authority.serverKeyFile,
        ...settings,
      }),
    );
    const flags = ['agent', '-dev', '-bind=127.0.0.82', '-client=127.0.0.82', `-config-file=${config}`];
    const program = new Program({ path: consul, env: process.env }, flags, directory);
    const http = `http://127.0.0.82:${port + 1}/v1/status/leader`;
    await waitUntil(
      () => `a leader: ${program.log}`,
      async () => {
        const answer = await fetch(http).catch(() => undefined);
        return (await answer?.text())?.trim() === `"127.0.0.82:${port}"`;
      },
    ).catch(async (error: unknown) => {
      await program.close();
      throw error;
    });
    return program;
  }

  let port = 23_310;

  describe.each([{}, { verify_incoming: true }])('set to %j', (settings) => {
    let program: Program;
    const address: RpcServerAddress = { name: 'tls', datacenter: 'dc1', address: '127.0.0.82', port };
    port += 4;

    beforeAll(async () => {
      program = await startServer(settings, address.port);
    });
    afterAll(() => program.close());

    test.each(modes.filter(({ server }) => JSON.stringify(server) === JSON.stringify(settings)))(
      '$name works: $works',
      async ({ client: kind, checkName, works }) => {
        const none = { ca: authority.ca, cert: '', key: '' };
        const identities = {
          'no certificate': none,
          certificate: { ...none, cert: authority.clientCert, key: authority.clientKey },
          'foreign certificate': { ...none, cert: stranger.clientCert, key: stranger.clientKey },
        };
        const tls =
          kind === 'plain'
            ? null
            : {
                client: createTlsClient({ identity: () => identities[kind] }),
                verify: true,
                serverName: (datacenter: string) => (checkName === true ? `server.${datacenter}.consul` : null),
              };
        const dialer = createRpcDialer({ network, tls });
        const pool = new RpcPool({ clock, dial: dialer });
        const client = createRpcClient({ pool, shapes, clock });
        const call = client.call(address, 'Status.Leader', local, { timeoutMs: 20_000 });
        if (!works) await expect(call).rejects.toBeInstanceOf(RpcError);
        else {
          expect(await call).toBe(`127.0.0.82:${address.port}`);
          // A snapshot needs one half of the TLS connection to end before the other.
          const saved = await requestSnapshot(
            await dialer(address, selectors.snapshot),
            { ...local, Op: snapshotOps.save },
            { clock },
          );
          let bytes = 0;
          for await (const piece of saved.archive) bytes += piece.length;
          expect(bytes).toBeGreaterThan(1_000);
        }
        pool.close();
      },
    );

    test('another authority or another name is refused by us', async () => {
      for (const { ca, datacenter } of [
        { ca: stranger.ca, datacenter: 'dc1' },
        { ca: authority.ca, datacenter: 'dc2' },
      ]) {
        const identity = { ca, cert: authority.clientCert, key: authority.clientKey };
        const tls = {
          client: createTlsClient({ identity: () => identity }),
          verify: true,
          serverName: (of: string): string => `server.${of}.consul`,
        };
        const dialer = createRpcDialer({ network, tls });
        await expect(dialer({ ...address, datacenter }, selectors.multiplex)).rejects.toThrow();
      }
    });
  });
});

describeWith('three real servers with TLS', { consul: realConsul() }, ({ consul }) => {
  const directory = mkdtempSync(join(tmpdir(), 'portolan-rpc-follower-'));
  const files = tlsFiles(consul, directory);
  const ports = { server: 23_320, http: 23_321, serfLan: 23_322, serfWan: 23_323, dns: 23_324 };
  const cluster = new RealCluster(consul, ports, {
    ca_file: files.caFile,
    cert_file: files.serverCertFile,
    key_file: files.serverKeyFile,
    verify_incoming: true,
    verify_outgoing: true,
  });

  beforeAll(() => cluster.startServers(['127.0.0.83', '127.0.0.84', '127.0.0.85']), 120_000);
  afterAll(async () => {
    await cluster.close();
    rmSync(directory, { recursive: true, force: true });
  });

  test('save and restore snapshots', { timeout: 60_000 }, async () => {
    const identity = { ca: files.ca, cert: files.clientCert, key: files.clientKey };
    const tls = { client: createTlsClient({ identity: () => identity }), verify: true, serverName: () => null };
    const dialer = createRpcDialer({ network, tls });
    const save = async (server: RpcServerAddress): Promise<readonly Uint8Array[]> => {
      const stream = await dialer(server, selectors.snapshot);
      const { archive } = await requestSnapshot(stream, { ...local, Op: snapshotOps.save }, { clock });
      const pieces: Uint8Array[] = [];
      for await (const piece of archive) pieces.push(piece);
      // Unpacks only what has come to its end.
      expect(gunzipSync(Buffer.concat(pieces)).includes('SHA256SUMS')).toBe(true);
      return pieces;
    };
    const leader = await cluster.leader();
    for (let round = 0; round < 200; round++) await save(leader.server);
    for (const { server } of cluster.members) {
      // Between real servers an answer is lost now and then, for what the one sends at its end the other leaves unread.
      const archive = await waitUntil('a snapshot', () =>
        save(server).catch((error: unknown) => {
          expect(String(error)).toMatch(
            server === leader.server ? /^$/ : /failed to decode response|EOF|unexpected end/,
          );
          return undefined;
        }),
      );
      const stream = await dialer(server, selectors.snapshot);
      await requestSnapshot(stream, { ...local, Op: snapshotOps.restore }, { clock, archive });
    }
  });
});

describeWith('our server with TLS', { consul: realConsul() }, ({ consul }) => {
  const directory = mkdtempSync(join(tmpdir(), 'portolan-rpc-own-'));
  const files = tlsFiles(consul, directory);
  const clientIdentity = { ca: files.ca, cert: files.clientCert, key: files.clientKey };
  const bare = { ca: files.ca, cert: '', key: '' };

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  async function serve(verifyIncoming: boolean) {
    const rpc = createRpcServer({ shapes, handler: async () => 'somewhere:8300', logger: silentLogger });
    const acceptor = new RpcAcceptor({
      clock,
      logger: silentLogger,
      doors: { rpc: (stream) => rpc.serve(stream), insecure: (stream) => rpc.serve(stream) },
      tls: createTlsServer({ identity: () => ({ ca: files.ca, cert: files.serverCert, key: files.serverKey }) }),
      verifyIncoming,
    });
    const listener = await network.listen({ address: '127.0.0.1', port: 0 }, (stream) => acceptor.accept(stream));
    const address: RpcServerAddress = { name: 'ours', datacenter: 'dc1', ...listener.local };
    const close = async (): Promise<void> => {
      acceptor.close();
      await listener.close();
    };
    return { address, close };
  }

  const connector = (identity: typeof bare) => ({
    client: createTlsClient({ identity: () => identity }),
    verify: true,
    serverName: (datacenter: string): string => `server.${datacenter}.consul`,
  });

  test.each([
    { verifyIncoming: false, client: null, works: true },
    { verifyIncoming: false, client: bare, works: true },
    { verifyIncoming: true, client: null, works: false },
    { verifyIncoming: true, client: bare, works: false },
    { verifyIncoming: true, client: clientIdentity, works: true },
  ])('verify_incoming $verifyIncoming: $works', async ({ verifyIncoming, client: identity, works }) => {
    const { address, close } = await serve(verifyIncoming);
    const dialer = createRpcDialer({ network, tls: identity === null ? null : connector(identity) });
    const pool = new RpcPool({ clock, dial: dialer });
    const call = createRpcClient({ pool, shapes, clock }).call(address, 'Status.Leader', local);
    if (works) expect(await call).toBe('somewhere:8300');
    else await expect(call).rejects.toBeInstanceOf(RpcError);
    pool.close();
    await close();
  });

  test('gives a client without a certificate the insecure door, whatever it demands elsewhere', async () => {
    const { address, close } = await serve(true);
    const stream = await createRpcDialer({ network, tls: connector(bare) })(address, selectors.insecure);
    const method = { name: 'Status.Leader', ...callShapes['Status.Leader'] };
    expect(await callOnce(stream, method, local, { clock })).toBe('somewhere:8300');
    await close();
  });

  test('knows by ALPN what a connection carries', async () => {
    const { address, close } = await serve(false);
    const connection = await network.connect(address, { timeoutMs: 5_000 });
    const { client } = connector(clientIdentity);
    const options = { serverName: 'server.dc1.consul', alpn: ['consul/rpc-single'], timeoutMs: 5_000 };
    const method = { name: 'Status.Leader', ...callShapes['Status.Leader'] };
    expect(await callOnce(await client.connect(connection, options), method, local, { clock })).toBe('somewhere:8300');
    await close();
  });
});

/** An authority, a server of dc1 and a client, made by the peer's own tool. */
function tlsFiles(consul: string, directory: string) {
  mkdirSync(directory, { recursive: true });
  for (const args of [
    ['ca', 'create'],
    ['cert', 'create', '-server', '-dc=dc1'],
    ['cert', 'create', '-client', '-dc=dc1'],
  ]) {
    execFileSync(consul, ['tls', ...args], { cwd: directory, stdio: 'pipe' });
  }
  const path = (name: string): string => join(directory, name);
  const read = (name: string): string => readFileSync(path(name), 'utf8');
  return {
    caFile: path('consul-agent-ca.pem'),
    serverCertFile: path('dc1-server-consul-0.pem'),
    serverKeyFile: path('dc1-server-consul-0-key.pem'),
    ca: read('consul-agent-ca.pem'),
    serverCert: read('dc1-server-consul-0.pem'),
    serverKey: read('dc1-server-consul-0-key.pem'),
    clientCert: read('dc1-client-consul-0.pem'),
    clientKey: read('dc1-client-consul-0-key.pem'),
  };
}
