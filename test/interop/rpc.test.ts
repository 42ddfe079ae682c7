// The real Consul server answers our side of port 8300: single connections, multiplexed ones, blocking queries, errors,
// snapshots, and TLS in each of its modes.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MsgpackWriter, type Shape } from '../../src/codec/index.ts';
import { callShapes, serverCallShapes } from '../../src/model/wire/index.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { TcpNetwork } from '../../src/node/tcp-network.ts';
import {
  callOnce,
  createRpcClient,
  createRpcDialer,
  requestSnapshot,
  RpcError,
  RpcPool,
  type RpcServerAddress,
  selectors,
  snapshotOps,
  YamuxSession,
} from '../../src/rpc/index.ts';
import { waitUntil } from '../helpers/wait.ts';
import { describeWith, realConsul } from './support/clients.ts';
import { Program } from './support/program.ts';

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
    const reply = await client.call(server, 'Catalog.ListServices', local);
    expect(reply.Services).toEqual({ consul: [], web: ['a', 'b'] });
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
