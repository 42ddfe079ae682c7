// Histories of concurrent clients through random servers, while servers are killed, frozen, cut off and out of disk:
// each history must be one that a single KV store could have told. PORTOLAN_HISTORIES asks for more of them,
// PORTOLAN_SEED for the same faults and clients again, PORTOLAN_PEERS for servers of the other kind.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Cluster, type Kind, type Member } from '../helpers/cluster.ts';
import type { Random } from '../../src/ports/index.ts';
import { SeededRandom } from '../../src/sim/seeded-random.ts';
import { type Disk, Network } from '../helpers/namespaces.ts';
import { countFrom, seedOr } from '../helpers/settings.ts';
import { clusterNeeds, wantedKinds } from './support/cluster-kind.ts';
import { createSession, playHistory } from './support/kv-clients.ts';
import { kvModel, type KvOperation } from './support/kv-model.ts';
import { checkHistory } from './support/linearizability.ts';

const histories = countFrom('PORTOLAN_HISTORIES', 200);
const seed = seedOr(1 + (Date.now() % 1_000_000));
/** Histories at the same time, each with keys of its own. */
const atOnce = 5;
const clients = 4;
const rounds = Math.ceil(histories / atOnce);
/** One round: the load begins, the fault comes and goes, the load ends (ms). */
const faultAfterMs = 400;
const faultMs = 1_600;
const loadMs = 3_500;
/** From the end of a fault until all servers are one cluster again (ms). */
const recoveryLimitMs = 60_000;
const diskMegabytes = 64;
/** A server may give up when it cannot write; its supervisor starts it again after this (ms). */
const restartMs = 500;

const needs = clusterNeeds('chaos: linearizability');

interface Scene {
  readonly cluster: Cluster;
  readonly disks: ReadonlyMap<Member, Disk>;
  readonly random: Random;
}

/** Does harm and returns what ends it. */
type Fault = (scene: Scene) => Promise<() => Promise<void>>;

const anyServer = ({ cluster, random }: Scene): Member =>
  cluster.servers[Math.floor(random.next() * cluster.servers.length)]!;

const faults: Readonly<Record<string, Fault>> = {
  'kill -9 of the leader': async ({ cluster }) => {
    const leader = await cluster.leader();
    await leader.kill();
    return async () => leader.start();
  },
  'kill -9 of any server, started again at once': async (scene) => {
    const victim = anyServer(scene);
    await victim.kill();
    victim.start();
    return async () => undefined;
  },
  'a frozen leader': async ({ cluster }) => {
    const leader = await cluster.leader();
    leader.pause();
    return async () => leader.resume();
  },
  'a frozen server': async (scene) => {
    const victim = anyServer(scene);
    victim.pause();
    return async () => victim.resume();
  },
  'a leader that is cut off': async ({ cluster }) => {
    cluster.network.isolate((await cluster.leader()).host);
    return async () => cluster.network.heal();
  },
  'servers that are all cut off': async ({ cluster }) => {
    cluster.network.partition(...cluster.servers.map(({ host }) => [host]));
    return async () => cluster.network.heal();
  },
  'a leader without disk space': async ({ cluster, disks }) => {
    const leader = await cluster.leader();
    disks.get(leader)!.fill();
    return async () => disks.get(leader)!.free();
  },
  'a follower without disk space': async (scene) => {
    const leader = await scene.cluster.leader();
    const follower = scene.cluster.servers.find((server) => server !== leader)!;
    scene.disks.get(follower)!.fill();
    return async () => scene.disks.get(follower)!.free();
  },
};

describe.skipIf(needs === undefined).each(wantedKinds())('histories of three %s servers', (kind: Kind) => {
  let scene: Scene;

  beforeEach(({ onTestFailed }) => onTestFailed(() => scene?.cluster.keepLogs()));

  beforeAll(async () => {
    const network = new Network();
    const cluster = new Cluster({ network, consul: needs!.consul, serverConfig: { bootstrap_expect: 3 } });
    const disks = new Map<Member, Disk>();
    for (const name of ['s1', 's2', 's3']) {
      const server = cluster.add({ name, kind, server: true, restartMs });
      disks.set(server, network.mountDisk(server.dataDir, diskMegabytes));
    }
    scene = { cluster, disks, random: new SeededRandom(seed) };
    await cluster.startAll();
  });

  afterAll(async () => {
    await scene?.cluster.close();
  });

  const names = Object.keys(faults);
  const schedule = Array.from({ length: rounds }, (_, round) => ({ round, fault: names[round % names.length]! }));

  test.each(schedule)(`round $round: $fault (seed ${seed})`, async ({ round, fault }) => {
    const { cluster } = scene;
    const count = Math.min(atOnce, histories - round * atOnce);
    // Made while the servers are well.
    const sessions = await Promise.all(
      Array.from({ length: count * clients }, (_, at) => createSession(cluster.servers[at % cluster.servers.length]!)),
    );
    const played = Array.from({ length: count }, (_, at) =>
      playHistory({
        servers: cluster.servers,
        prefix: `history/${round}/${at}`,
        keys: 2,
        sessions: sessions.slice(at * clients, (at + 1) * clients),
        operations: 60,
        limitMs: loadMs,
        random: new SeededRandom(seed + round * atOnce + at),
      }),
    );
    await pause(faultAfterMs);
    const mend = await faults[fault]!(scene);
    await pause(faultMs);
    await mend();
    const told = await Promise.all(played);
    // A round in which nobody is answered proves nothing.
    expect(told.flat().filter(({ output }) => output !== undefined).length).toBeGreaterThan(count * clients);
    for (const history of told) {
      for (const [key, operations] of byKey(history)) {
        const verdict = checkHistory(kvModel, operations);
        expect(verdict, `${key}\n${tell(operations)}`).toEqual({ kind: 'linearizable' });
      }
    }
    await cluster.formed(cluster.servers, recoveryLimitMs);
    await cluster.leader();
  });
});

function byKey(history: readonly KvOperation[]): ReadonlyMap<string, readonly KvOperation[]> {
  const found = new Map<string, KvOperation[]>();
  for (const operation of history) found.set(operation.key, [...(found.get(operation.key) ?? []), operation]);
  return found;
}

function tell(operations: readonly KvOperation[]): string {
  const first = Math.min(...operations.map(({ startMs }) => startMs));
  return operations
    .toSorted((a, b) => a.startMs - b.startMs)
    .map(({ startMs, endMs, client, input, output }) =>
      [
        (startMs - first).toFixed(1),
        (endMs - first).toFixed(1),
        client,
        JSON.stringify(input),
        JSON.stringify(output),
      ].join(' '),
    )
    .join('\n');
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
