import { describe, expect, test } from 'vitest';
import { AdvertisedAddress } from '../../../src/agent/advertised-address.ts';
import type { AdvertiseDecision } from '../../../src/environment/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { recordingLogger } from '../../helpers/logger.ts';

const decision = (address: string | null): AdvertiseDecision => ({
  address,
  source: 'interface eth0',
  why: [],
  error: address === null ? 'none' : null,
  warnings: [],
  alternatives: [],
  mode: 'host',
  rungs: [],
  ports: {},
});

function setUp() {
  const clock = new VirtualClock();
  const { logger, lines } = recordingLogger();
  const answers: { next: string | null | Error } = { next: '10.0.0.1' };
  let changes = 0;
  const advertised = new AdvertisedAddress({
    first: decision('10.0.0.1'),
    decide: async () => {
      if (answers.next instanceof Error) throw answers.next;
      return decision(answers.next);
    },
    clock,
    logger,
    onChange: () => changes++,
  });
  advertised.start();
  return { clock, lines, answers, advertised, changes: () => changes };
}

describe('the advertised address', () => {
  test('is followed when it changes, once, with a line that names both', async () => {
    const { clock, lines, answers, advertised, changes } = setUp();
    await clock.advance(60_000);
    expect(changes()).toBe(0);
    answers.next = '10.0.0.2';
    await clock.advance(90_000);
    expect(advertised.current.address).toBe('10.0.0.2');
    expect(changes()).toBe(1);
    expect(lines).toEqual([expect.stringMatching(/from=10.0.0.1 to=10.0.0.2/)]);
  });

  test.each([[null], [new Error('no interface')]])('stays when the answer is %s', async (next) => {
    const { clock, answers, advertised, changes } = setUp();
    answers.next = next;
    await clock.advance(90_000);
    expect(advertised.current.address).toBe('10.0.0.1');
    expect(changes()).toBe(0);
    answers.next = '10.0.0.3';
    await clock.advance(30_000);
    expect(advertised.current.address).toBe('10.0.0.3');
  });

  test('is not looked at any more after the stop', async () => {
    const { clock, answers, advertised, changes } = setUp();
    advertised.stop();
    answers.next = '10.0.0.2';
    await clock.advance(600_000);
    expect(changes()).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });
});
