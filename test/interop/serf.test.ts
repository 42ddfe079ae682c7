// Portolan's serf among real members: Serf 0.9.4 and Consul 1.8.7, each on a loopback address of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeUserEvent } from '../../src/codec/index.ts';
import {
  consulClientTags,
  consulSettings,
  createSerf,
  Keyring,
  lanProfile,
  type Serf,
  type SerfEvent,
  serfSettings,
} from '../../src/gossip/index.ts';
import { memberStatus } from '../../src/model/index.ts';
import { SystemClock } from '../../src/node/system-clock.ts';
import { SystemRandom } from '../../src/node/system-random.ts';
import { TcpNetwork } from '../../src/node/tcp-network.ts';
import { UdpNetwork } from '../../src/node/udp-network.ts';
import { recordingLogger } from '../helpers/logger.ts';
import { waitUntil } from '../helpers/wait.ts';
import { ConsulPeer, hasProgram, type PeerMember, SerfPeer } from './support/gossip-peers.ts';

/**
 * When two halves of a pool meet, one member tells each half of the other, and gossip misses somebody in two of three
 * cases; who was missed learns it by the next exchange of all that is known, every 30 s from 30…60 s after a start (ms).
 */
const exchangeMs = 120_000;
/** A failure is known after at most six times the shortest suspicion, and the probes before it (ms). */
const failureMs = 60_000;
/** How long the pool is watched in peace (ms); ten minutes before a release. */
const soakMs = Number(process.env['PORTOLAN_SOAK_MS'] ?? 15_000);
const statusNames: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(memberStatus).map(([name, number]) => [number, name]),
);
const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');

interface Own {
  readonly name: string;
  readonly serf: Serf;
  readonly events: SerfEvent[];
  readonly lines: readonly string[];
  members(): Promise<readonly PeerMember[]>;
}

const directory = mkdtempSync(join(tmpdir(), 'serf-interop-'));
const cleanUps: (() => Promise<unknown>)[] = [
  () => Promise.resolve(rmSync(directory, { recursive: true, force: true })),
];
afterAll(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

async function startOwn(
  name: string,
  address: string,
  options: {
    readonly port?: number;
    readonly keyring?: Keyring;
    readonly tags?: Readonly<Record<string, string>>;
  } = {},
): Promise<Own> {
  const { port = 7946, keyring, tags = { role: 'web', from: 'portolan' } } = options;
  const events: SerfEvent[] = [];
  const { logger, lines } = recordingLogger();
  const serf = createSerf({
    nodeName: name,
    tags,
    bind: { address, port },
    profile: lanProfile,
    settings: port === 7946 ? serfSettings : consulSettings,
    ...(keyring === undefined ? {} : { keyring }),
    onEvent: (event) => {
      events.push(event);
      if (event.type === 'query' && event.name === 'uptime') event.respond(bytes(`up ${name}`));
    },
    clock: new SystemClock(),
    random: new SystemRandom(),
    datagrams: new UdpNetwork(),
    streams: new TcpNetwork(),
    logger,
    metrics: { count() {}, gauge() {}, sample() {} },
  });
  await serf.start();
  cleanUps.push(() => serf.shutdown());
  return {
    name,
    serf,
    events,
    lines,
    members: async () =>
      serf.members().map(({ Name, Status, Tags }) => ({ name: Name, status: statusNames[Status]!, tags: Tags })),
  };
}

async function startSerf(name: string, address: string, args: readonly string[] = []): Promise<SerfPeer> {
  const peer = await SerfPeer.start({ name, address, directory, args });
  cleanUps.push(() => peer.kill());
  return peer;
}

async function startConsul(name: string, address: string, args: readonly string[] = []): Promise<ConsulPeer> {
  const peer = await ConsulPeer.start({ name, address, directory, args });
  cleanUps.push(() => peer.kill());
  return peer;
}

type Observer = { readonly name: string; members(): Promise<readonly PeerMember[]> };

async function untilAllSee(
  observers: readonly Observer[],
  names: readonly string[],
  status: string,
  limitMs = 30_000,
): Promise<void> {
  let seen = '';
  await waitUntil(
    () => `all to see ${names.join()} as ${status}: ${seen}`,
    async () => {
      const lists = await Promise.all(observers.map((observer) => observer.members()));
      seen = lists
        .map((list, i) => `\n${observers[i]!.name}: ${list.map((m) => `${m.name}=${m.status}`).join(' ')}`)
        .join('');
      return lists.every((list) => names.every((name) => list.find((m) => m.name === name)?.status === status));
    },
    limitMs,
  );
}

const byName = (members: readonly PeerMember[]): Readonly<Record<string, Readonly<Record<string, string>>>> =>
  Object.fromEntries(members.map(({ name, tags }) => [name, tags]));

describe.skipIf(!(await hasProgram('serf')) || !(await hasProgram('consul')))('a mixed pool', () => {
  let own: Own[];
  let serfs: SerfPeer[];
  let consuls: ConsulPeer[];
  let all: Observer[];

  beforeAll(async () => {
    own = [];
    for (let i = 1; i <= 3; i++) own.push(await startOwn(`p${i}`, `127.0.41.${i}`));
    serfs = await Promise.all(
      [1, 2, 3].map((i) => startSerf(`s${i}`, `127.0.42.${i}`, ['-tag', 'role=web', '-tag', `number=${i}`])),
    );
    consuls = await Promise.all(
      [1, 2, 3].map((i) => startConsul(`c${i}`, `127.0.43.${i}`, i === 1 ? ['-server', '-bootstrap-expect=1'] : [])),
    );
    all = [...own, ...serfs, ...consuls];
    // Each kind joins each other kind.
    expect((await own[0]!.serf.join(['127.0.42.1'], false)).errors).toEqual([]);
    await serfs[1]!.command('join', '127.0.41.1');
    await serfs[2]!.command('join', '127.0.41.2');
    expect((await own[1]!.serf.join(['127.0.43.1:8301'], false)).errors).toEqual([]);
    await consuls[1]!.request('PUT', 'agent/join/127.0.41.3:7946');
    await consuls[2]!.request('PUT', 'agent/join/127.0.43.1');
    expect((await own[2]!.serf.join(['127.0.41.1', '127.0.41.2'], false)).errors).toEqual([]);
  });

  test('shows all nine alive to everybody, with equal tags', { timeout: exchangeMs + 10_000 }, async () => {
    await untilAllSee(
      all,
      all.map(({ name }) => name),
      'alive',
      exchangeMs,
    );
    const wanted = byName(await serfs[0]!.members());
    expect(Object.keys(wanted).length).toBe(9);
    for (const observer of all) expect(byName(await observer.members()), observer.name).toEqual(wanted);
  });

  test('carries user events both ways', { timeout: 4 * exchangeMs }, async () => {
    own[0]!.serf.userEvent('deploy', bytes('from portolan'), false);
    await waitUntil(
      'serf to deliver the event',
      () => serfs.every((p) => p.events.includes('deploy from portolan')),
      exchangeMs,
    );
    await serfs[1]!.command('event', 'restart', 'from serf');
    await waitUntil(
      'portolan to deliver the event',
      () => own.every(({ events }) => events.some((e) => e.type === 'user' && e.name === 'restart')),
      exchangeMs,
    );
    const payload = encodeUserEvent({
      ID: '79d7b3b0-636d-fbbe-b930-467b2a1f7c85',
      Name: 'hello',
      Payload: bytes('x'),
      NodeFilter: '',
      ServiceFilter: '',
      TagFilter: '',
      Version: 1,
    });
    own[1]!.serf.userEvent('consul:event:hello', payload, false);
    await waitUntil(
      'consul to list the event',
      async () => (await consuls[1]!.request('GET', 'event/list')).includes('hello'),
      exchangeMs,
    );
    await consuls[0]!.request('PUT', 'event/fire/back');
    await waitUntil(
      'portolan to hear the event of consul',
      () => own.every(({ events }) => events.some((e) => e.type === 'user' && e.name === 'consul:event:back')),
      exchangeMs,
    );
    for (const { events } of own) {
      expect(events.filter((e) => e.type === 'user' && e.name === 'restart').length).toBe(1);
    }
  });

  test('carries queries both ways, with acks, filters and relays', async () => {
    // A question travels by gossip alone and may miss somebody; a second one reaches it.
    const isSame = (names: readonly string[], wanted: readonly string[]): boolean =>
      names.toSorted().join() === wanted.join();
    await waitUntil('serf to have its answers', async () => {
      const asked = await serfs[0]!.query('uptime', 'now', '-relay-factor=1', '-node=p1', '-node=p2', '-node=s2');
      return isSame(Object.keys(asked.Responses), ['p1', 'p2', 's2']);
    });
    await waitUntil('portolan to have its answers', async () => {
      const handle = own[0]!.serf.query('uptime', bytes('now'), {
        wantsAcks: true,
        relayFactor: 2,
        tags: { number: '^[12]$' },
        timeoutMs: 3_000,
      });
      await handle.finished;
      const from = handle.responses.map((response) => response.from);
      return isSame(handle.acks, ['s1', 's2']) && isSame(from, ['s1', 's2']);
    });
  });

  test('suspects nobody for a while', { timeout: soakMs + 10_000 }, async () => {
    await new Promise((resolve) => setTimeout(resolve, soakMs));
    for (const { log } of [...serfs, ...consuls]) expect(log).not.toMatch(/Suspect p\d|Marking p\d as failed/);
    for (const { lines } of own) expect(lines.filter((line) => /suspect (s|c)\d/i.test(line))).toEqual([]);
  });

  test('sees who leaves as left', { timeout: 3 * failureMs }, async () => {
    const rest = all.filter(({ name }) => !['p3', 's3', 'c3'].includes(name));
    await own[2]!.serf.leave();
    await own[2]!.serf.shutdown();
    await untilAllSee(rest, ['p3'], 'left', failureMs);
    await serfs[2]!.command('leave');
    await consuls[2]!.request('PUT', 'agent/leave').catch(() => {});
    await untilAllSee(rest, ['s3', 'c3'], 'left', failureMs);
  });

  test('sees who is killed as failed, and as left when forced', { timeout: 4 * failureMs }, async () => {
    const rest = all.filter(({ name }) => ['p1', 's1', 'c1'].includes(name));
    await own[1]!.serf.shutdown();
    await serfs[1]!.kill();
    await consuls[1]!.kill();
    await untilAllSee(rest, ['p2', 's2', 'c2'], 'failed', 2 * failureMs);
    await own[0]!.serf.removeFailedNode('s2');
    await serfs[0]!.command('force-leave', 'p2');
    await untilAllSee(rest, ['s2', 'p2'], 'left', failureMs);
  });
});

describe.skipIf(!(await hasProgram('serf')) || !(await hasProgram('consul')))('an encrypted pool', () => {
  test('has its keys rotated by each kind of member', async () => {
    const [first, second, third] = [1, 2, 3].map((i) => Buffer.alloc(32, i).toString('base64')) as [
      string,
      string,
      string,
    ];
    const keyring = new Keyring([Buffer.from(first, 'base64')]);
    const consul = await startConsul('ec1', '127.0.45.1', ['-server', '-bootstrap-expect=1', `-encrypt=${first}`]);
    const tags = consulClientTags({
      datacenter: 'dc1',
      nodeId: '74e6ab9e-72ac-96b3-51b0-ec9d2a4e59cb',
      version: '1.8.7',
      revision: '',
      aclMode: '0',
    });
    const own = await startOwn('ep1', '127.0.44.1', { keyring, port: 8301, tags });
    expect((await own.serf.join(['127.0.45.1'], true)).errors).toEqual([]);
    await untilAllSee([own, consul], ['ep1', 'ec1'], 'alive');
    expect(await own.serf.keys.install(second)).toMatchObject({ error: null, numResponses: 2 });
    expect(await own.serf.keys.use(second)).toMatchObject({ error: null });
    expect(await own.serf.keys.remove(first)).toMatchObject({ error: null });
    expect([...(await own.serf.keys.list()).keys]).toEqual([[second, 2]]);
    // The WAN pool of the server has the first key still, and answers for itself.
    await consul.request('POST', 'operator/keyring', JSON.stringify({ Key: third }));
    await waitUntil('the key of consul on our ring', () => keyring.keys.length === 2);
    const listed = await own.serf.keys.list();
    expect(listed.error).toBeNull();
    expect(listed.keys.get(third)).toBe(2);
    await untilAllSee([own, consul], ['ep1', 'ec1'], 'alive');
  });
});
