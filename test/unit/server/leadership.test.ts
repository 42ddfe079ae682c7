import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Consensus } from '../../../src/server/index.ts';
import { type Duties, Leadership, reconcileIntervalMs } from '../../../src/server/leadership.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../helpers/logger.ts';

const metrics = { count() {}, gauge() {}, sample() {} };
let clock: VirtualClock;
let happened: string[];
let isLeader: boolean;
let lead: (now: boolean) => void;
/** How the log and the duties behave. */
let behaviour: {
  barrier: () => Promise<void>;
  establish: () => Promise<void>;
  transfer: () => Promise<void>;
  reconcile: (item: string) => Promise<void>;
};
let leadership: Leadership<string>;

beforeEach(() => {
  clock = new VirtualClock({ drain: () => new Promise((resolve) => setImmediate(resolve)) });
  happened = [];
  isLeader = false;
  const fine = async (): Promise<void> => {};
  behaviour = {
    barrier: fine,
    establish: fine,
    transfer: () => Promise.reject(new Error('nobody else')),
    reconcile: fine,
  };
  const listeners: (() => void)[] = [];
  lead = (now) => {
    isLeader = now;
    for (const listener of listeners) listener();
  };
  const log = {
    get isLeader() {
      return isLeader;
    },
    barrier: () => behaviour.barrier(),
    transferLeadership: async () => {
      happened.push('transfer');
      await behaviour.transfer();
    },
    onLeadership: (listener: () => void) => {
      listeners.push(listener);
      return () => undefined;
    },
  } as unknown as Consensus;
  const duties: Duties<string> = {
    announce: () => happened.push('announce'),
    establish: async () => {
      happened.push('establish');
      await behaviour.establish();
    },
    revoke: () => happened.push('revoke'),
    reconcileAll: async () => void happened.push('all'),
    reconcileOne: async (item) => {
      happened.push(item);
      await behaviour.reconcile(item);
    },
  };
  leadership = new Leadership({ log, clock, logger: silentLogger, metrics, duties });
});

afterEach(() => leadership.stop());

/** What happened since the last question. */
function taken(): string {
  return happened.splice(0).join(' ');
}

test('who never leads has no duties', async () => {
  await leadership.start();
  leadership.enqueue('m');
  await clock.advance(2 * reconcileIntervalMs);
  leadership.stop();
  expect(taken()).toBe('');
});

describe('a reign', () => {
  test('begins with a barrier, then the duties, then all members', async () => {
    let pass: () => void = () => undefined;
    behaviour.barrier = () => new Promise((resolve) => (pass = resolve));
    await leadership.start();
    lead(true);
    await clock.advance(1000);
    expect(taken()).toBe('announce');
    expect(leadership.isReady).toBe(false);
    pass();
    await clock.advance(1);
    expect(taken()).toBe('establish all');
    expect(leadership.isReady).toBe(true);
  });

  test('looks at members as gossip tells of them, and at all of them every minute', async () => {
    await leadership.start();
    lead(true);
    await clock.advance(10);
    taken();
    leadership.enqueue('m1');
    leadership.enqueue('m2');
    await clock.advance(10);
    expect(taken()).toBe('m1 m2');
    await clock.advance(reconcileIntervalMs);
    expect(taken()).toBe('all');
  });

  test('is not ended by a member that cannot be reconciled', async () => {
    await leadership.start();
    lead(true);
    await clock.advance(10);
    taken();
    behaviour.reconcile = (item) => (item === 'bad' ? Promise.reject(new Error('no')) : Promise.resolve());
    leadership.enqueue('bad');
    leadership.enqueue('good');
    await clock.advance(10);
    expect(taken()).toBe('bad good');
  });

  test('keeps a limited number of members waiting', async () => {
    await leadership.start();
    lead(true);
    for (let i = 0; i < 1000; i++) leadership.enqueue('m');
    await clock.advance(10);
    expect(
      taken()
        .split(' ')
        .filter((what) => what === 'm'),
    ).toHaveLength(256);
  });

  test('ends with the leadership', async () => {
    await leadership.start();
    lead(true);
    await clock.advance(10);
    taken();
    lead(false);
    expect(leadership.isReady).toBe(false);
    leadership.enqueue('m');
    await clock.advance(2 * reconcileIntervalMs);
    expect(taken()).toBe('revoke');
    expect(clock.pendingTimers).toBe(0);
  });

  test('takes its duties up anew after a restore', async () => {
    await leadership.start();
    lead(true);
    await clock.advance(10);
    taken();
    leadership.reestablish();
    await clock.advance(10);
    expect(taken()).toBe('revoke establish all');
  });
});

describe('duties that cannot be taken up', () => {
  test('are handed to another server', async () => {
    behaviour.establish = () => Promise.reject(new Error('no'));
    behaviour.transfer = async () => {};
    await leadership.start();
    lead(true);
    await clock.advance(60_000);
    expect(taken()).toBe('announce establish revoke transfer');
  });

  test('are tried again when there is no other', async () => {
    behaviour.establish = async () => {
      behaviour.establish = async () => {};
      throw new Error('no');
    };
    await leadership.start();
    lead(true);
    await clock.advance(4_999);
    expect(taken()).toBe('announce establish revoke transfer transfer transfer');
    await clock.advance(1);
    expect(taken()).toBe('establish all');
  });
});

describe('one reign after the other', () => {
  test('the next begins when nothing of the last goes on any more', async () => {
    let fail: (error: Error) => void = () => undefined;
    behaviour.establish = () => new Promise((_, reject) => (fail = reject));
    await leadership.start();
    lead(true);
    await clock.advance(10);
    lead(false);
    lead(true);
    await clock.advance(10);
    expect(taken()).toBe('announce establish revoke announce');
    behaviour.establish = async () => {};
    fail(new Error('leadership lost'));
    await clock.advance(10);
    expect(taken()).toBe('revoke establish all');
    expect(leadership.isReady).toBe(true);
  });
});

describe('who leads from the start', () => {
  beforeEach(() => {
    isLeader = true;
  });

  test('has its duties when the start is over', async () => {
    await leadership.start();
    expect(taken()).toBe('announce establish all');
  });

  test('fails to start with duties that cannot be taken up', async () => {
    behaviour.establish = () => Promise.reject(new Error('no'));
    await expect(leadership.start()).rejects.toThrow('no');
    leadership.stop();
  });
});
