import { describe, expect, test } from 'vitest';
import { SignalHandler, type SignalPolicy } from '../../../src/agent/signals.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../helpers/logger.ts';

const client: SignalPolicy = { skipLeaveOnInterrupt: false, leaveOnTerminate: true };
const server: SignalPolicy = { skipLeaveOnInterrupt: true, leaveOnTerminate: false };

function setUp(policy: SignalPolicy, leaveMs = 0) {
  const clock = new VirtualClock();
  const did: string[] = [];
  const handler = new SignalHandler({
    logger: silentLogger,
    clock,
    policy,
    actions: {
      reload: async () => void did.push('reload'),
      leave: () =>
        new Promise((resolve) => {
          did.push('leave');
          clock.after(leaveMs, resolve);
        }),
      exit: (code) => void did.push(`exit ${code}`),
      abort: (code) => void did.push(`abort ${code}`),
    },
  });
  return { clock, did, handler };
}

describe('signals', () => {
  test.each([
    ['client', 'SIGINT', client, ['leave', 'exit 0']],
    ['client', 'SIGTERM', client, ['leave', 'exit 0']],
    ['server', 'SIGINT', server, ['exit 1']],
    ['server', 'SIGTERM', server, ['exit 1']],
  ] as const)('a %s on %s', async (_who, signal, policy, expected) => {
    const { clock, did, handler } = setUp(policy);
    handler.end(signal);
    await clock.advance(1);
    expect(did).toEqual(expected);
  });

  test('a second signal during the leave ends at once', () => {
    const { did, handler } = setUp(client, 5_000);
    handler.end('SIGTERM');
    handler.end('SIGTERM');
    expect(did).toEqual(['leave', 'exit 1']);
  });

  test.each([
    ['a server', server, ['exit 1', 'abort 1']],
    ['a client that was told to leave', client, ['leave', 'exit 1', 'abort 1']],
  ])('%s that is told while it stops ends without waiting', (_, policy, expected) => {
    const { did, handler } = setUp(policy, 5_000);
    for (let signals = 0; signals < expected.length; signals++) handler.end('SIGTERM');
    expect(did).toEqual(expected);
  });

  test('a leave that hangs ends after 15 s', async () => {
    const { clock, did, handler } = setUp(client, 60_000);
    handler.end('SIGTERM');
    await clock.advance(14_999);
    expect(did).toEqual(['leave']);
    await clock.advance(1);
    expect(did).toEqual(['leave', 'exit 1']);
  });

  test('a leave that somebody asked for and waits for may take its time', async () => {
    const { clock, did, handler } = setUp(server, 60_000);
    handler.leave();
    await clock.advance(60_000);
    expect(did).toEqual(['leave', 'exit 0']);
  });

  test('SIGHUP reloads', () => {
    const { did, handler } = setUp(server);
    handler.hangup();
    expect(did).toEqual(['reload']);
  });
});
