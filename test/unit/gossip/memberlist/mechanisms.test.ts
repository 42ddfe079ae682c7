// Each mechanism on its own: formulas against the recorded values, queues, keys, timers, the table of members.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressBytesOf, addressTextOf, parseJoinAddress } from '../../../../src/gossip/memberlist/address.ts';
import { Awareness, failedProbeDelta } from '../../../../src/gossip/memberlist/awareness.ts';
import { HandoffQueue } from '../../../../src/gossip/memberlist/handoff-queue.ts';
import {
  BroadcastQueue,
  Keyring,
  lanProfile,
  type MemberlistMember,
  pushPullScaledMs,
  retransmitLimit,
  suspicionMinMs,
  suspicionRemainingMs,
} from '../../../../src/gossip/memberlist/index.ts';
import { MemberRecord, MemberTable } from '../../../../src/gossip/memberlist/member-table.ts';
import { Suspicion, suspicionTimes } from '../../../../src/gossip/memberlist/suspicion.ts';
import { afterPatiently } from '../../../../src/gossip/memberlist/timers.ts';
import { versionProblem } from '../../../../src/gossip/memberlist/versions.ts';
import { SimNetwork } from '../../../../src/sim/network.ts';
import { SeededRandom } from '../../../../src/sim/seeded-random.ts';
import { VirtualClock } from '../../../../src/sim/virtual-clock.ts';

interface Formula {
  readonly formula: string;
  readonly mult: number;
  readonly n: number;
  readonly probeIntervalMs: number;
  readonly baseMs: number;
  readonly confirmations: number;
  readonly k: number;
  readonly elapsedMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  readonly result: number;
  readonly resultMs: number;
  readonly takes: readonly (readonly string[] | null)[];
}
const formulas = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../fixtures/gossip/formulas.json'), 'utf8'),
) as readonly Formula[];
const named = (name: string): readonly Formula[] => formulas.filter(({ formula }) => formula === name);

function memberOf(name: string, state: MemberlistMember['state'] = 'alive'): MemberlistMember {
  return {
    name,
    address: '10.0.0.1',
    addressBytes: Uint8Array.of(10, 0, 0, 1),
    port: 7946,
    meta: new Uint8Array(),
    state,
    protocol: { min: 1, max: 5, current: 2 },
    delegate: { min: 2, max: 5, current: 4 },
    incarnation: 1,
  };
}

describe('formulas', () => {
  test.each(named('suspicionMin'))('shortest suspicion, multiplier $mult, $n members', (f) => {
    expect(suspicionMinMs(f.mult, f.n, f.probeIntervalMs)).toBe(f.resultMs);
  });
  test.each(named('suspicionRemaining'))('$confirmations of $k confirmations after $elapsedMs ms', (f) => {
    expect(suspicionRemainingMs(f.confirmations, f.k, f.elapsedMs, f.minMs, f.maxMs)).toBe(f.resultMs);
  });
  test.each(named('retransmitLimit'))('transmissions, multiplier $mult, $n members', (f) => {
    expect(retransmitLimit(f.mult, f.n)).toBe(f.result);
  });
  test.each(named('pushPullInterval'))('push/pull interval of $n members', (f) => {
    expect(pushPullScaledMs(f.baseMs, f.n)).toBe(f.resultMs);
  });
});

describe('the broadcast queue', () => {
  const queueOf = (n: number, lengthMax = 1_000): BroadcastQueue =>
    new BroadcastQueue({ retransmitMultiplier: 1, memberCount: () => n, lengthMax });
  const text = (length: number, letter: string): Uint8Array => Buffer.from(letter.repeat(length));
  const letters = (messages: readonly Uint8Array[]): string[] =>
    messages.map((message) => String.fromCharCode(message[0]!));

  test('draws in the recorded order', () => {
    const queue = queueOf(50);
    for (const [letter, length] of Object.entries({ a: 10, b: 30, c: 20, d: 30, e: 5 })) {
      queue.queue(text(length, letter), { name: letter });
    }
    const recorded = named('broadcastQueueOrder')[0]!.takes;
    const takes = recorded.map((_, at) => {
      if (at === 2) {
        queue.queue(text(10, 'f'), { name: 'f' });
        queue.queue(text(1, 'A'), { name: 'a' });
      }
      return letters(queue.take(2, 70));
    });
    expect(takes).toEqual(recorded.map((take) => take ?? []));
    expect(queue.length).toBe(0);
  });

  test('a newer message of the same name replaces the older, which then is finished', () => {
    const queue = queueOf(1);
    const finished: string[] = [];
    queue.queue(text(3, 'x'), { name: 'n', onFinished: () => finished.push('x') });
    queue.queue(text(2, 'y'), { name: 'n', onFinished: () => finished.push('y') });
    expect(finished).toEqual(['x']);
    expect(letters(queue.take(2, 100))).toEqual(['y']);
    expect(finished).toEqual(['x', 'y']);
  });

  test('beyond its length it drops what was told most, then the oldest', () => {
    const queue = queueOf(50, 3);
    const dropped: string[] = [];
    for (const letter of 'abcd') {
      queue.queue(text(5, letter), { onFinished: () => dropped.push(letter) });
      if (letter === 'b') queue.take(2, 7);
    }
    expect(dropped).toEqual(['b']);
    queue.queue(text(5, 'e'), { onFinished: () => dropped.push('e') });
    expect(dropped).toEqual(['b', 'a']);
    expect(queue.length).toBe(3);
  });

  test('each message goes out as often as it should and no draw is larger than allowed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 62, max: 200 }),
        (lengths, limit) => {
          const queue = queueOf(500);
          const sent = new Map<number, number>();
          let finished = 0;
          lengths.forEach((length, id) =>
            queue.queue(
              Uint8Array.from({ length }, () => id),
              { onFinished: () => finished++ },
            ),
          );
          while (queue.length > 0) {
            const taken = queue.take(2, limit);
            expect(taken.length).toBeGreaterThan(0);
            expect(taken.reduce((sum, { length }) => sum + length + 2, 0)).toBeLessThanOrEqual(limit);
            expect(new Set(taken).size).toBe(taken.length);
            for (const [id = -1] of taken) sent.set(id, (sent.get(id) ?? 0) + 1);
          }
          expect([...new Set(sent.values())]).toEqual([retransmitLimit(1, 500)]);
          expect([sent.size, finished]).toEqual([lengths.length, lengths.length]);
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('the keyring', () => {
  const key = (byte: number, length = 16): Uint8Array => new Uint8Array(length).fill(byte);

  test('rotates: add, use, remove', () => {
    const ring = new Keyring([key(1), key(2), key(1)]);
    expect(ring.keys).toEqual([key(1), key(2)]);
    ring.use(key(2));
    expect(ring.primary).toEqual(key(2));
    ring.remove(key(1));
    ring.remove(key(1));
    ring.add(key(3, 32));
    expect(ring.keys).toEqual([key(2), key(3, 32)]);
  });

  test('refuses in the words of the peer', () => {
    const ring = new Keyring([key(1)]);
    expect(() => ring.add(key(1, 15))).toThrow('key size must be 16, 24 or 32 bytes');
    expect(() => ring.use(key(9))).toThrow('Requested key is not in the keyring');
    expect(() => ring.remove(key(1))).toThrow('Removing the primary key is not allowed');
    expect(() => new Keyring([])).toThrow('at least one key');
  });
});

describe('local health', () => {
  test('stays within its bounds and stretches intervals', () => {
    const awareness = new Awareness(8);
    awareness.apply(-1);
    expect(awareness.scale(1_000)).toBe(1_000);
    awareness.apply(3);
    expect(awareness.scale(1_000)).toBe(4_000);
    awareness.apply(50);
    expect(awareness.score).toBe(7);
  });

  test.each([
    [0, 0, 1],
    [3, 3, 0],
    [3, 1, 2],
    [1, 4, 0],
  ])('%i nacks expected, %i received: %i worse', (expected, received, delta) => {
    expect(failedProbeDelta(expected, received)).toBe(delta);
  });
});

describe('a suspicion', () => {
  const run = (
    n: number,
    confirmAtMs: readonly (readonly [number, string])[],
  ): { firedMs: number; accepted: boolean[] } => {
    const clock = new VirtualClock();
    let firedMs = -1;
    const suspicion = new Suspicion(clock, 'first', suspicionTimes(lanProfile, n), () => {
      firedMs = clock.monotonicMs();
    });
    const accepted = confirmAtMs.map(([atMs, from]) => {
      clock.advanceSync(atMs - clock.monotonicMs());
      return suspicion.confirm(from);
    });
    clock.advanceSync(100_000);
    return { firedMs, accepted };
  };

  test.each([
    ['three members cannot confirm: the shortest time', 3, [], 4_000],
    ['four members, nobody confirms: the longest time', 4, [], 24_000],
    ['one confirmation', 4, [[1_000, 'x']], 11_381],
    [
      'two confirmations',
      4,
      [
        [1_000, 'x'],
        [2_000, 'y'],
      ],
      4_000,
    ],
    [
      'late confirmations end it at once',
      4,
      [
        [6_000, 'x'],
        [9_000, 'y'],
      ],
      9_000,
    ],
  ] as const)('%s', (_, n, confirmations, firedMs) => {
    expect(run(n, confirmations).firedMs).toBe(firedMs);
  });

  test('the same accuser counts once, the first never, and not more than needed', () => {
    const { accepted } = run(10, [
      [1, 'first'],
      [2, 'x'],
      [3, 'x'],
      [4, 'y'],
      [5, 'z'],
    ]);
    expect(accepted).toEqual([false, true, false, true, false]);
  });
});

test('a late timer gives packets a moment before it acts, one in time does not', () => {
  const clock = new VirtualClock();
  const host = new SimNetwork({ clock, random: new SeededRandom(1) }).host('10.0.0.1');
  const firedMs: number[] = [];
  afterPatiently(host.clock, 1_000, () => firedMs.push(clock.monotonicMs()));
  clock.advanceSync(1_500);
  afterPatiently(host.clock, 1_000, () => firedMs.push(clock.monotonicMs()));
  host.stall();
  clock.advanceSync(3_000);
  host.resume();
  clock.advanceSync(1_000);
  expect(firedMs).toEqual([1_000, 4_550]);
});

describe('the table of members', () => {
  const tableOf = (count: number): MemberTable => {
    const table = new MemberTable(new SeededRandom(3));
    for (let i = 0; i < count; i++) table.add(new MemberRecord(memberOf(`m${i}`), 0));
    return table;
  };
  const anyone = (): boolean => true;
  const nobody = (): boolean => false;

  test('a round asks everyone once, whatever is drawn meanwhile', () => {
    const table = tableOf(50);
    for (let round = 0; round < 3; round++) {
      const asked = Array.from({ length: 50 }, () => {
        table.choose(3, anyone);
        return table.nextToProbe(anyone, nobody)!.name;
      });
      expect(new Set(asked).size).toBe(50);
    }
  });

  test('drawing finds all that fit, each once, and evenly', () => {
    const table = tableOf(20);
    const odd = ({ name }: MemberRecord): boolean => Number(name.slice(1)) % 2 === 1;
    expect(new Set(table.choose(30, odd)).size).toBe(10);
    const counts = new Map<string, number>();
    for (let i = 0; i < 10_000; i++) {
      for (const { name } of table.choose(2, odd)) counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    expect(counts.size).toBe(10);
    expect(Math.min(...counts.values())).toBeGreaterThan(1_700);
    expect(Math.max(...counts.values())).toBeLessThan(2_300);
  });

  test('the expired are forgotten when a round begins', () => {
    const table = tableOf(5);
    table.replace(table.get('m2')!, memberOf('m2', 'dead'));
    expect([table.size, table.present]).toEqual([5, 4]);
    table.nextToProbe(anyone, ({ member }) => member.state === 'dead');
    for (let i = 0; i < 5; i++) table.nextToProbe(anyone, ({ member }) => member.state === 'dead');
    expect([table.size, table.present, table.get('m2')]).toEqual([4, 4, undefined]);
    expect(new Set(table.choose(9, anyone)).size).toBe(4);
  });

  test('nobody to probe is no endless search', () => {
    expect(tableOf(0).nextToProbe(anyone, nobody)).toBeUndefined();
    expect(tableOf(5).nextToProbe(nobody, nobody)).toBeUndefined();
  });
});

describe('the handoff queue', () => {
  const setUp = (depth: number) => {
    const clock = new VirtualClock();
    const handled: string[] = [];
    const dropped: string[] = [];
    const queue = new HandoffQueue<string>(
      clock,
      depth,
      (message) => handled.push(message),
      (sender) => dropped.push(sender),
    );
    return { clock, handled, dropped, queue };
  };

  test('handles urgent messages first, each kind in order, and none inside the caller', () => {
    const { clock, handled, queue } = setUp(10);
    queue.push('r1', 'a', 'rest');
    queue.push('u1', 'a', 'urgent');
    queue.push('r2', 'b', 'rest');
    queue.push('u2', 'b', 'urgent');
    expect(handled).toEqual([]);
    clock.advanceSync(0);
    expect(handled).toEqual(['u1', 'u2', 'r1', 'r2']);
  });

  test('urgent messages without end do not stop the others', () => {
    const { clock, handled, queue } = setUp(1_024);
    for (let i = 0; i < 1_024; i++) queue.push('alive', `sender ${i % 8}`, 'urgent');
    queue.push('news', 'other', 'rest');
    clock.advanceSync(0);
    expect(handled.length).toBe(1_025);
    expect(handled.indexOf('news')).toBeLessThan(256);
  });

  test.each(['urgent', 'rest'] as const)('one that floods (%s) crowds out itself, not the others', (priority) => {
    const { clock, handled, dropped, queue } = setUp(100);
    for (let i = 0; i < 1_000; i++) queue.push('noise', 'flooder', priority);
    queue.push('news', 'other', priority);
    clock.advanceSync(1);
    expect(handled).toContain('news');
    expect(handled.length).toBe(51);
    expect(new Set(dropped)).toEqual(new Set(['flooder']));
    for (let i = 0; i < 10; i++) queue.push('more', 'flooder', priority);
    clock.advanceSync(1);
    expect(handled.length).toBe(61);
  });
});

describe('versions', () => {
  const record = (member: MemberlistMember): { readonly member: MemberlistMember } => ({ member });
  const spoken = (name: string, current: number, state: MemberlistMember['state'] = 'alive'): MemberlistMember => ({
    ...memberOf(name, state),
    delegate: { min: 2, max: 5, current },
  });

  test('fit when everyone present understands what each record speaks', () => {
    expect(versionProblem([spoken('a', 4)], [record(spoken('b', 5))])).toBeNull();
  });

  test('the dead do not narrow the range but are held to it', () => {
    const narrow = { ...memberOf('b', 'dead'), delegate: { min: 4, max: 4, current: 4 } };
    expect(versionProblem([spoken('a', 5)], [record(narrow)])).toBeNull();
    expect(versionProblem([spoken('a', 5)], [record(spoken('old', 9, 'left'))])).toContain("Node 'old' delegate");
  });
});

describe('addresses', () => {
  test.each([
    ['10.1.2.3', '0a010203'],
    ['::1', '00000000000000000000000000000001'],
    ['2001:db8::5', '20010db8000000000000000000000005'],
  ])('%s', (text, hex) => {
    expect(Buffer.from(addressBytesOf(text)!).toString('hex')).toBe(hex);
    expect(addressTextOf(Buffer.from(hex, 'hex'))).toBe(text);
  });

  test('IPv4 in IPv6 is shown as IPv4', () => {
    expect(addressTextOf(Buffer.from('00000000000000000000ffff0a4d0001', 'hex'))).toBe('10.77.0.1');
  });

  test.each([
    ['a.test', { name: '', host: 'a.test', port: 7946 }],
    ['a.test:80', { name: '', host: 'a.test', port: 80 }],
    ['10.0.0.1:80', { name: '', host: '10.0.0.1', port: 80 }],
    ['::1', { name: '', host: '::1', port: 7946 }],
    ['[::1]:80', { name: '', host: '::1', port: 80 }],
    ['[::1]', { name: '', host: '::1', port: 7946 }],
    ['n1/10.0.0.1:80', { name: 'n1', host: '10.0.0.1', port: 80 }],
  ])('join %s', (text, expected) => {
    expect(parseJoinAddress(text, 7946)).toEqual(expected);
  });

  test.each(['', ':80', 'a:0', 'a:99999', '[::1', 'a b:x'])('join %j is refused', (text) => {
    expect(() => parseJoinAddress(text, 7946)).toThrow('cannot join');
  });
});
