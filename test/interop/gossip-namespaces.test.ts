// Members of ours, of Serf 0.9.4 and of Consul 1.8.7 as nine machines of one network: who joins, leaves, dies, freezes,
// is cut off or takes a name that is taken is seen alike by all. PORTOLAN_SOAK_MS=600000 watches them longer in peace.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { suspicionMinMs } from '../../src/gossip/index.ts';
import { type Host, namespacesSkipReason, Network } from '../helpers/namespaces.ts';
import { waitUntil } from '../helpers/wait.ts';
import { ConsulPeer, hasProgram, type PeerMember, SerfPeer } from './support/gossip-peers.ts';
import { type MemberConfig, OwnMember } from './support/own-member.ts';

const soakMs = Number(process.env['PORTOLAN_SOAK_MS'] ?? 60_000);
/** Both sides of a split try each other every 30 s, with a chance that depends on how many are gone. */
const healLimitMs = 300_000;
/** LAN profile: a member is probed each second, which fails after another second. */
const probeMs = 1_000;
/** Between two looks at what all members see. */
const pollMs = 250;
/** To tell everybody, with room for a busy machine. */
const spreadMs = 5_000;

/** Soonest and latest time at which everybody holds a killed member of `n` for failed (reference/gossip.md §4.3, §4.6). */
function failureBoundsMs(n: number): readonly [number, number] {
  const minMs = suspicionMinMs(4, n, probeMs);
  // Two members may be at opposite ends of their rounds; a verdict takes an interval; then the suspicion nobody confirms.
  return [minMs, 2 * (n - 1) * probeMs + probeMs + 6 * minMs + spreadMs];
}

const skipReason = namespacesSkipReason() ?? ((await hasPeers()) ? undefined : 'the real serf and consul are missing');
if (skipReason !== undefined) console.log(`gossip between namespaces: skipped, ${skipReason}`);

async function hasPeers(): Promise<boolean> {
  return (await hasProgram('serf')) && (await hasProgram('consul'));
}

interface Observer {
  readonly name: string;
  readonly log: string;
  members(): Promise<readonly PeerMember[]>;
  kill(): Promise<void>;
  signal(name: NodeJS.Signals): void;
}

class Machines {
  readonly network = new Network();
  readonly #processes: Observer[] = [];

  host(name: string): Host {
    return this.network.hosts.find((host) => host.name === name) ?? this.network.addHost(name);
  }

  async own(name: string, host: Host, options: Partial<MemberConfig> = {}): Promise<OwnMember> {
    const config: MemberConfig = {
      name,
      address: host.address,
      port: 7946,
      tags: { role: 'web', from: 'portolan' },
      settings: 'serf',
      ...options,
    };
    return this.#keep(await OwnMember.start(config, enter(host)));
  }

  async serf(name: string, host: Host, args: readonly string[] = []): Promise<SerfPeer> {
    const { address, directory } = host;
    return this.#keep(await SerfPeer.start({ name, address, directory, args, enter: enter(host) }));
  }

  async consul(name: string, host: Host, args: readonly string[] = []): Promise<ConsulPeer> {
    const { address, directory } = host;
    return this.#keep(await ConsulPeer.start({ name, address, directory, args, enter: enter(host) }));
  }

  async close(): Promise<void> {
    for (const process of this.#processes) await process.kill();
    this.network.close();
  }

  #keep<T extends Observer>(process: T): T {
    this.#processes.push(process);
    return process;
  }
}

const enter = (host: Host): readonly string[] => ['nsenter', `--net=${host.netnsPath}`];
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until every observer gives every name this status. @returns how long each name took until the last saw it, ms. */
async function untilAllSee(
  observers: readonly Observer[],
  names: readonly string[],
  status: string,
  limitMs = 60_000,
): Promise<ReadonlyMap<string, number>> {
  const startMs = performance.now();
  const took = new Map<string, number>();
  let seen = '';
  await waitUntil(
    () => `all to see ${names.join()} as ${status}: ${seen}`,
    async () => {
      // Asking serf starts a process: not too often, the members need this machine too.
      await sleep(pollMs);
      const lists = await Promise.all(observers.map((observer) => observer.members()));
      const passedMs = Math.round(performance.now() - startMs);
      seen = lists
        .map((list, i) => `\n${observers[i]!.name}: ${list.map((m) => `${m.name}=${m.status}`).join(' ')}`)
        .join('');
      for (const name of names) {
        const isSeen = lists.every((list) => list.find((m) => m.name === name)?.status === status);
        if (isSeen && !took.has(name)) took.set(name, passedMs);
        else if (!isSeen) took.delete(name);
      }
      return took.size === names.length;
    },
    limitMs,
  );
  return took;
}

const namesOf = (observers: readonly Observer[]): readonly string[] => observers.map(({ name }) => name);
const tagsOf = (members: readonly PeerMember[]): unknown =>
  Object.fromEntries(members.map(({ name, tags }) => [name, tags]));
/** What serf and consul, and what we, write when somebody does not answer. */
const suspicion = /Suspect \S+ has failed|Marking \S+ as failed|suspecting a member|marking as failed/;

describe.skipIf(skipReason !== undefined)('a mixed pool of nine machines', { timeout: 400_000 }, () => {
  let machines: Machines;
  let own: OwnMember[];
  let serfs: SerfPeer[];
  let consuls: ConsulPeer[];
  const all = (): readonly Observer[] => [...own, ...serfs, ...consuls];
  const without = (...gone: readonly Observer[]): readonly Observer[] => all().filter((one) => !gone.includes(one));
  const hostOf = (name: string): Host => machines.host(name);

  beforeAll(async () => {
    machines = new Machines();
    own = await Promise.all(['p1', 'p2', 'p3'].map((name) => machines.own(name, hostOf(name))));
    serfs = await Promise.all(['s1', 's2', 's3'].map((name) => machines.serf(name, hostOf(name), ['-tag=role=web'])));
    consuls = await Promise.all(
      ['c1', 'c2', 'c3'].map((name, i) =>
        machines.consul(name, hostOf(name), i === 0 ? ['-server', '-bootstrap-expect=1'] : []),
      ),
    );
  }, 120_000);
  afterAll(() => machines?.close());

  test('joins in every direction and agrees on nine members with equal tags', async () => {
    await own[0]!.ask({ op: 'join', addresses: [hostOf('s1').address] });
    await serfs[1]!.command('join', hostOf('p1').address);
    await serfs[2]!.command('join', hostOf('p2').address);
    await own[1]!.ask({ op: 'join', addresses: [`${hostOf('c1').address}:8301`] });
    await consuls[1]!.request('PUT', `agent/join/${hostOf('p3').address}:7946`);
    await consuls[2]!.request('PUT', `agent/join/${hostOf('c1').address}`);
    await own[2]!.ask({ op: 'join', addresses: [hostOf('p1').address, hostOf('p2').address] });
    await untilAllSee(all(), namesOf(all()), 'alive');
    await own[0]!.ask({ op: 'tags', tags: { role: 'db', from: 'portolan' } });
    await serfs[0]!.command('tags', '-set', 'rack=7');
    await waitUntil('equal tags everywhere', async () => {
      const lists = await Promise.all(all().map((observer) => observer.members()));
      const wanted = tagsOf(lists[3]!);
      expect(wanted).toMatchObject({ c2: { role: 'node', dc: 'dc1' } });
      const isNew = JSON.stringify(wanted).includes('"rack":"7"') && JSON.stringify(wanted).includes('"role":"db"');
      return isNew && lists.every((list) => JSON.stringify(sorted(tagsOf(list))) === JSON.stringify(sorted(wanted)));
    });
  });

  test('carries user events both ways, once each', async () => {
    await own[0]!.ask({ op: 'event', name: 'deploy', payload: 'from portolan' });
    await serfs[1]!.command('event', 'restart', 'from serf');
    await consuls[0]!.request('PUT', 'event/fire/hello', 'from consul');
    const heard = async (member: OwnMember, event: string): Promise<number> =>
      (await member.ask<string[]>({ op: 'events' })).filter((text) => text.startsWith(event)).length;
    await waitUntil('everybody to hear of all', async () => {
      for (const { events } of serfs) {
        if (!events.includes('deploy from portolan') || !events.includes('restart from serf')) return false;
      }
      for (const member of own) {
        for (const event of ['deploy from portolan', 'restart from serf', 'consul:event:hello']) {
          if ((await heard(member, event)) === 0) return false;
        }
      }
      return true;
    });
    await sleep(spreadMs);
    for (const member of own) expect(await heard(member, 'restart')).toBe(1);
    for (const { events } of serfs) expect(events.filter((event) => event.startsWith('deploy')).length).toBe(1);
  });

  test('carries queries both ways', async () => {
    const wanted = ['p1', 'p2', 'p3', 's1', 's2', 's3'];
    // A question travels by gossip alone and may miss somebody; a second one reaches it.
    await waitUntil('serf to have all answers', async () => {
      const { Responses } = await serfs[0]!.query('uptime', 'now', '-relay-factor=2');
      return Object.keys(Responses).toSorted().join() === wanted.join() && Responses['p2']!.startsWith('up p2 now');
    });
    await waitUntil('portolan to have all answers, and the acks of consul too', async () => {
      const { acks, responses } = await own[0]!.ask<{ acks: string[]; responses: Record<string, string> }>({
        op: 'query',
        name: 'uptime',
        payload: 'now',
      });
      return (
        Object.keys(responses).toSorted().join() === wanted.join() &&
        responses['s2']!.startsWith('up s2 now') &&
        acks.toSorted().join() === ['c1', 'c2', 'c3', ...wanted].join()
      );
    });
  });

  test('suspects nobody in peace', { timeout: soakMs + 60_000 }, async () => {
    await sleep(soakMs);
    for (const { name, log } of all()) expect(suspicion.exec(log)?.[0], name).toBeUndefined();
    await untilAllSee(all(), namesOf(all()), 'alive');
    console.log(`gossip between namespaces: ${soakMs / 1_000} s without a suspicion in nine logs`);
  });

  test('holds for failed who is killed, within the bounds of the formula, and takes it back', async () => {
    const victims = [own[1]!, serfs[1]!, consuls[1]!];
    const rest = without(...victims);
    const [minMs, maxMs] = failureBoundsMs(all().length);
    await Promise.all(victims.map((victim) => victim.kill()));
    const took = await untilAllSee(rest, namesOf(victims), 'failed', maxMs);
    console.log(`gossip between namespaces: killed members failed after ms ${JSON.stringify([...took])}`);
    for (const [name, ms] of took) {
      expect(ms, name).toBeGreaterThan(minMs - pollMs);
      expect(ms, name).toBeLessThan(maxMs);
    }
    // Somebody else may have the address, who does not answer for the dead.
    const heir = await machines.own('heir', hostOf('p2'));
    await heir.ask({ op: 'join', addresses: [hostOf('s1').address] });
    await untilAllSee(rest, ['heir'], 'alive');
    await untilAllSee(rest, ['p2'], 'failed');
    await heir.ask({ op: 'leave' });
    await untilAllSee(rest, ['heir'], 'left');
    await heir.kill();
    own[1] = await machines.own('p2', hostOf('p2'));
    serfs[1] = await machines.serf('s2', hostOf('s2'), ['-tag=role=web']);
    consuls[1] = await machines.consul('c2', hostOf('c2'));
    await own[1].ask({ op: 'join', addresses: [hostOf('s1').address] });
    await serfs[1].command('join', hostOf('p1').address);
    await consuls[1].request('PUT', `agent/join/${hostOf('p1').address}:7946`);
    await untilAllSee(all(), namesOf(all()), 'alive');
  });

  test('does not notice the quick restart of a name, but has its new tags', async () => {
    await Promise.all([own[2]!.kill(), serfs[2]!.kill()]);
    own[2] = await machines.own('p3', hostOf('p3'), { tags: { role: 'second', from: 'portolan' } });
    serfs[2] = await machines.serf('s3', hostOf('s3'), ['-tag=role=second']);
    await own[2].ask({ op: 'join', addresses: [hostOf('s1').address] });
    await serfs[2].command('join', hostOf('p1').address);
    await waitUntil('the new tags everywhere', async () => {
      await sleep(pollMs);
      const lists = await Promise.all(all().map((observer) => observer.members()));
      return lists.every((list) =>
        ['p3', 's3'].every((name) => {
          const member = list.find((one) => one.name === name);
          return member?.status === 'alive' && member.tags['role'] === 'second';
        }),
      );
    });
  });

  test('survives a short freeze, fails a long one and forgives it', async () => {
    const frozen = [own[2]!, serfs[2]!, consuls[2]!];
    const rest = without(...frozen);
    for (const victim of frozen) victim.signal('SIGSTOP');
    await sleep(2_000);
    for (const victim of frozen) victim.signal('SIGCONT');
    await sleep(10_000);
    await untilAllSee(all(), namesOf(all()), 'alive');
    for (const { log } of rest) expect(log).not.toMatch(/EventMemberFailed: [psc]3/);
    for (const victim of frozen) victim.signal('SIGSTOP');
    await untilAllSee(rest, namesOf(frozen), 'failed', failureBoundsMs(all().length)[1]);
    for (const victim of frozen) victim.signal('SIGCONT');
    await untilAllSee(all(), namesOf(all()), 'alive', healLimitMs);
  });

  test('lets only one have a name', async () => {
    // A real member under a name of ours goes, as does one of ours under a real one's.
    const realTwin = await machines.serf('p1', hostOf('twin1'));
    await realTwin.command('join', hostOf('s1').address, hostOf('p2').address).catch(() => {});
    const ownTwin = await machines.own('s1', hostOf('twin2'));
    await ownTwin.ask({ op: 'join', addresses: [hostOf('s2').address, hostOf('p2').address] }).catch(() => {});
    // Consul's way is to say so and to go on.
    const quietTwin = await machines.own('c2', hostOf('twin3'), { settings: 'consul' });
    await quietTwin.ask({ op: 'join', addresses: [hostOf('c1').address + ':8301', hostOf('p1').address] });
    await waitUntil('both twins to go', () => realTwin.hasExited && ownTwin.exitCode === 3, 60_000);
    await sleep(spreadMs);
    expect(quietTwin.exitCode).toBeNull();
    expect(quietTwin.log).toMatch(/conflict/i);
    for (const { log } of [serfs[1]!, own[1]!]) expect(log).toMatch(/conflict/i);
    await quietTwin.kill();
    await untilAllSee(all(), namesOf(all()), 'alive');
  });

  test('splits and is whole again', async () => {
    const side = ['p1', 's1', 'c1', 'p2'];
    const left = all().filter(({ name }) => side.includes(name));
    const right = without(...left);
    const hosts = (observers: readonly Observer[]): Host[] => observers.map(({ name }) => hostOf(name));
    machines.network.partition(hosts(left), hosts(right));
    const [, maxMs] = failureBoundsMs(all().length);
    const limitMs = maxMs + 60_000;
    await Promise.all([
      untilAllSee(left, namesOf(right), 'failed', limitMs),
      untilAllSee(right, namesOf(left), 'failed', limitMs),
    ]);
    await own[0]!.ask({ op: 'event', name: 'dark', payload: 'left' });
    await serfs[2]!.command('event', 'dark', 'right');
    machines.network.heal();
    const took = await untilAllSee(all(), namesOf(all()), 'alive', healLimitMs);
    console.log(`gossip between namespaces: whole again after ${Math.max(...took.values())} ms`);
    await waitUntil(
      'each side to hear what it missed',
      async () => {
        const heard = await own[0]!.ask<string[]>({ op: 'events' });
        return heard.includes('dark right') && serfs[2]!.events.includes('dark left');
      },
      90_000,
    );
  });

  test('sees who leaves as left, whoever looks', async () => {
    const leavers = [own[2]!, serfs[2]!, consuls[2]!];
    const rest = without(...leavers);
    const readBefore = rest.map(({ log }) => log.length);
    await own[2]!.ask({ op: 'leave' });
    await serfs[2]!.command('leave');
    await consuls[2]!.request('PUT', 'agent/leave').catch(() => {});
    await untilAllSee(rest, namesOf(leavers), 'left');
    // Not for a moment; of the others' goodbyes some are overtaken by the end they announce.
    for (const [i, { name, log }] of rest.entries()) {
      expect(log.slice(readBefore[i]), name).not.toMatch(/EventMemberFailed: p3/);
    }
    await Promise.all([own[1]!.kill(), serfs[1]!.kill()]);
    await untilAllSee([own[0]!, serfs[0]!, ...consuls.slice(0, 2)], ['p2', 's2'], 'failed', 60_000);
    await own[0]!.ask({ op: 'forceLeave', name: 's2' });
    await serfs[0]!.command('force-leave', 'p2');
    await untilAllSee([own[0]!, serfs[0]!, ...consuls.slice(0, 2)], ['p2', 's2'], 'left');
  });
});

describe.skipIf(skipReason !== undefined)('an encrypted pool', { timeout: 180_000 }, () => {
  test('changes its keys by the hand of each kind of member, without a moment of deafness', async () => {
    const machines = new Machines();
    try {
      const keys = [1, 2, 3, 4].map((i) => Buffer.alloc(32, i).toString('base64'));
      const [first, second, third, fourth] = keys as [string, string, string, string];
      const own = await machines.own('p1', machines.host('p1'), { key: first });
      const serf = await machines.serf('s1', machines.host('s1'), [`-encrypt=${first}`]);
      const consul = await machines.consul('c1', machines.host('c1'), [
        '-server',
        '-bootstrap-expect=1',
        `-encrypt=${first}`,
      ]);
      const all = [own, serf, consul];
      await own.ask({ op: 'join', addresses: [machines.host('s1').address] });
      await consul.request('PUT', `agent/join/${machines.host('p1').address}:7946`);
      await untilAllSee(all, namesOf(all), 'alive');
      /** A question about keys is lost now and then like any other; the operator repeats it. */
      const until = async (what: string, step: () => Promise<unknown>): Promise<void> => {
        let problem: unknown;
        await waitUntil(
          () => `${what}: ${String(problem)}`,
          () =>
            step().then(
              () => true,
              (error: unknown) => {
                problem = error;
                return false;
              },
            ),
        );
      };
      const byOwn = (action: 'install' | 'use' | 'remove', key: string): Promise<void> =>
        until(`${action} by portolan`, async () => {
          const result = await own.ask<{ readonly error: string | null }>({ op: 'key', action, key });
          if (result.error !== null) throw new Error(result.error);
        });
      await byOwn('install', second);
      await byOwn('use', second);
      await byOwn('remove', first);
      await until('install by serf', () => serf.command('keys', `-install=${third}`));
      await until('use by serf', () => serf.command('keys', `-use=${third}`));
      await until('remove by serf', () => serf.command('keys', `-remove=${second}`));
      // The WAN pool of the server has had no part in this; the key is new to both.
      const body = JSON.stringify({ Key: fourth });
      await until('install by consul', () => consul.request('POST', 'operator/keyring', body));
      await until('use by consul', () => consul.request('PUT', 'operator/keyring', body));
      await byOwn('remove', third);
      const listed = await own.ask<{ readonly keys: unknown }>({ op: 'keys' });
      expect(listed.keys).toEqual({ [fourth]: 3 });
      const late = await machines.own('p2', machines.host('p2'), { key: fourth });
      const stranger = await machines.own('p3', machines.host('p3'), { key: first });
      expect(await late.ask({ op: 'join', addresses: [machines.host('s1').address] })).toMatchObject({ joined: 1 });
      expect(await stranger.ask({ op: 'join', addresses: [machines.host('s1').address] })).toMatchObject({ joined: 0 });
      await untilAllSee([...all, late], [...namesOf(all), 'p2'], 'alive');
      await sleep(10_000);
      for (const { name, log } of [...all, late]) expect(suspicion.exec(log)?.[0], name).toBeUndefined();
    } finally {
      await machines.close();
    }
  });
});

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
