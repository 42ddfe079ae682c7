// Reports of where this node stands: how often they come, and that nothing ends them but a stop.
import { expect, test } from 'vitest';
import { CoordinateReports } from '../../../src/agent/coordinate-reports.ts';
import { CallError, type NamedCaller, unmeasuredCoordinate } from '../../../src/model/index.ts';
import { VirtualClock } from '../../../src/sim/virtual-clock.ts';
import { silentLogger } from '../../helpers/logger.ts';

interface Report {
  readonly atMs: number;
  readonly request: unknown;
}

function setUp(members: number, chance: number): { clock: VirtualClock; reports: Report[]; sender: CoordinateReports } {
  const clock = new VirtualClock();
  const reports: Report[] = [];
  const caller: NamedCaller = {
    call: (_method, request) => {
      reports.push({ atMs: clock.monotonicMs(), request });
      return Promise.reject(new CallError('No cluster leader'));
    },
  };
  const sender = new CoordinateReports({
    caller,
    datacenter: 'dc1',
    nodeName: 'n',
    token: () => (reports.length === 0 ? '' : 'agent-token'),
    coordinate: () => unmeasuredCoordinate,
    memberCount: () => members,
    clock,
    random: { next: () => chance, uuid: () => '', bytes: () => new Uint8Array() },
    logger: silentLogger,
  });
  sender.start();
  return { clock, reports, sender };
}

test.each([
  [1, 0, 15_000],
  [1, 0.5, 22_500],
  [960, 0, 15_000],
  [6400, 0, 100_000],
])('%i members at chance %d report every %i ms', async (members, chance, intervalMs) => {
  const { clock, reports, sender } = setUp(members, chance);
  const startMs = clock.monotonicMs();
  await clock.advance(3 * intervalMs);
  sender.stop();
  await clock.advance(3 * intervalMs);
  expect(reports.map(({ atMs }) => atMs - startMs)).toEqual([1, 2, 3].map((n) => n * intervalMs));
});

test('a failed report is followed by the next, with the token of then', async () => {
  const { clock, reports } = setUp(1, 0);
  await clock.advance(30_000);
  const report = { Datacenter: 'dc1', Node: 'n', Segment: '', Coord: unmeasuredCoordinate };
  expect(reports.map(({ request }) => request)).toEqual([report, { ...report, Token: 'agent-token' }]);
});
