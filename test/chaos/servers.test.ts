// Servers that are killed under load, replaced by others, left without a quorum, and mixed with servers of the other
// kind. What was acknowledged stays. PORTOLAN_KILLS sets the length of the kill loop, PORTOLAN_PEERS=consul runs the same
// scenes on real servers.
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SeededRandom } from '../../src/sim/seeded-random.ts';
import { Cluster, type Kind, type Member, ports } from '../helpers/cluster.ts';
import { Network } from '../helpers/namespaces.ts';
import { recordsOfServer, saveSnapshot } from '../helpers/snapshot-records.ts';
import { waitUntil } from '../helpers/wait.ts';
import { countFrom, seedOr } from '../helpers/settings.ts';
import { clusterNeeds, wantedKinds } from './support/cluster-kind.ts';
import { WriteLoad } from './support/write-load.ts';

const kills = countFrom('PORTOLAN_KILLS', 30);
const seed = seedOr(1 + (Date.now() % 1_000_000));
/**
 * A server that was killed answers consistent reads again this long after its start (ms). What it waits for processors
 * that others use is not counted: three servers and the test share the machine, perhaps with more.
 */
const recoveryLimitMs = 5_000;
/** Clients ride out an election: servers hold their requests for 7 s (rpc_hold_timeout). */
const electionLimitMs = 7_000;
/** Autopilot looks every 10 s, and a server that leaves takes its time (ms). */
const changeLimitMs = 60_000;
const quorumOfThree = 3;

const needs = clusterNeeds('chaos: servers');

/** Settings under which members come and go quickly, and nothing writes by itself. */
const serverConfig = {
  bootstrap_expect: quorumOfThree,
  autopilot: { server_stabilization_time: '500ms' },
  performance: { raft_multiplier: 1, leave_drain_time: '1s' },
};

function newCluster(): Cluster {
  const config = { disable_coordinates: true };
  return new Cluster({ network: new Network(), consul: needs!.consul, config, serverConfig });
}

interface RaftServer {
  readonly ID: string;
  readonly Voter: boolean;
}

async function voters(member: Member): Promise<readonly string[]> {
  const { Servers } = await member.get<{ readonly Servers: readonly RaftServer[] }>('/v1/operator/raft/configuration');
  return Servers.filter(({ Voter }) => Voter).map(({ ID }) => ID);
}

/** Waits until exactly these servers vote, by the word of each. */
async function untilVoters(servers: readonly Member[]): Promise<void> {
  const wanted = new Set(servers.map(({ nodeId }) => nodeId));
  await waitUntil(
    () => `the voters to be ${servers.map(({ name }) => name).join(', ')}\n${servers.map((s) => s.logTail).join('\n')}`,
    async () => {
      for (const server of servers) {
        const found: readonly string[] = await voters(server).catch(() => []);
        if (found.length !== wanted.size || !found.every((id) => wanted.has(id))) return false;
      }
      return true;
    },
    changeLimitMs,
  );
}

async function raftInfo(member: Member): Promise<Readonly<Record<string, string>>> {
  const self = await member.get<{ readonly Stats: { readonly raft: Record<string, string> } }>('/v1/agent/self');
  return self.Stats.raft;
}

/** Waits until every server has applied the same, and says so. */
async function untilEqual(servers: readonly Member[]): Promise<void> {
  // The real one takes no snapshot while a change of the configuration is the last entry that it knows.
  await waitUntil('a write', () => servers[0]!.put('/v1/kv/equal', 'now').then(Boolean, () => false), changeLimitMs);
  let states: (readonly string[])[] = [];
  const told = (): string => {
    const [first = [], ...others] = states;
    return others
      .map((other, at) => {
        const only = first.filter((line) => !other.includes(line)).slice(0, 5);
        const extra = other.filter((line) => !first.includes(line)).slice(0, 5);
        return `${servers[0]!.name} alone:\n${only.join('\n')}\n${servers[at + 1]!.name} alone:\n${extra.join('\n')}`;
      })
      .join('\n')
      .slice(0, 5_000);
  };
  await waitUntil(
    () => `all servers to have the same state\n${told()}`,
    async () => {
      states = await Promise.all(servers.map(recordsOfServer)).catch((error: unknown) => [[String(error)], []]);
      return states.every((state) => state.join('\n') === states[0]!.join('\n'));
    },
  );
}

/** Waits until a server serves a consistent read by itself. @returns how long that took, ms */
async function untilAnswers(server: Member): Promise<number> {
  const startMs = performance.now();
  await waitUntil(
    () => `${server.name} to answer\n${server.logTail}`,
    async () => {
      if (!server.running) throw new Error(`${server.name} ended by itself\n${server.logTail}`);
      const answer = await server
        .request('GET', '/v1/kv/any?consistent', { timeoutMs: recoveryLimitMs })
        .catch(() => undefined);
      return answer?.status === 200 || answer?.status === 404;
    },
  );
  return performance.now() - startMs;
}

describe.skipIf(needs === undefined).each(wantedKinds())('three %s servers', (kind: Kind) => {
  let cluster: Cluster;

  beforeEach(async ({ onTestFailed }) => {
    cluster = newCluster();
    onTestFailed(() => cluster.keepLogs());
    for (const name of ['s1', 's2', 's3']) cluster.add({ name, kind, server: true });
    await cluster.startAll();
  });

  afterEach(async () => {
    await cluster?.close();
  });

  test(`lose nothing in ${kills} kills (seed ${seed})`, { timeout: 60_000 + kills * 20_000 }, async () => {
    const random = new SeededRandom(seed);
    const load = new WriteLoad({ targets: () => cluster.servers.filter(({ running }) => running), prefix: 'load' });
    const recoveries: number[] = [];
    for (let kill = 0; kill < kills; kill++) {
      await new Promise((resolve) => setTimeout(resolve, random.next() * 500));
      const victim = cluster.servers[Math.floor(random.next() * cluster.servers.length)]!;
      await victim.kill();
      victim.start();
      const starved = cluster.servers.map((server) => (server === victim ? 0 : server.starvedMs));
      const took = await untilAnswers(victim);
      recoveries.push(took - Math.max(...cluster.servers.map((server, at) => server.starvedMs - starved[at]!)));
    }
    await load.stop();
    expect(load.acknowledged).toBeGreaterThan(kills);
    await untilEqual(cluster.servers);
    for (const server of cluster.servers) expect(await load.missingAt(server)).toEqual([]);
    expect(Math.max(...recoveries), recoveries.map(Math.round).join(' ')).toBeLessThan(recoveryLimitMs);
    console.log(
      `servers: ${kind}: ${kills} kills, ${load.acknowledged} writes, slowest recovery ${Math.round(Math.max(...recoveries))} ms`,
    );
  });

  test('take a server at another address for one that is gone for good', { timeout: 180_000 }, async () => {
    const [s1, s2, gone] = cluster.servers as [Member, Member, Member];
    await s1.put('/v1/kv/before', 'kept');
    await gone.kill();
    await waitUntil(
      'the failure to be seen',
      async () => (await memberStatus(s1, gone.name)) === 'failed',
      changeLimitMs,
    );
    const forced = await cluster.cli(s1, kind, ['force-leave', gone.name]);
    expect(forced).toMatchObject({ code: 0, stderr: '' });
    await waitUntil('it to have left', async () => (await memberStatus(s1, gone.name)) === 'left', changeLimitMs);
    await untilVoters([s1, s2]);
    const replacement = cluster.add({ name: 's4', kind, server: true });
    replacement.start();
    const now = [s1, s2, replacement];
    await untilVoters(now);
    const infos = await waitUntil(
      'every member to say the same about raft',
      async () => {
        const found = await Promise.all(now.map(raftInfo));
        return new Set(found.map((info) => `${info['num_peers']} ${info['last_log_index']}`)).size === 1 && found;
      },
      changeLimitMs,
    );
    expect(infos[0]!['num_peers']).toBe('2');
    const info = await cluster.cli(replacement, kind, ['info']);
    expect(info.stdout).toMatch(/^raft:$/m);
    expect(info.stdout).toMatch(/^\tnum_peers = 2$/m);
    expect(await replacement.get('/v1/kv/before?raw&stale').catch(String)).toContain('kept');
    await untilEqual(now);
  });

  test('come back from the loss of the quorum by peers.json', { timeout: 180_000 }, async () => {
    const [s1, s2, s3] = cluster.servers as [Member, Member, Member];
    const load = new WriteLoad({ targets: () => cluster.servers, prefix: 'load' });
    await waitUntil('some writes', () => load.acknowledged > 200);
    await load.stop();
    await untilEqual(cluster.servers);
    for (const server of cluster.servers) await server.kill();
    const peers = [{ id: s1.nodeId, address: `${s1.address}:${ports.server}`, non_voter: false }];
    writeFileSync(join(s1.dataDir, 'raft/peers.json'), JSON.stringify(peers));
    s1.start();
    await untilAnswers(s1);
    expect(await voters(s1)).toEqual([s1.nodeId]);
    expect(await load.missingAt(s1)).toEqual([]);
    expect(readdirSync(join(s1.dataDir, 'raft'))).not.toContain('peers.json');
    await s1.put('/v1/kv/after', 'written');
    // The disks of the others are lost; servers with new names take their place.
    const others = ['s4', 's5'].map((name) => cluster.add({ name, kind, server: true }));
    for (const other of others) other.start();
    await untilVoters([s1, ...others]);
    await untilEqual([s1, ...others]);
    for (const other of others) expect(await load.missingAt(other)).toEqual([]);
    expect([s2.running, s3.running]).toEqual([false, false]);
  });

  test.skipIf(kind === 'consul')('name a flipped bit in the log and never serve it', { timeout: 120_000 }, async () => {
    const load = new WriteLoad({ targets: () => cluster.servers, prefix: 'load', restMs: 0 });
    await waitUntil('some writes', () => load.acknowledged > 1_000);
    await load.stop();
    const victim = cluster.servers[0]!;
    await victim.kill();
    const { file, offset } = flipBit(join(victim.dataDir, 'raft'));
    victim.start();
    await waitUntil(
      () => `${victim.name} to end\n${victim.logTail}`,
      () => !victim.running,
    );
    expect(victim.log).toContain(relative(victim.dataDir, file));
    expect(victim.log).toMatch(/damaged/);
    expect(offset).toBeGreaterThan(0);
    // If it led, the others learn that its last entries count only when the next one leads.
    for (const other of cluster.servers.filter((server) => server !== victim)) {
      await untilAnswers(other);
      expect(await load.missingAt(other)).toEqual([]);
    }
  });
});

async function memberStatus(member: Member, name: string): Promise<string | undefined> {
  const names = ['none', 'alive', 'leaving', 'left', 'failed'];
  const members = await member.get<{ readonly Name: string; readonly Status: number }[]>('/v1/agent/members');
  const status = members.find((other) => other.Name === name)?.Status;
  return status === undefined ? undefined : names[status];
}

/** Flips one bit in the middle of the largest file of the log. */
function flipBit(directory: string): { readonly file: string; readonly offset: number } {
  const header = 'portolan raft';
  const segments = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile() && readFileSync(path).subarray(0, header.length).toString() === header)
    .toSorted((a, b) => statSync(b).size - statSync(a).size);
  const file = segments[0]!;
  const offset = Math.floor(statSync(file).size / 2);
  const descriptor = openSync(file, 'r+');
  const byte = Buffer.alloc(1);
  readSync(descriptor, byte, 0, 1, offset);
  byte[0]! ^= 0x10;
  writeSync(descriptor, byte, 0, 1, offset);
  closeSync(descriptor);
  return { file, offset };
}

/** From which kind to which and back. */
const journeys: readonly { readonly from: Kind; readonly to: Kind }[] = wantedKinds().map((to) => ({
  from: 'consul',
  to,
}));

describe.skipIf(needs === undefined).each(journeys)('from $from servers to $to servers and back', ({ from, to }) => {
  let cluster: Cluster;
  let current: Member[] = [];

  beforeEach(({ onTestFailed }) => onTestFailed(() => cluster?.keepLogs()));

  beforeAll(async () => {
    cluster = newCluster();
    current = ['a1', 'a2', 'a3'].map((name) => cluster.add({ name, kind: from, server: true }));
    await cluster.startAll();
    cluster.add({ name: 'c1', kind: from, server: false });
    await cluster.startAll([...current, cluster.member('c1')]);
  });

  afterAll(async () => {
    await cluster?.close();
  });

  const steps = [to, from].flatMap((kind, way) =>
    [1, 2, 3].map((number) => ({ kind, old: `${'ab'[way]!}${number}`, name: `${'bc'[way]!}${number}s` })),
  );

  test.each(steps)('$name takes the place of $old', { timeout: 180_000 }, async ({ kind, old, name }) => {
    const client = cluster.member('c1');
    const load = new WriteLoad({ targets: () => [client, ...current], prefix: `load-${name}` });
    const leaves = current.find((server) => server.name.startsWith(old))!;
    const joins = cluster.add({ name, kind, server: true });
    joins.start();
    await untilVoters([...current, joins]);
    current = [...current.filter((server) => server !== leaves), joins];
    expect(await cluster.cli(leaves, leaves.kind, ['leave'])).toMatchObject({ code: 0 });
    await leaves.kill();
    await untilVoters(current);
    await load.stop();
    expect(load.acknowledged).toBeGreaterThan(100);
    expect(load.longestGapMs, load.errors.join('\n')).toBeLessThan(electionLimitMs);
    await untilEqual(current);
    for (const server of current) expect(await load.missingAt(server)).toEqual([]);
  });

  test('a snapshot of one kind restores on the other, both ways', { timeout: 180_000 }, async () => {
    const other = newCluster();
    try {
      for (const name of ['o1', 'o2', 'o3']) other.add({ name, kind: to, server: true });
      await other.startAll();
      await current[0]!.put('/v1/kv/snapshot/here', 'from here');
      await restore(current[0]!, other.servers);
      expect(await other.servers[2]!.get('/v1/kv/snapshot/here?consistent')).toHaveLength(1);
      await other.servers[1]!.put('/v1/kv/snapshot/there', 'from there');
      await restore(other.servers[0]!, current);
      for (const server of current) expect(await server.get('/v1/kv/snapshot/there?consistent')).toHaveLength(1);
    } finally {
      await other.close();
    }
  });
});

/** Saves at one server, restores at others, and waits until they agree. */
async function restore(source: Member, servers: readonly Member[]): Promise<void> {
  const archive = await saveSnapshot(source);
  const { status, text } = await servers[0]!.request('PUT', '/v1/snapshot', { body: archive, timeoutMs: 60_000 });
  expect([status, text]).toEqual([200, '']);
  await untilEqual(servers);
}
