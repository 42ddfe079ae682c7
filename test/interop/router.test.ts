// A client agent's way to servers, against three real servers: named calls, their errors, and what happens to both when
// servers die, freeze and come back.
import { getEventListeners, setMaxListeners } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { NamedCaller } from '../../src/model/index.ts';
import { realRouter, type RoutedWorld } from '../helpers/router.ts';
import { waitUntil } from '../helpers/wait.ts';
import { describeWith, realConsul } from './support/clients.ts';
import { RealCluster, type RealMember } from './support/real-cluster.ts';

const ports = { server: 24_100, http: 24_101, serfLan: 24_102, serfWan: 24_103, dns: 24_104 };
const addresses = ['127.0.0.101', '127.0.0.102', '127.0.0.103'];
const local = { Datacenter: 'dc1' } as const;
/** Longest time in which any call must have ended, whatever happens to servers (ms). */
const callLimitMs = 30_000;

describeWith('three real servers', { consul: realConsul() }, ({ consul }) => {
  const cluster = new RealCluster(consul, ports);
  let world: RoutedWorld;
  let caller: NamedCaller;

  beforeAll(async () => {
    await cluster.startServers(addresses);
    world = realRouter();
    caller = world.router.caller;
    for (const { server } of cluster.members) world.router.addServer(server);
  }, 120_000);

  afterAll(async () => {
    world.close();
    await cluster.close();
  });

  const put = (key: string, text: string): Promise<boolean> =>
    caller.call('KVS.Apply', {
      ...local,
      Op: 'set',
      DirEnt: { Key: key, Flags: 0n, Value: Buffer.from(text) },
    });
  const get = async (key: string): Promise<string | undefined> => {
    const { Entries } = await caller.call('KVS.Get', { ...local, Key: key });
    const value = Entries?.[0]?.Value;
    return value ? Buffer.from(value).toString() : undefined;
  };
  /** Turns to `member` for the next call. */
  const turnTo = (member: RealMember): void => {
    for (const { server } of cluster.members) if (server !== member.server) world.router.removeServer(server);
    world.router.addServer(member.server);
    for (const { server } of cluster.members) world.router.addServer(server);
  };
  const follower = async (): Promise<RealMember> => {
    const leader = await cluster.leader();
    return cluster.members.find((member) => member !== leader)!;
  };
  /** What a call ended in. */
  const outcome = async (call: Promise<unknown>): Promise<string> => {
    const startMs = performance.now();
    const text = await call.then(
      () => 'done',
      (error: unknown) => String(error),
    );
    expect(performance.now() - startMs).toBeLessThan(callLimitMs);
    return text;
  };

  test('writes and reads through any server', async () => {
    for (const member of cluster.members) {
      turnTo(member);
      await put(`through/${member.name}`, member.name);
      expect(await get(`through/${member.name}`)).toBe(member.name);
    }
    const { Keys } = await caller.call('KVS.ListKeys', { ...local, Prefix: 'through/', Seperator: '' });
    expect(Keys).toHaveLength(3);
    expect(await caller.call('Status.Peers', local)).toHaveLength(3);
    expect(world.pool.size).toBeLessThanOrEqual(3);
  });

  test('a blocking query wakes for the write, and ends when it is given up', async () => {
    await put('watched', '1');
    const { Index } = await caller.call('KVS.Get', { ...local, Key: 'watched' });
    const waits = { ...local, Key: 'watched', MinQueryIndex: Index, MaxQueryTime: 60e9 };
    const blocked = caller.call('KVS.Get', waits);
    await put('watched', '2');
    expect((await blocked).Index).toBeGreaterThan(Index);
    const abort = new AbortController();
    const given = caller.call('KVS.Get', { ...waits, MinQueryIndex: Index + 1_000 }, abort.signal);
    abort.abort(new Error('enough'));
    await expect(given).rejects.toThrow(/^enough$/);
  });

  test('nothing stays behind at a signal that many calls share', async () => {
    const { signal } = new AbortController();
    setMaxListeners(50, signal);
    await Promise.all(Array.from({ length: 50 }, () => caller.call('Catalog.ListNodes', local, signal)));
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(world.pool.size).toBeLessThanOrEqual(3);
  });

  test('tells what servers refuse, in their words', async () => {
    await expect(caller.call('Catalog.ListNodes', { Datacenter: 'dc9' })).rejects.toThrow(
      /^rpc error making call: (rpc error making call: )?No path to datacenter$/,
    );
    const unknown = {
      ...local,
      QueryIDOrName: 'nothing',
      Source: { ...local, Node: '' },
      Agent: { ...local, Node: '' },
    };
    await expect(caller.call('PreparedQuery.Execute', unknown as never)).rejects.toThrow(/Query not found$/);
  });

  test('does not let through what would end a server', async () => {
    await expect(caller.call('Coordinate.Update', { ...local, Node: 'x', Coord: null })).rejects.toThrow('Coord');
    const crash = { ...local, Node: 'x', Address: '10.0.0.1', Checks: [null] } as never;
    await expect(caller.call('Catalog.Register', crash)).rejects.toThrow('null');
    await expect(caller.call('Txn.Apply', { ...local, Ops: [null] } as never)).rejects.toThrow('null');
    for (const { program } of cluster.members) expect(program.log).not.toContain('panic');
  });

  test('saves a snapshot through a follower and restores it', async () => {
    turnTo(await follower());
    await put('kept', 'yes');
    const request = { Datacenter: 'dc1', Token: '', AllowStale: false };
    const saved = await world.router.snapshot({ Op: 'save', ...request });
    const pieces: Uint8Array[] = [];
    for await (const piece of saved.archive) pieces.push(piece);
    await put('kept', 'no');
    await world.router.snapshot({ Op: 'restore', ...request }, { archive: pieces });
    expect(await waitUntil('the restored value', () => get('kept').catch(() => undefined))).toBe('yes');
    await expect(
      world.router.snapshot({ Op: 'restore', ...request }, { archive: [Buffer.from('nonsense')] }),
    ).rejects.toThrow('failed to decompress snapshot');
  });

  test('the death of the leader costs no read, and no watch', async () => {
    const leader = await cluster.leader();
    turnTo(await follower());
    await put('during', 'before');
    const { Index } = await caller.call('KVS.Get', { ...local, Key: 'during' });
    const blocked = caller.call('KVS.Get', { ...local, Key: 'during', MinQueryIndex: Index, MaxQueryTime: 120e9 });
    await leader.program.kill();
    const reads = await Promise.all(Array.from({ length: 10 }, () => outcome(get('during'))));
    expect(reads).toEqual(Array.from({ length: 10 }, () => 'done'));
    expect(await outcome(put('during', 'after'))).toBe('done');
    expect((await blocked).Index).toBeGreaterThan(Index);
    cluster.restart(leader);
    await cluster.ready(leader);
  });

  test('the death of the server it turns to costs no read, and no watch', async () => {
    const victim = await follower();
    turnTo(victim);
    await put('own', 'before');
    const { Index } = await caller.call('KVS.Get', { ...local, Key: 'own' });
    const blocked = caller.call('KVS.Get', { ...local, Key: 'own', MinQueryIndex: Index, MaxQueryTime: 120e9 });
    await victim.program.kill();
    expect(await outcome(get('own'))).toBe('done');
    expect(world.router.servers[0]!.name).not.toBe(victim.name);
    await put('own', 'after');
    expect((await blocked).Index).toBeGreaterThan(Index);
    cluster.restart(victim);
    await cluster.ready(victim);
  });

  test('a frozen server is left for another', async () => {
    const victim = await follower();
    turnTo(victim);
    await put('frozen', 'before');
    const { Index } = await caller.call('KVS.Get', { ...local, Key: 'frozen' });
    const blocked = caller.call('KVS.Get', { ...local, Key: 'frozen', MinQueryIndex: Index, MaxQueryTime: 120e9 });
    await victim.program.freeze();
    expect(await outcome(get('frozen'))).toBe('done');
    expect(world.router.servers[0]!.name).not.toBe(victim.name);
    await put('frozen', 'after');
    expect((await blocked).Index).toBeGreaterThan(Index);
    victim.program.signal('SIGCONT');
    await cluster.ready(victim);
  });

  test('without any server calls end with an error, and work again when servers are back', async () => {
    await put('all', 'before');
    const { Index } = await caller.call('KVS.Get', { ...local, Key: 'all' });
    const blocked = outcome(caller.call('KVS.Get', { ...local, Key: 'all', MinQueryIndex: Index, MaxQueryTime: 25e9 }));
    await Promise.all(cluster.members.map(({ program }) => program.kill()));
    expect(await outcome(get('all'))).toMatch(/rpc error (getting client: failed to get conn|making call)/);
    expect(await outcome(put('all', 'during'))).toMatch(/rpc error (getting client: failed to get conn|making call)/);
    expect(await blocked).toMatch(/rpc error/);
    for (const { server } of cluster.members) world.router.removeServer(server);
    await expect(get('all')).rejects.toThrow(/^No known Consul servers$/);
    for (const member of cluster.members) cluster.restart(member);
    for (const { server } of cluster.members) world.router.addServer(server);
    await waitUntil('a value', () => get('all').catch(() => undefined), 60_000);
    await put('all', 'after');
    expect(await get('all')).toBe('after');
    expect(world.pool.size).toBeLessThanOrEqual(3);
  });

  test('counts tries and failures', () => {
    expect(world.counts.get('client.rpc')).toBeGreaterThan(100);
    expect(world.counts.get('client.rpc.failed')).toBeGreaterThan(3);
  });
});
